//! Signed events are never lost: those that come too early wait for their applicant, those that nobody can read for a
//! person (contract 3.4).

use drop_common::domain::ids::WebhookEventId;
use drop_sandbox::{Delivery, Fault, Operation, Review};
use drop_tests::{alerts, app::TestApp, person::SignedIn};
use serde_json::{Map, Value, json};

use super::scene::{ago, starts};
use crate::balances::count;

/// Sends an event with other members than the usual ones, and lets it be applied.
async fn sends(app: &TestApp, review: Review, overrides: Value) {
    let overrides: Map<String, Value> = serde_json::from_value(overrides).unwrap();
    let review = Review { overrides, ..review };
    let sent = app.sandbox.sumsub().review(review, &Delivery::default()).await.unwrap();
    assert_eq!(sent.statuses, [Some(200)]);
    app.until_idle().await;
}

async fn states(app: &TestApp) -> Vec<String> {
    sqlx::query_scalar("SELECT state FROM webhook_events ORDER BY received_at, id")
        .fetch_all(&app.db)
        .await
        .unwrap()
}

async fn standing(person: &SignedIn<'_>) -> Value {
    person.get("/v1/kyc").await.body["status"].clone()
}

async fn audited(app: &TestApp) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT concat_ws(' ', actor, action, detail ->> 'why') FROM audit_log WHERE action LIKE 'kyc.applicant%' ORDER BY id",
    )
    .fetch_all(&app.db)
    .await
    .unwrap()
}

#[tokio::test]
async fn an_approval_that_comes_before_we_know_of_the_applicant_is_applied_when_it_appears() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    // Sumsub knows the person, and we have forgotten.
    sqlx::query("DELETE FROM kyc_applicants")
        .execute(&app.db)
        .await
        .unwrap();
    sends(&app, Review::of(&anna.user, "GREEN"), json!({})).await;
    assert_eq!(states(&app).await, ["unmatched"]);
    assert_eq!(standing(&anna).await, "pending");

    starts(&anna).await;
    assert_eq!(states(&app).await, ["applied"]);
    assert_eq!(standing(&anna).await, "approved");
    let told = count(
        &app,
        "SELECT count(*) FROM notifications WHERE title = 'Du er nå verifisert'",
    )
    .await;
    assert_eq!(told, 1);
    app.finish().await;
}

#[tokio::test]
async fn an_event_that_names_no_user_is_about_the_one_whose_applicant_it_names() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    sends(&app, Review::of(&anna.user, "GREEN"), json!({ "externalUserId": null })).await;
    assert_eq!(states(&app).await, ["applied"]);
    assert_eq!(standing(&anna).await, "approved");
    app.finish().await;
}

#[tokio::test]
async fn an_event_that_brings_the_applicant_brings_those_that_waited_for_it_and_says_so() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    // The answer to our call was lost.
    sqlx::query("UPDATE kyc_applicants SET status = 'requested', applicant_id = NULL")
        .execute(&app.db)
        .await
        .unwrap();
    let earlier = ago(20, Review::of(&anna.user, "GREEN"));
    sends(&app, earlier, json!({ "externalUserId": null })).await;
    assert_eq!(states(&app).await, ["unmatched"]);
    let later = ago(10, Review::of(&anna.user, "RED"));
    sends(&app, later, json!({})).await;
    assert_eq!(
        states(&app).await,
        ["applied", "applied"],
        "in the order of their arrival"
    );
    assert_eq!(standing(&anna).await, "rejected");
    assert_eq!(
        audited(&app).await,
        [
            "user kyc.applicant_requested",
            "worker kyc.applicant_created",
            "provider kyc.applicant_adopted"
        ]
    );
    app.finish().await;
}

#[tokio::test]
async fn a_member_of_another_type_is_read_as_what_it_can_only_mean() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()).timestamp_millis();
    let unusual = json!({ "createdAt": null, "createdAtMs": now, "sandboxMode": "false" });
    sends(&app, Review::of(&anna.user, "GREEN"), unusual).await;
    assert_eq!(states(&app).await, ["applied"]);
    assert_eq!(standing(&anna).await, "approved");
    app.finish().await;
}

#[tokio::test]
async fn a_signed_event_that_nobody_can_read_waits_for_a_person_and_is_counted() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    alerts::listen();
    sends(
        &app,
        Review::of(&anna.user, "GREEN"),
        json!({ "reviewResult": "GREEN" }),
    )
    .await;
    assert_eq!(states(&app).await, ["quarantined"]);
    let waiting = count(
        &app,
        "SELECT count(*) FROM webhook_events WHERE applied_at IS NULL AND raw IS NOT NULL",
    )
    .await;
    assert_eq!(waiting, 1);
    let event: WebhookEventId = sqlx::query_scalar("SELECT id FROM webhook_events")
        .fetch_one(&app.db)
        .await
        .map(uuid::Uuid::into)
        .unwrap();
    assert_eq!(alerts::about(&event.to_string()), ["kyc_event"]);
    assert_eq!(standing(&anna).await, "pending");
    let counted = app.scrape_worker().await;
    assert!(
        counted.contains("sumsub_webhook_failures_total{reason=\"unreadable\"} 1\n"),
        "{counted}"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_type_that_no_column_can_hold_is_accepted_all_the_same() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    sends(
        &app,
        Review::of(&anna.user, "GREEN"),
        json!({ "type": "applicant\u{0}Reviewed", "correlationId": "a\u{0}b" }),
    )
    .await;
    assert_eq!(states(&app).await, ["recorded"]);
    app.finish().await;
}

#[tokio::test]
async fn a_refused_applicant_has_its_audit_row() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    app.sandbox.fault(Operation::ApplicantCreate, Fault::status(400), 1);
    let refused = anna
        .post("/v1/kyc/applicant", &json!({ "email": "anna@example.com" }))
        .await;
    assert_eq!(refused.problem(), (502, "provider_error"));
    assert_eq!(
        audited(&app).await,
        ["user kyc.applicant_requested", "worker kyc.applicant_failed refused"]
    );
    app.finish().await;
}

/// Whichever worker is quicker: the job of the second event comes first, and applies the first event before its own.
#[tokio::test]
async fn events_about_a_person_are_applied_in_the_order_of_their_arrival_whatever_the_order_of_their_jobs() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    app.stop_worker().await;
    for (answer, seconds_ago) in [("RED", 20), ("GREEN", 10)] {
        let review = ago(seconds_ago, Review::of(&anna.user, answer));
        let sent = app.sandbox.sumsub().review(review, &Delivery::default()).await.unwrap();
        assert_eq!(sent.statuses, [Some(200)]);
        sqlx::query("UPDATE jobs SET run_at = now() + interval '1 hour' WHERE kind = 'apply-kyc-event' AND $1 = 'RED'")
            .bind(answer)
            .execute(&app.db)
            .await
            .unwrap();
    }
    app.run_jobs().await;
    assert_eq!(states(&app).await, ["applied", "applied"]);
    let told: Vec<String> = sqlx::query_scalar("SELECT title FROM notifications WHERE kind = 'kyc' ORDER BY id")
        .fetch_all(&app.db)
        .await
        .unwrap();
    assert_eq!(told, ["Verifisering avslått", "Du er nå verifisert"]);
    app.finish().await;
}
