//! A wish to take a payment back that meets something else: what the person is told became of it.

use chrono::TimeDelta;
use drop_common::queue::{self, payloads::ReconcilePayments};
use drop_sandbox::{Fault, Operation};
use drop_tests::{
    alerts,
    app::{TestApp, eventually},
    person::{Answer, SignedIn},
};

use crate::paying::{anna_at_the_bank, at_the_bank, audited, execute, shown, value};

/// Asks to take it back, without waiting for the bank.
async fn wishes(person: &SignedIn<'_>, id: &str) {
    let request = person.request(&format!("/v1/transactions/{id}/cancel"));
    let asked = Answer::of(request.header("Prefer", "respond-async").send().await.unwrap()).await;
    assert_eq!(asked.status, 202, "{:?}", asked.problem());
}

/// The status, the reason if there is one, and what became of the wish.
async fn standing(person: &SignedIn<'_>, id: &str) -> [String; 3] {
    let shown = shown(person, id).await;
    ["status", "reason", "cancellation"].map(|name| shown[name].as_str().unwrap_or_default().to_owned())
}

/// Runs what is due of this kind, and nothing else.
async fn runs(app: &TestApp, kind: &str) {
    let due = format!(
        "UPDATE jobs SET run_at = clock_timestamp() + CASE WHEN kind = '{kind}' THEN '0 s' ELSE '1 h' END::interval
          WHERE state = 'ready'"
    );
    execute(app, &due).await;
    app.run_jobs().await;
}

/// The time for approval ended so long ago.
async fn time_is_over(app: &TestApp, seconds: u32) {
    let over = format!("UPDATE transactions SET sca_deadline = clock_timestamp() - interval '{seconds} s'");
    execute(app, &over).await;
}

async fn reconcile(app: &TestApp) {
    let mut tx = app.db.begin().await.unwrap();
    queue::enqueue(&mut tx, &ReconcilePayments {}).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn an_order_that_the_timeout_withdrew_first_is_taken_back() {
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    wishes(&anna, &payment.id).await;
    time_is_over(&app, 1).await;
    runs(&app, "poll-payment").await;
    assert_eq!(
        standing(&anna, &payment.id).await,
        ["failed", "sca_timeout", "requested"]
    );
    runs(&app, "cancel-payment").await;
    assert_eq!(standing(&anna, &payment.id).await, ["failed", "sca_timeout", "done"]);
    runs(&app, "poll-payment").await;
    assert_eq!(shown(&anna, &payment.id).await["bankFinal"], true);
    app.finish().await;
}

#[tokio::test]
async fn an_order_that_the_timeout_withdrew_first_and_the_bank_forgot_is_taken_back() {
    let app = TestApp::start().await;
    app.sandbox.neonomics().configure(|bank| bank.forgets_withdrawn = true);
    let (anna, payment) = anna_at_the_bank(&app).await;
    wishes(&anna, &payment.id).await;
    time_is_over(&app, 1).await;
    for _ in 0..2 {
        runs(&app, "poll-payment").await;
    }
    assert_eq!(shown(&anna, &payment.id).await["bankFinal"], true);
    runs(&app, "cancel-payment").await;
    assert_eq!(standing(&anna, &payment.id).await, ["failed", "sca_timeout", "done"]);
    app.finish().await;
}

#[tokio::test]
async fn an_order_that_the_bank_withdraws_while_its_time_is_ended_is_taken_back() {
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    wishes(&anna, &payment.id).await;
    time_is_over(&app, 31).await;
    app.sandbox
        .fault(Operation::PaymentCancel, Fault::Delay { ms: 1_500 }, 1);
    let meanwhile = async {
        let asked = async || !app.sandbox.journal().entries_of(Operation::PaymentCancel).is_empty();
        assert!(eventually(asked).await, "the bank is not asked");
        reconcile(&app).await;
        app.run_jobs_by(&[app.worker_by_hand()]).await;
        let reason: Option<String> = value(&app, "SELECT reason FROM transactions").await;
        assert_eq!(
            reason.as_deref(),
            Some("sca_timeout"),
            "the bank's answer is still on its way"
        );
    };
    tokio::join!(runs(&app, "cancel-payment"), meanwhile);
    assert_eq!(standing(&anna, &payment.id).await, ["failed", "sca_timeout", "done"]);
    for _ in 0..2 {
        app.advance(TimeDelta::seconds(61)).await;
        app.run_jobs().await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_bank_that_did_not_say_is_not_called_one_that_refused_because_the_time_is_over() {
    let app = TestApp::start().await;
    let bank = app.sandbox.neonomics();
    bank.configure(|bank| bank.cancel_needs_approval = true);
    let (anna, payment) = anna_at_the_bank(&app).await;
    wishes(&anna, &payment.id).await;
    time_is_over(&app, 1).await;
    runs(&app, "poll-payment").await;
    runs(&app, "cancel-payment").await;
    assert_eq!(
        standing(&anna, &payment.id).await,
        ["failed", "sca_timeout", "unconfirmed"]
    );
    bank.set_payment_status(&bank.payments()[0].id, "RJCT").unwrap();
    runs(&app, "poll-payment").await;
    assert_eq!(
        standing(&anna, &payment.id).await,
        ["failed", "bank_rejected", "unconfirmed"]
    );
    app.finish().await;
}

#[tokio::test]
async fn what_the_bank_took_back_and_then_goes_on_with_is_not_taken_back_any_more() {
    let app = TestApp::start().await;
    let bank = app.sandbox.neonomics();
    let (anna, payment) = anna_at_the_bank(&app).await;
    for (word, told) in [
        ("ACSP", ["processing", "", "unconfirmed"]),
        ("ACSC", ["completed", "", "refused"]),
    ] {
        wishes(&anna, &payment.id).await;
        // The look that follows at once does not get the bank's last word.
        app.sandbox.fault(Operation::PaymentStatus, Fault::status(503), 1);
        runs(&app, "cancel-payment").await;
        assert_eq!(standing(&anna, &payment.id).await, ["cancelled", "", "done"]);
        bank.set_payment_status(&bank.payments()[0].id, word).unwrap();
        runs(&app, "poll-payment").await;
        assert_eq!(standing(&anna, &payment.id).await, told);
    }
    app.finish().await;
}

#[tokio::test]
async fn a_wish_whose_job_was_lost_is_answered_all_the_same() {
    alerts::listen();
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let payment = at_the_bank(&app, &anna, &account).await;
    wishes(&anna, &payment.id).await;
    runs(&app, "").await;
    app.advance(TimeDelta::seconds(20)).await;
    reconcile(&app).await;
    app.run_jobs().await;
    assert_eq!(audited(&app, "payment.next_step_restored").await, 0, "its job waits");
    execute(
        &app,
        "DELETE FROM jobs WHERE kind = 'cancel-payment'; UPDATE transactions SET updated_at = clock_timestamp()",
    )
    .await;
    app.advance(TimeDelta::seconds(10)).await;
    reconcile(&app).await;
    app.run_jobs().await;
    assert_eq!(
        standing(&anna, &payment.id).await[2],
        "requested",
        "it may be on its way"
    );
    app.advance(TimeDelta::seconds(10)).await;
    reconcile(&app).await;
    app.run_jobs().await;
    assert_eq!(standing(&anna, &payment.id).await, ["cancelled", "", "done"]);
    assert_eq!(audited(&app, "payment.next_step_restored").await, 1);
    assert_eq!(alerts::about(&payment.id).len(), 1);

    // Also of one that is over by now.
    let order = crate::paying::order(&account, "11.00");
    let second = anna.post_later("/v1/transactions", "second", &order).await;
    let second = second.body["id"].as_str().unwrap().to_owned();
    app.run_jobs().await;
    wishes(&anna, &second).await;
    execute(
        &app,
        "DELETE FROM jobs WHERE kind = 'cancel-payment' AND state = 'ready'",
    )
    .await;
    let orders = app.sandbox.neonomics().payments();
    let order = orders.iter().find(|order| order.status == "RCVD").unwrap();
    app.sandbox.neonomics().set_payment_status(&order.id, "RJCT").unwrap();
    app.advance(TimeDelta::seconds(61)).await;
    app.run_jobs().await;
    assert_eq!(standing(&anna, &second).await, ["failed", "bank_rejected", "requested"]);
    app.advance(TimeDelta::seconds(16)).await;
    reconcile(&app).await;
    app.run_jobs().await;
    assert_eq!(standing(&anna, &second).await, ["failed", "bank_rejected", "refused"]);
    app.finish().await;
}

#[tokio::test]
async fn a_wish_that_the_bank_did_not_answer_is_fulfilled_once_the_timeout_has_withdrawn_the_order() {
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    wishes(&anna, &payment.id).await;
    app.sandbox.fault(Operation::PaymentCancel, Fault::Drop, 1);
    runs(&app, "cancel-payment").await;
    assert_eq!(standing(&anna, &payment.id).await, ["processing", "", "unconfirmed"]);
    time_is_over(&app, 1).await;
    runs(&app, "poll-payment").await;
    assert_eq!(standing(&anna, &payment.id).await, ["failed", "sca_timeout", "done"]);
    runs(&app, "poll-payment").await;
    app.finish().await;
}

#[tokio::test]
async fn a_wish_to_take_back_what_never_arrived_is_fulfilled() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = crate::paying::ordered(&app, &anna, &account).await;
    // Whoever answered the wish could not know, and the time to send is over by now.
    let unknown = "UPDATE transactions SET cancellation = 'unconfirmed', needs_review = true";
    execute(&app, unknown).await;
    let arguments = ["payments", "settle", &id, "--never-arrived"];
    crate::settling::does(&app, &crate::settling::with_by(&arguments)).await;
    assert_eq!(standing(&anna, &id).await, ["failed", "not_sent", "done"]);
    app.abandon().await;
}
