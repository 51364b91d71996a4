//! Events that wait beside others about the same person: what comes of each does not depend on how quick its job is, nor on
//! whether another one can be applied.

use drop_common::queue::{self, EnqueueOptions, payloads::ApplyKycEvent};
use drop_sandbox::{Delivery, Fault, Operation, Review};
use drop_tests::app::TestApp;
use rstest::rstest;
use serde_json::{Map, Value, json};

use super::{
    reconciling::{happens, status},
    scene::{Checked, ago, past, people, sends, starts},
};
use crate::paying::{execute, value};

/// It is accepted, and its job is not run before [`catch_up`].
async fn waits(app: &TestApp, review: Review, overrides: Value) {
    let overrides: Map<String, Value> = serde_json::from_value(overrides).unwrap();
    let review = Review { overrides, ..review };
    let sent = app.sandbox.sumsub().review(review, &Delivery::default()).await.unwrap();
    assert_eq!(sent.statuses, [Some(200)]);
    put_off(app).await;
}

async fn put_off(app: &TestApp) {
    let late = "UPDATE jobs SET run_at = now() + interval '1 hour' WHERE kind = 'apply-kyc-event' AND state = 'ready'";
    execute(app, late).await;
}

async fn catch_up(app: &TestApp) {
    execute(app, "UPDATE jobs SET run_at = now() WHERE state = 'ready'").await;
    app.run_jobs().await;
}

async fn states(app: &TestApp) -> Vec<String> {
    sqlx::query_scalar("SELECT state FROM webhook_events ORDER BY received_at, id")
        .fetch_all(&app.db)
        .await
        .unwrap()
}

#[tokio::test]
async fn what_comes_after_a_deletion_is_about_nobody_also_where_its_job_is_the_quicker() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    app.stop_worker().await;
    happens(&app, ago(30, Review::of(&anna.user, "GREEN"))).await;
    waits(&app, ago(20, Review::event(&anna.user, "applicantDeleted")), json!({})).await;
    happens(&app, ago(10, Review::of(&anna.user, "RED"))).await;
    assert_eq!(states(&app).await, ["applied", "recorded", "recorded"]);
    assert_eq!(status(&app).await, "approved");
    assert_eq!(value::<i64>(&app, "SELECT count(*) FROM aml_cases").await, 0);
    catch_up(&app).await;
    app.finish().await;
}

const REFUSES_RETRIES: &str = "
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN RAISE EXCEPTION ''no'' USING ERRCODE = ''23514''; END';
    CREATE TRIGGER refuse BEFORE INSERT ON screening_results FOR EACH ROW WHEN (NEW.result = 'retry')
      EXECUTE FUNCTION refuse()";

/// A refusal must not wait until a person has mended something else.
#[tokio::test]
async fn an_event_that_cannot_be_applied_holds_up_none_that_came_after_it() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    app.stop_worker().await;
    happens(&app, ago(30, Review::of(&anna.user, "GREEN"))).await;
    execute(&app, REFUSES_RETRIES).await;
    waits(&app, ago(20, Review::of(&anna.user, "RETRY")), json!({})).await;
    happens(&app, ago(10, Review::of(&anna.user, "RED"))).await;
    assert_eq!(states(&app).await, ["applied", "received", "applied"]);
    assert_eq!(status(&app).await, "rejected");
    let audited: i64 = value(&app, "SELECT count(*) FROM audit_log WHERE action = 'kyc.decided'").await;
    assert_eq!(audited, 2, "nothing is left of what was not applied");
    // Mended, it is what it is by then.
    execute(&app, "DROP TRIGGER refuse ON screening_results").await;
    catch_up(&app).await;
    assert_eq!(states(&app).await, ["applied", "stale", "applied"]);
    app.finish().await;
}

#[tokio::test]
async fn an_event_that_waited_for_an_applicant_is_applied_also_where_an_older_one_brings_it() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    app.stop_worker().await;
    // The answer to our call was lost.
    execute(
        &app,
        "UPDATE kyc_applicants SET status = 'requested', applicant_id = NULL",
    )
    .await;
    waits(&app, ago(20, Review::of(&anna.user, "GREEN")), json!({})).await;
    let nameless = json!({ "externalUserId": null });
    waits(&app, ago(10, Review::of(&anna.user, "RED")), nameless).await;
    execute(
        &app,
        "UPDATE jobs SET run_at = now() WHERE unique_key = (
           SELECT 'evt_' || replace(id::text, '-', '') FROM webhook_events ORDER BY received_at DESC LIMIT 1)",
    )
    .await;
    app.run_jobs().await;
    assert_eq!(states(&app).await, ["received", "unmatched"]);
    catch_up(&app).await;
    assert_eq!(states(&app).await, ["applied", "applied"]);
    assert_eq!(status(&app).await, "rejected");
    app.finish().await;
}

/// Sends so many events, and what they decide in turn.
async fn sends_many(app: &TestApp, person: &Checked, count: i64, said: &Value) -> Vec<&'static str> {
    let answers = [("GREEN", "approved"), ("RED", "rejected"), ("RETRY", "retry")];
    let mut results = Vec::new();
    for (minute, (answer, result)) in (0..count).zip(answers.into_iter().cycle()) {
        let mut event = person.event("applicantReviewed", said.clone());
        event["createdAt"] = json!(past(minute).to_rfc3339());
        event["reviewResult"] = json!({ "reviewAnswer": answer });
        sends(app, &event).await;
        results.push(result);
    }
    results
}

#[tokio::test]
async fn many_events_that_wait_are_applied_in_their_order_and_a_few_in_each_transaction() {
    let app = TestApp::start().await;
    app.stop_worker().await;
    let person = people(&app.db, 1).await.remove(0);
    let mut results = sends_many(&app, &person, 44, &json!({})).await;
    put_off(&app).await;
    let last = json!({ "createdAt": past(60).to_rfc3339(), "reviewResult": { "reviewAnswer": "GREEN" } });
    sends(&app, &person.event("applicantReviewed", last)).await;
    results.push("approved");
    app.run_jobs().await;
    assert_eq!(person.results(&app).await, results);
    assert_eq!(person.told(&app).await.len(), 45);
    let claims: (i32, i32) = sqlx::query_as(
        "SELECT attempt, unused FROM jobs WHERE kind = 'apply-kyc-event' AND state = 'done' ORDER BY id DESC LIMIT 1",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert_eq!(claims, (3, 2), "two transactions of twenty, and the last");
    catch_up(&app).await;
    assert_eq!(person.told(&app).await.len(), 45);
    app.finish().await;
}

#[tokio::test]
async fn many_events_that_wait_for_an_applicant_are_all_applied_when_it_appears() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    let person = Checked {
        user: anna.user.clone(),
        applicant: app.sandbox.sumsub().applicant_of(&anna.user).unwrap().id,
    };
    execute(&app, "DELETE FROM kyc_applicants").await;
    let results = sends_many(&app, &person, 45, &json!({ "externalUserId": null })).await;
    app.until_idle().await;
    assert!(states(&app).await.iter().all(|state| state == "unmatched"));
    // The answer to our question would be an event, too, and bring the others.
    app.sandbox.fault(Operation::ApplicantStatus, Fault::status(404), 1);
    starts(&anna).await;
    app.until_idle().await;
    assert_eq!(person.results(&app).await, results);
    app.finish().await;
}

/// They name somebody who is nobody of ours.
fn for_ever() -> Value {
    json!({ "externalUserId": 17, "reviewResult": { "reviewAnswer": "GREEN" } })
}

/// The database does not take them.
fn until_it_is_mended() -> Value {
    json!({ "reviewResult": { "reviewAnswer": "RETRY" } })
}

/// More than are looked at together.
#[rstest]
#[case(for_ever(), "unmatched")]
#[case(until_it_is_mended(), "stale")]
#[tokio::test]
async fn however_many_events_wait_on_what_came_behind_them_is_applied_in_its_turn(
    #[case] said: Value,
    #[case] ends: &str,
) {
    let app = TestApp::start().await;
    app.stop_worker().await;
    execute(&app, REFUSES_RETRIES).await;
    let person = people(&app.db, 1).await.remove(0);
    let sent = async |minute: i64, said: &Value| {
        let mut event = person.event("applicantReviewed", said.clone());
        event["createdAt"] = json!(past(minute).to_rfc3339());
        sends(&app, &event).await;
    };
    for minute in 0..45 {
        sent(minute, &said).await;
    }
    sent(50, &json!({ "reviewResult": { "reviewAnswer": "RED" } })).await;
    put_off(&app).await;
    sent(60, &json!({ "reviewResult": { "reviewAnswer": "GREEN" } })).await;
    app.run_jobs().await;
    assert_eq!(person.results(&app).await, ["rejected", "approved"]);
    execute(&app, "DROP TRIGGER refuse ON screening_results").await;
    catch_up(&app).await;
    assert_eq!(states(&app).await.iter().filter(|state| *state == ends).count(), 45);
    app.finish().await;
}

/// Before them and behind them.
#[tokio::test]
async fn events_that_wait_for_an_applicant_are_applied_when_it_appears_also_among_many_that_wait_on() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    let person = Checked {
        user: anna.user.clone(),
        applicant: app.sandbox.sumsub().applicant_of(&anna.user).unwrap().id,
    };
    execute(&app, "DELETE FROM kyc_applicants").await;
    sends_many(&app, &person, 25, &for_ever()).await;
    let results = sends_many(&app, &person, 25, &json!({ "externalUserId": null })).await;
    sends_many(&app, &person, 1, &for_ever()).await;
    app.until_idle().await;
    // The answer to our question would be an event, too, and bring the others.
    app.sandbox.fault(Operation::ApplicantStatus, Fault::status(404), 1);
    starts(&anna).await;
    app.until_idle().await;
    assert_eq!(person.results(&app).await, results);
    assert_eq!(
        states(&app).await.iter().filter(|state| *state == "unmatched").count(),
        26
    );
    app.finish().await;
}

/// They name somebody who is nobody of ours, and will wait for ever.
#[tokio::test]
async fn events_that_go_on_waiting_are_not_looked_at_without_end() {
    let app = TestApp::start().await;
    let person = people(&app.db, 1).await.remove(0);
    sends_many(&app, &person, 25, &json!({ "externalUserId": 17 })).await;
    app.until_idle().await;
    let written = async || {
        let versions: Vec<String> =
            sqlx::query_scalar("SELECT xmin::text FROM webhook_events ORDER BY received_at, id LIMIT 25")
                .fetch_all(&app.db)
                .await
                .unwrap();
        versions
    };
    let before = written().await;
    let green = json!({ "reviewResult": { "reviewAnswer": "GREEN" } });
    sends(&app, &person.event("applicantReviewed", green)).await;
    app.until_idle().await;
    assert_eq!(person.status(&app).await, "approved");
    let states = states(&app).await;
    assert_eq!(states.iter().filter(|state| *state == "unmatched").count(), 25);
    assert_eq!(written().await, before, "nothing new is written of those that wait on");
    // Nor where somebody has one of them applied again.
    let again: uuid::Uuid = value(&app, "SELECT id FROM webhook_events WHERE state = 'unmatched' LIMIT 1").await;
    let mut tx = app.db.begin().await.unwrap();
    let again = ApplyKycEvent { event: again.into() };
    queue::enqueue_anew(&mut tx, &again, EnqueueOptions::default())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    app.until_idle().await;
    assert_eq!(written().await, before);
    app.finish().await;
}

#[tokio::test]
async fn an_event_that_waited_for_an_applicant_and_that_the_database_refuses_then_has_a_job_that_says_so() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    app.stop_worker().await;
    execute(&app, "DELETE FROM kyc_applicants").await;
    happens(&app, ago(20, Review::of(&anna.user, "RETRY"))).await;
    assert_eq!(states(&app).await, ["unmatched"]);
    execute(&app, REFUSES_RETRIES).await;
    // The answer to our question would be an event, too, and bring the other.
    app.sandbox.fault(Operation::ApplicantStatus, Fault::status(404), 1);
    app.start_worker().await;
    starts(&anna).await;
    app.stop_worker().await;
    assert_eq!(states(&app).await, ["received"]);
    let open = "SELECT count(*) FROM jobs WHERE kind = 'apply-kyc-event' AND state IN ('ready', 'running', 'dead')";
    assert_eq!(value::<i64>(&app, open).await, 1);
    execute(&app, "DROP TRIGGER refuse ON screening_results").await;
    catch_up(&app).await;
    assert_eq!(states(&app).await, ["applied"]);
    app.finish().await;
}
