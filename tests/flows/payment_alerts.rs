//! What operations are told about a payment: never lost, and not with every look.

use drop_sandbox::{Fault, Operation};
use drop_tests::{
    alerts,
    app::{TestApp, eventually},
};
use serde_json::{Value, json};

use crate::{
    paying::{approved, busy, value},
    payment_faults::scene::{Payer, a_minute_passes, recovers},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_not_lost_with_the_answer_to_its_commit() {
    alerts::listen();
    let app = TestApp::start_on_a_lossy_way().await;
    let payer = Payer::of(&app).await;
    let bank = app.sandbox.neonomics();
    let (id, _) = payer.has_one_at_the_bank().await;
    let at_bank = bank.payments()[0].id.clone();
    bank.set_payment_status(&at_bank, "ACCP").unwrap();
    recovers(&app).await;
    assert_eq!(payer.standing(&id).await, "completed?");
    assert_eq!(alerts::about(&id).len(), 0);

    // The worker never learns that what it wrote is committed.
    bank.set_payment_status(&at_bank, "RJCT").unwrap();
    app.lose_commit_after("WITH held AS (SELECT id, account_id, hold FROM transactions");
    a_minute_passes(&app).await;
    app.start_worker().await;
    let reversed = async || payer.standing(&id).await == "failed:bank_rejected";
    assert!(eventually(reversed).await, "the bank's word is not taken");
    assert!(app.has_lost_a_commit());
    assert_eq!(alerts::about(&id).len(), 1, "that it was completed provisionally only");
    app.finish().await;
}

#[tokio::test]
async fn an_alert_of_a_change_that_cannot_be_committed_is_raised_once_however_often_that_is_tried() {
    alerts::listen();
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let (id, link) = payer.has_one_at_the_bank().await;
    app.sandbox
        .neonomics()
        .configure(|bank| bank.progression = vec!["ACCP".to_owned()]);
    approved(&app, &link);
    recovers(&app).await;
    assert_eq!(payer.standing(&id).await, "completed?");
    let bank = app.sandbox.neonomics();
    bank.set_payment_status(&bank.payments()[0].id, "RJCT").unwrap();
    // The commit is what fails, after all has been written and said.
    let trigger = "CONSTRAINT TRIGGER busy AFTER UPDATE ON transactions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW";
    busy(&app, trigger, 4).await;
    recovers(&app).await;
    assert_eq!(payer.standing(&id).await, "failed:bank_rejected");
    assert!(
        value::<i64>(&app, "SELECT nextval('refused')").await > 5,
        "it was tried five times"
    );
    assert_eq!(alerts::words(&id), ["provisional_reversed"]);
    app.finish().await;
}

#[tokio::test]
async fn a_word_that_nobody_knows_is_told_once_however_often_the_bank_says_it_and_so_is_none() {
    alerts::listen();
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let bank = app.sandbox.neonomics();
    let (id, _) = payer.has_one_at_the_bank().await;
    let at_bank = bank.payments()[0].id.clone();
    let said = |body: Value| Fault::Status {
        code: 200,
        body: Some(body),
    };
    for (body, told) in [
        (json!({ "transactionStatus": "PART" }), 1),
        (json!({ "transactionStatus": "PART" }), 1),
        (json!({ "transactionStatus": null }), 2),
        (json!({ "transactionStatus": "part" }), 3),
        (json!({}), 3),
        (json!({ "transactionStatus": "PART" }), 3),
    ] {
        app.sandbox.fault(Operation::PaymentStatus, said(body.clone()), 1);
        a_minute_passes(&app).await;
        app.run_jobs().await;
        assert_eq!(alerts::about(&id).len(), told, "{body}");
        assert_eq!(payer.standing(&id).await, "processing?");
    }
    bank.set_payment_status(&at_bank, "ACSC").unwrap();
    recovers(&app).await;
    assert_eq!(payer.standing(&id).await, "completed");
    app.off_contract().finish().await;
}
