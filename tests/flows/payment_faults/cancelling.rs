//! A worker dies while it takes a payment back.

use drop_sandbox::{Fault, Operation};
use drop_tests::app::TestApp;

use super::scene::{Payer, recovers, recovers_at_length, worker_dies};
use crate::paying::{shown, value};

#[tokio::test(flavor = "multi_thread")]
async fn p4_p6_a_worker_that_dies_while_it_takes_a_payment_back_still_tells_what_became_of_it() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let (lost, refused) = (Fault::ExecuteThenDrop, Fault::status(500));
    for (point, bank) in [
        ("cancel.claimed", None),
        ("cancel.withdrawing", None),
        ("cancel.withdrawn", None),
        ("cancel.withdrawn", Some(lost.clone())),
        ("cancel.withdrawn", Some(refused.clone())),
        ("cancel.result", None),
        ("cancel.result", Some(lost.clone())),
        ("cancel.recorded", None),
        ("cancel.recorded", Some(lost)),
        ("queue.domain_committed", None),
    ] {
        let (id, _) = payer.has_one_at_the_bank().await;
        let asked = payer.takes_back(&id).await;
        assert_eq!(asked.status, 202, "{:?}", asked.problem());
        if let Some(fault) = bank.clone() {
            app.sandbox.fault(Operation::PaymentCancel, fault, 1);
        }
        worker_dies(&app, "payment.poll", point).await;
        recovers(&app).await;
        assert_eq!(payer.standing(&id).await, "cancelled", "{point}, {bank:?}");
        let shown = shown(&payer.person, &id).await;
        assert_eq!(shown["cancellation"], "done", "{point}, {bank:?}");
        app.check_the_books().await;
    }

    // Only where the bank did not take it does it stay what it was, and the person hears that.
    let (id, link) = payer.has_one_at_the_bank().await;
    payer.takes_back(&id).await;
    app.sandbox.fault(Operation::PaymentCancel, refused, 1);
    worker_dies(&app, "payment.poll", "cancel.recorded").await;
    recovers(&app).await;
    assert_eq!(shown(&payer.person, &id).await["cancellation"], "unconfirmed");
    super::scene::approves(&app, &link).await;
    recovers(&app).await;
    assert_eq!(payer.standing(&id).await, "completed");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p5_p6_a_payment_that_the_bank_forgot_when_it_was_taken_back_is_cancelled_whatever_became_of_the_answer() {
    let app = TestApp::start().await;
    app.sandbox.neonomics().configure(|bank| bank.forgets_withdrawn = true);
    let payer = Payer::of(&app).await;
    let lost = Some(Fault::ExecuteThenDrop);
    for (point, bank) in [
        ("cancel.withdrawing", None),
        ("cancel.withdrawn", None),
        ("cancel.withdrawn", lost.clone()),
        ("cancel.result", None),
        ("cancel.recorded", None),
        ("cancel.recorded", lost),
    ] {
        let (id, _) = payer.has_one_at_the_bank().await;
        assert_eq!(payer.takes_back(&id).await.status, 202);
        if let Some(fault) = bank.clone() {
            app.sandbox.fault(Operation::PaymentCancel, fault, 1);
        }
        worker_dies(&app, "payment.poll", point).await;
        recovers_at_length(&app).await;
        assert_eq!(payer.standing(&id).await, "cancelled", "{point}, {bank:?}");
        let shown = shown(&payer.person, &id).await;
        assert_eq!(shown["cancellation"], "done", "{point}, {bank:?}");
        app.check_the_books().await;
    }
    let reviewed: i64 = value(&app, "SELECT count(*) FROM transactions WHERE needs_review").await;
    assert_eq!(reviewed, 0, "nobody need look");
    app.finish().await;
}
