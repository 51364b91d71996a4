//! Webhooks that never came, came at the same time as others, or say too little: Sumsub is asked, and its answer goes
//! through the same rule.

use chrono::TimeDelta;
use drop_common::queue::{self, EnqueueOptions, payloads::ReconcileKyc};
use drop_sandbox::{Delivery, Operation, Review};
use drop_tests::app::TestApp;
use serde_json::{Map, Value, json};

use super::scene::{ago, starts};
use crate::paying::{execute, value};

/// Something happens at Sumsub, and its webhook is lost. Its number, to send it later.
pub(super) async fn happens_unheard(app: &TestApp, review: Review) -> usize {
    let unsent = Delivery {
        times: 0,
        ..Delivery::default()
    };
    app.sandbox.sumsub().review(review, &unsent).await.unwrap().number
}

pub(super) async fn happens(app: &TestApp, review: Review) {
    let sent = app.sandbox.sumsub().review(review, &Delivery::default()).await.unwrap();
    assert_eq!(sent.statuses, [Some(200)]);
    app.run_jobs().await;
}

/// As the hourly schedule does it.
pub(super) async fn reconciles(app: &TestApp) {
    let mut tx = app.db.begin().await.unwrap();
    let slot = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    let options = EnqueueOptions::default();
    queue::enqueue_anew(&mut tx, &ReconcileKyc { slot }, options)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    app.run_jobs().await;
}

/// Nothing happens for so long. The times that Sumsub gave stay what they are, there and here.
pub(super) async fn passes(app: &TestApp, minutes: i64) {
    let by = format!("interval '{minutes} min'");
    execute(
        app,
        &format!(
            "UPDATE kyc_applicants SET updated_at = updated_at - {by}, status_read_at = status_read_at - {by};
             UPDATE webhook_events SET received_at = received_at - {by}"
        ),
    )
    .await;
}

pub(super) fn asked(app: &TestApp) -> usize {
    app.sandbox.journal().entries_of(Operation::ApplicantStatus).len()
}

pub(super) async fn told(app: &TestApp) -> Vec<String> {
    sqlx::query_scalar("SELECT title FROM notifications WHERE kind = 'kyc' ORDER BY id")
        .fetch_all(&app.db)
        .await
        .unwrap()
}

/// Read from the row: sessions do not live as long as these stories.
pub(super) async fn status(app: &TestApp) -> String {
    value(app, "SELECT kyc_status FROM users").await
}

async fn last_decision(app: &TestApp) -> String {
    value(app, "SELECT last_decision FROM kyc_applicants").await
}

#[tokio::test]
async fn an_approval_whose_webhook_was_lost_is_found_and_its_webhook_that_comes_late_tells_nothing_new() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    app.stop_worker().await;
    let lost = happens_unheard(&app, Review::of(&anna.user, "GREEN")).await;
    reconciles(&app).await;
    assert_eq!(asked(&app), 0, "half an hour is not over");
    passes(&app, 31).await;
    reconciles(&app).await;
    assert_eq!((asked(&app), status(&app).await), (1, "approved".to_owned()));
    assert_eq!(told(&app).await, ["Du er nå verifisert"]);
    let said: (String, String) = sqlx::query_as("SELECT event_type, state FROM webhook_events")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(said, ("status".to_owned(), "applied".to_owned()));

    let late = app.sandbox.sumsub().resend(lost).await.unwrap();
    assert_eq!(late.statuses, [Some(200)]);
    app.run_jobs().await;
    passes(&app, 120).await;
    reconciles(&app).await;
    assert_eq!(asked(&app), 1, "nobody asks about somebody approved");
    assert_eq!(told(&app).await.len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_review_that_goes_on_is_seen_and_a_retry_is_told_once_however_often_it_is_asked_for() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    app.stop_worker().await;
    happens_unheard(&app, Review::event(&anna.user, "applicantPending")).await;
    passes(&app, 31).await;
    reconciles(&app).await;
    assert_eq!(last_decision(&app).await, "pending");
    happens(&app, Review::of(&anna.user, "RETRY")).await;
    assert_eq!(last_decision(&app).await, "retry");
    for _ in 0..3 {
        passes(&app, 120).await;
        reconciles(&app).await;
    }
    assert_eq!(asked(&app), 4);
    assert_eq!(told(&app).await, ["Vennligst prøv igjen"]);
    // Another retry, of which no webhook came.
    let another = Review {
        created_at_offset: 90,
        ..Review::of(&anna.user, "RETRY")
    };
    happens_unheard(&app, another).await;
    passes(&app, 120).await;
    reconciles(&app).await;
    assert_eq!(told(&app).await, ["Vennligst prøv igjen", "Vennligst prøv igjen"]);
    app.finish().await;
}

/// At equal times the order of arrival counts, until Sumsub says which was the last.
#[tokio::test]
async fn of_two_decisions_of_the_same_time_the_one_that_sumsub_stands_by_counts() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    app.stop_worker().await;
    let at = (app.now() - TimeDelta::seconds(2)).to_rfc3339();
    let overrides: Map<String, Value> = serde_json::from_value(json!({ "createdAt": at })).unwrap();
    let said = |answer| Review {
        overrides: overrides.clone(),
        ..Review::of(&anna.user, answer)
    };
    let turned_round = Delivery {
        reversed: true,
        ..Delivery::default()
    };
    let both = vec![said("GREEN"), said("RED")];
    app.sandbox.sumsub().review_all(both, &turned_round).await.unwrap();
    app.run_jobs().await;
    assert_eq!((asked(&app), status(&app).await), (1, "rejected".to_owned()));
    assert_eq!(
        told(&app).await,
        ["Verifisering avslått", "Du er nå verifisert", "Verifisering avslått"]
    );
    app.finish().await;
}

#[tokio::test]
async fn a_deactivated_person_who_is_activated_again_stands_where_their_review_does() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    app.stop_worker().await;
    happens(&app, ago(60, Review::of(&anna.user, "GREEN"))).await;
    happens(&app, ago(30, Review::event(&anna.user, "applicantDeactivated"))).await;
    assert_eq!(
        anna.get("/v1/kyc").await.body,
        json!({ "status": "pending", "applicant": "created", "next": "support" })
    );
    passes(&app, 60).await;
    reconciles(&app).await;
    assert_eq!(status(&app).await, "pending", "the old review does not undo it");
    happens(&app, Review::event(&anna.user, "applicantActivated")).await;
    assert_eq!(status(&app).await, "approved");
    app.finish().await;
}

#[tokio::test]
async fn an_applicant_that_was_decided_before_we_knew_of_it_is_asked_for_at_once() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    happens_unheard(&app, Review::of(&anna.user, "GREEN")).await;
    execute(&app, "DELETE FROM kyc_applicants").await;
    starts(&anna).await;
    app.until_idle().await;
    assert_eq!(status(&app).await, "approved");
    app.finish().await;
}

#[tokio::test]
async fn an_answer_about_another_level_approves_nobody() {
    let mut app = TestApp::start().await;
    let user = {
        let anna = app.signed_in("anna").await;
        starts(&anna).await;
        anna.user
    };
    app.stop_worker().await;
    happens_unheard(&app, Review::of(&user, "GREEN")).await;
    // Here another level is wanted by now; Sumsub speaks of the one before.
    app.reconfigure_worker(&[("SUMSUB_LEVEL", "another")]);
    execute(&app, "UPDATE kyc_applicants SET level_name = 'another'").await;
    passes(&app, 31).await;
    reconciles(&app).await;
    let said: (String, String) = sqlx::query_as("SELECT event_type, state FROM webhook_events")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(said, ("status".to_owned(), "recorded".to_owned()));
    assert_eq!((asked(&app), status(&app).await), (1, "pending".to_owned()));
    app.finish().await;
}
