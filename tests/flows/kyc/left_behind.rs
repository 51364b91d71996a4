//! Applicants that Sumsub deleted, and events whose jobs are gone.

use drop_sandbox::{Delivery, Review};
use drop_tests::{alerts, app::TestApp};
use serde_json::json;

use super::{
    reconciling::{happens, passes, reconciles, status},
    scene::{ago, starts},
};
use crate::paying::{execute, value};

#[tokio::test]
async fn an_applicant_that_sumsub_deletes_is_unlinked_the_status_stays_and_a_new_check_begins_anew() {
    alerts::listen();
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    app.stop_worker().await;
    happens(&app, ago(30, Review::of(&anna.user, "GREEN"))).await;
    happens(&app, ago(20, Review::event(&anna.user, "applicantDeleted"))).await;
    assert_eq!(
        anna.get("/v1/kyc").await.body,
        json!({ "status": "approved", "applicant": "failed", "next": "none" })
    );
    let kept: (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM screening_results), (SELECT count(*) FROM kyc_former_applicants WHERE last_decision = 'approved')",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert_eq!(kept, (1, 1));
    // What still comes of the deleted one is about nobody's check.
    happens(&app, ago(10, Review::of(&anna.user, "RED"))).await;
    assert_eq!(status(&app).await, "approved");
    let late: uuid::Uuid = value(&app, "SELECT id FROM webhook_events ORDER BY received_at DESC LIMIT 1").await;
    assert_eq!(alerts::about(&format!("evt_{}", late.simple())), ["kyc_event"]);

    app.start_worker().await;
    starts(&anna).await;
    app.until_idle().await;
    assert_eq!(anna.get("/v1/kyc").await.body["applicant"], "created");
    app.finish().await;
}

#[tokio::test]
async fn an_accepted_event_whose_job_is_gone_gets_another() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    app.stop_worker().await;
    let sent = app
        .sandbox
        .sumsub()
        .review(Review::of(&anna.user, "GREEN"), &Delivery::default())
        .await;
    assert_eq!(sent.unwrap().statuses, [Some(200)]);
    execute(&app, "DELETE FROM jobs WHERE kind = 'apply-kyc-event'").await;
    app.run_jobs().await;
    assert_eq!(status(&app).await, "pending");
    passes(&app, 11).await;
    reconciles(&app).await;
    assert_eq!(status(&app).await, "approved");
    app.finish().await;
}

/// After a restore, say.
#[tokio::test]
async fn however_many_events_have_no_job_they_all_get_one_with_the_next_slot() {
    let app = TestApp::start().await;
    app.stop_worker().await;
    execute(
        &app,
        "INSERT INTO webhook_events (id, provider, event_key, raw, received_at)
         SELECT gen_random_uuid(), 'sumsub', n::text, '{}', now() - interval '11 min' FROM generate_series(1, 1001) n",
    )
    .await;
    reconciles(&app).await;
    let left: i64 = value(&app, "SELECT count(*) FROM webhook_events WHERE state = 'received'").await;
    assert_eq!(left, 0);
    app.finish().await;
}
