//! What operators look for among many: it is found, and at the cost of a few rows.

use drop_tests::{
    app::{TestApp, eventually},
    person::browser,
};
use serde_json::{Value, json};

use super::scene::{KARI, payment_in_review, service};

async fn asks(app: &TestApp, path: &str) -> Value {
    let url = format!("{}/operator/api{path}", app.worker_internal().await);
    let response = browser().get(url).bearer_auth(KARI).send().await.unwrap();
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

/// Jobs that are done, so many, each about an account of its own.
async fn done_jobs(app: &TestApp, count: i32, kind: &str) {
    sqlx::query(
        "INSERT INTO jobs (kind, lane, payload, max_attempts, attempt, state, finished_at)
         SELECT $2, 5, jsonb_build_object('account', gen_random_uuid()), 5, 1, 'done', clock_timestamp() FROM generate_series(1, $1)",
    )
    .bind(count)
    .bind(kind)
    .execute(&app.db)
    .await
    .unwrap();
}

/// How often an index was read, as far as that was told.
async fn reads(app: &TestApp, index: &str) -> i64 {
    sqlx::query_scalar("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = $1")
        .bind(index)
        .fetch_one(&app.db)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_jobs_about_a_row_and_of_a_request_are_found_by_an_index_wherever_they_are_shown() {
    let app = service().await;
    let payment = payment_in_review(&app).await;
    done_jobs(&app, 20_000, "sync-balance").await;
    sqlx::query("ANALYZE jobs").execute(&app.db).await.unwrap();
    let event: uuid::Uuid = sqlx::query_scalar(
        "INSERT INTO webhook_events (id, provider, event_key, raw, state) VALUES (gen_random_uuid(), 'sumsub', 'key', 'x', 'quarantined')
         RETURNING id",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    for (path, index) in [
        (format!("/payments/{payment}"), "jobs_about"),
        (format!("/webhooks/evt_{}", event.simple()), "jobs_about"),
        (format!("/find?id={}", uuid::Uuid::now_v7()), "jobs_about"),
        (format!("/find?id={}", uuid::Uuid::now_v7()), "jobs_of_request"),
    ] {
        let before = reads(&app, index).await;
        asks(&app, &path).await;
        // A connection tells what it read once it has nothing to do.
        assert!(
            eventually(async || reads(&app, index).await > before).await,
            "{path}: {index}"
        );
    }
    app.abandon().await;
}

#[tokio::test]
async fn a_job_behind_thousands_of_others_is_found_by_a_command_at_once_and_by_a_program_step_by_step() {
    let app = service().await;
    done_jobs(&app, 1, "ask-to-link").await;
    done_jobs(&app, 11_000, "sync-balance").await;
    let arguments = ["jobs", "list", "--kind", "ask-to-link", "--state", "done", "--json"];
    let (_, said) = app.operator(env!("CARGO_BIN_EXE_drop-node"), &arguments).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said.as_array().unwrap().len(), 1, "{said}");

    let mut page = asks(&app, "/jobs?kind=ask-to-link&state=done").await;
    let mut pages = 1;
    while page["jobs"] == json!([]) {
        let next = page["next"].as_i64().expect("there are older ones");
        page = asks(&app, &format!("/jobs?kind=ask-to-link&state=done&before={next}")).await;
        pages += 1;
    }
    assert_eq!((pages, &page["jobs"]), (3, &said), "five thousand are read for a page");
    app.abandon().await;
}
