//! The operators' page in a real browser: nothing it complains of, nothing from elsewhere, and all of it by keyboard, on a
//! phone, in light and in dark.

use std::path::PathBuf;

use drop_tests::chromium;
use serde_json::json;

use super::scene::{KARI, dead_jobs, payment_in_review, service};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_works_in_a_browser_by_keyboard_on_a_phone_in_light_and_in_dark() {
    let app = service().await;
    sqlx::query(
        "INSERT INTO webhook_events (id, provider, event_key, event_type, raw, state, note)
         SELECT gen_random_uuid(), 'sumsub', 'key-' || n, 'applicantReviewed', '{}', 'quarantined', 'not a JSON object'
           FROM generate_series(1, 3) n",
    )
    .execute(&app.db)
    .await
    .unwrap();
    let payment = payment_in_review(&app).await;
    dead_jobs(&app, 12, "the bank answered 503 to a read of").await;
    dead_jobs(&app, 3, "the lease ended").await;
    let user: uuid::Uuid = sqlx::query_scalar("SELECT id FROM users")
        .fetch_one(&app.db)
        .await
        .unwrap();
    sqlx::query("SELECT breaker_set('sumsub/api', true)")
        .execute(&app.db)
        .await
        .unwrap();
    sqlx::query("UPDATE lanes SET paused = true, paused_by = 'kari', paused_because = 'their maintenance', paused_until = now() + interval '50 min' WHERE name = 'balance.batch'")
        .execute(&app.db)
        .await
        .unwrap();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("operator-page");
    std::fs::create_dir_all(&folder).unwrap();
    let found = chromium::visit(&json!({
        "url": app.worker_internal().await,
        "token": KARI,
        "folder": folder,
        "pages": {
            "overview": "/operator",
            "jobs": "/operator/jobs?state=dead",
            "dead": "/operator/jobs/dead",
            "job": "/operator/jobs/1",
            "payments": "/operator/payments",
            "payment": format!("/operator/payments/{payment}"),
            "lanes": "/operator/lanes",
            "circuits": "/operator/breakers",
            "cron": "/operator/cron",
            "webhooks": "/operator/webhooks?state=quarantined",
            "person": format!("/operator/people/usr_{}", user.simple()),
            "audit": "/operator/audit",
        },
    }))
    .await;
    if let Some(found) = found {
        for kind in ["console", "foreign", "overflow", "unnamed", "small", "contrast"] {
            assert_eq!(found[kind], json!([]), "{kind}");
        }
        assert_eq!(found["shots"], 48);
        let keyboard = &found["keyboard"];
        assert_eq!(keyboard["first"], "To the content");
        assert_eq!(
            (&keyboard["skipped"], &keyboard["slash"]),
            (&json!("main"), &json!("q"))
        );
        assert_ne!(keyboard["outlined"], "none");
        assert!(
            keyboard["done"].as_str().unwrap().contains("lane.paused, 1"),
            "{keyboard}"
        );
    }
    app.abandon().await;
}
