//! Every open payment has a next step; one that lost it is given another.

use chrono::TimeDelta;
use drop_common::{
    queue::{self, payloads::ReconcilePayments},
    storage::payments,
};
use drop_sandbox::Operation;
use drop_tests::{alerts, app::TestApp, person::browser};

use rstest::rstest;

use crate::paying::{anna_at_the_bank, approved, at_the_bank, audited, execute, order, ordered, shown, value};

async fn reconcile(app: &TestApp) {
    let mut tx = app.db.begin().await.unwrap();
    queue::enqueue(&mut tx, &ReconcilePayments {}).await.unwrap();
    tx.commit().await.unwrap();
    app.run_jobs().await;
}

async fn lose_jobs(app: &TestApp) {
    execute(
        app,
        "DELETE FROM jobs WHERE kind IN ('initiate-payment', 'poll-payment')",
    )
    .await;
}

#[tokio::test]
async fn a_payment_at_the_bank_whose_look_was_lost_is_looked_at_again_until_it_is_final() {
    alerts::listen();
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    approved(&app, &payment.link);
    for done in [false, true] {
        if done {
            // As if a mistake had ended it: the row keeps its history and gives its key up.
            execute(
                &app,
                "UPDATE jobs SET state = 'done', finished_at = clock_timestamp(), run_at = clock_timestamp() WHERE kind = 'poll-payment'",
            )
            .await;
        } else {
            lose_jobs(&app).await;
        }
        app.advance(TimeDelta::seconds(16)).await;
        reconcile(&app).await;
    }
    for _ in 0..4 {
        app.advance(TimeDelta::seconds(61)).await;
        app.run_jobs().await;
    }
    assert_eq!(shown(&anna, &payment.id).await["status"], "completed");
    assert_eq!(shown(&anna, &payment.id).await["bankFinal"], true);
    assert!(audited(&app, "payment.next_step_restored").await >= 1);
    assert_eq!(alerts::about(&payment.id).first().map(String::as_str), Some("payment"));
    app.finish().await;
}

#[tokio::test]
async fn a_payment_that_never_left_is_sent_within_its_time_and_fails_after_it() {
    for (late, status) in [(false, "processing"), (true, "failed")] {
        let app = TestApp::start().await;
        let anna = app.signed_in("anna").await;
        let account = anna.has_an_account().await;
        let id = ordered(&app, &anna, &account).await;
        lose_jobs(&app).await;
        app.advance(TimeDelta::seconds(if late { 301 } else { 16 })).await;
        reconcile(&app).await;
        let shown = shown(&anna, &id).await;
        assert_eq!(shown["status"], status);
        assert_eq!(shown["reason"].as_str(), late.then_some("not_sent"));
        assert_eq!(app.sandbox.neonomics().payments().len(), usize::from(!late));
        app.abandon().await;
    }
}

#[tokio::test]
async fn a_payment_that_may_have_left_is_looked_at_by_a_person() {
    alerts::listen();
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    execute(
        &app,
        "INSERT INTO payment_attempts (transaction_id, job_attempt, body_hash) SELECT id, 1, fingerprint FROM transactions",
    )
    .await;
    lose_jobs(&app).await;
    app.advance(TimeDelta::seconds(16)).await;
    reconcile(&app).await;
    assert_eq!(shown(&anna, &id).await["status"], "processing");
    assert!(value::<bool>(&app, "SELECT needs_review FROM transactions").await);
    assert!(alerts::about(&id).contains(&"payment".to_owned()));
    assert!(app.sandbox.neonomics().payments().is_empty());
    reconcile(&app).await;
    assert_eq!(audited(&app, "payment.needs_review").await, 1);
    app.finish().await;
}

#[tokio::test]
async fn a_person_hears_of_the_end_of_their_time_although_the_bank_cannot_be_asked_and_the_order_is_withdrawn_later() {
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    execute(
        &app,
        "UPDATE breaker SET open = true, opened_at = clock_timestamp(), retry_at = clock_timestamp() + interval '1 hour'
          WHERE key = 'neonomics/pisp'",
    )
    .await;
    let looks = app.sandbox.journal().entries_of(Operation::PaymentStatus).len();
    app.advance(TimeDelta::seconds(320)).await;
    reconcile(&app).await;
    assert_eq!(
        shown(&anna, &payment.id).await["status"],
        "processing",
        "a look may be under way"
    );
    app.advance(TimeDelta::seconds(20)).await;
    reconcile(&app).await;
    let told = shown(&anna, &payment.id).await;
    assert_eq!(
        (
            told["status"].as_str(),
            told["reason"].as_str(),
            told["bankFinal"].as_bool()
        ),
        (Some("failed"), Some("sca_timeout"), Some(false))
    );
    assert_eq!(app.sandbox.journal().entries_of(Operation::PaymentStatus).len(), looks);
    execute(
        &app,
        "UPDATE breaker SET retry_at = clock_timestamp() WHERE key = 'neonomics/pisp'",
    )
    .await;
    for _ in 0..3 {
        app.run_jobs().await;
        app.advance(TimeDelta::seconds(61)).await;
    }
    app.run_jobs().await;
    assert_eq!(shown(&anna, &payment.id).await["reason"], "sca_timeout");
    assert_eq!(shown(&anna, &payment.id).await["bankFinal"], true);
    assert_eq!(app.sandbox.neonomics().payments()[0].status, "CANC");
    let messages: i64 = value(&app, "SELECT count(*) FROM notifications WHERE kind = 'payment'").await;
    assert_eq!(messages, 2, "that it is over, and that the bank has confirmed it");
    app.finish().await;
}

#[rstest]
#[case::and_comes_back(true)]
#[case::and_stays_away(false)]
#[tokio::test]
async fn what_a_person_approved_while_the_bank_could_not_be_asked_is_not_withdrawn(#[case] comes_back: bool) {
    let app = TestApp::start().await;
    app.sandbox.neonomics().configure(|bank| {
        bank.withdraws_approved = true;
        bank.progression = vec!["ACSP".into()];
    });
    let (anna, payment) = anna_at_the_bank(&app).await;
    execute(
        &app,
        "UPDATE breaker SET open = true, opened_at = clock_timestamp(), retry_at = clock_timestamp() + interval '1 hour'
          WHERE key = 'neonomics/pisp'",
    )
    .await;
    let back = approved(&app, &payment.link);
    app.advance(TimeDelta::seconds(340)).await;
    reconcile(&app).await;
    assert_eq!(shown(&anna, &payment.id).await["reason"], "sca_timeout");
    if comes_back {
        assert_eq!(browser().get(&back).send().await.unwrap().status(), 200);
    }
    execute(
        &app,
        "UPDATE breaker SET retry_at = clock_timestamp() WHERE key = 'neonomics/pisp'",
    )
    .await;
    for _ in 0..3 {
        app.run_jobs().await;
        app.advance(TimeDelta::seconds(61)).await;
    }
    assert_eq!(shown(&anna, &payment.id).await["status"], "processing");
    assert_eq!(app.sandbox.neonomics().payments()[0].status, "ACSP");
    assert!(app.sandbox.journal().entries_of(Operation::PaymentCancel).is_empty());
    assert!(
        payments::overdue_approvals(&app.db, 10).await.unwrap().is_empty(),
        "accepted"
    );
    app.abandon().await;
}

#[tokio::test]
async fn a_payment_whose_job_was_lost_ends_in_time_although_nobody_claims_the_new_one() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    app.lane("payment.send", "paused = true").await;
    lose_jobs(&app).await;
    app.advance(TimeDelta::seconds(100)).await;
    reconcile(&app).await;
    assert_eq!(shown(&anna, &id).await["status"], "processing");
    app.advance(TimeDelta::seconds(201)).await;
    app.run_jobs().await;
    assert_eq!(shown(&anna, &id).await["reason"], "not_sent");
    app.abandon().await;
}

#[tokio::test]
async fn a_payment_that_cannot_be_read_keeps_no_other_from_its_next_step() {
    alerts::listen();
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let unreadable = at_the_bank(&app, &anna, &account).await;
    execute(&app, "UPDATE transactions SET bank_status = 'NEWS'").await;
    let behind = anna
        .post_later("/v1/transactions", "behind", &order(&account, "10.00"))
        .await;
    assert_eq!(behind.status, 202, "{:?}", behind.problem());
    lose_jobs(&app).await;
    app.advance(TimeDelta::seconds(16)).await;
    reconcile(&app).await;
    assert_eq!(app.sandbox.neonomics().payments().len(), 2, "it was sent");
    assert!(alerts::about(&unreadable.id).contains(&"payment".to_owned()));
    execute(
        &app,
        "UPDATE transactions SET bank_status = 'RCVD' WHERE bank_status = 'NEWS'",
    )
    .await;
    reconcile(&app).await;
    assert_eq!(
        audited(&app, "payment.next_step_restored").await,
        2,
        "once it can be read"
    );
    app.abandon().await;
}

#[tokio::test]
async fn where_every_payment_has_its_next_step_nothing_is_changed() {
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    app.advance(TimeDelta::seconds(100)).await;
    let before: i64 = value(&app, "SELECT count(*) FROM audit_log").await;
    let version: i32 = value(&app, "SELECT version FROM transactions").await;
    reconcile(&app).await;
    assert_eq!(value::<i64>(&app, "SELECT count(*) FROM audit_log").await, before);
    assert_eq!(value::<i32>(&app, "SELECT version FROM transactions").await, version);
    assert_eq!(shown(&anna, &payment.id).await["status"], "processing");
    app.finish().await;
}
