//! A worker dies while it asks the bank how a payment is doing, or ends the time for its approval.

use drop_sandbox::{Decision, Fault, Operation};
use drop_tests::app::TestApp;

use super::scene::{Payer, a_minute_passes, recovers, recovers_at_length, worker_dies};
use crate::paying::{execute, value};

const POINTS: [&str; 5] = [
    "queue.claimed",
    "pay.poll_claimed",
    "pay.polled",
    "pay.final",
    "queue.domain_committed",
];

#[tokio::test(flavor = "multi_thread")]
async fn p4_p5_p10_a_worker_that_dies_while_it_polls_delays_a_completion_and_tells_it_once() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let well = POINTS.map(|point| (point, None));
    let badly = [Fault::status(500), Fault::Drop, Fault::Truncate, Fault::ExecuteThenDrop];
    let badly = badly.map(|fault| ("pay.polled", Some(fault)));
    for (point, bank) in well.into_iter().chain(badly) {
        let (id, link) = payer.has_one_at_the_bank().await;
        app.sandbox.bank().decide_at(&link, Decision::Approve).unwrap(); // and nobody comes back
        if let Some(fault) = bank.clone() {
            app.sandbox.fault(Operation::PaymentStatus, fault, 1);
        }
        a_minute_passes(&app).await;
        worker_dies(&app, "payment.poll", point).await;
        recovers(&app).await;
        assert_eq!(payer.standing(&id).await, "completed", "{point}, {bank:?}");
        app.check_the_books().await;
    }
    let told: i64 = value(&app, "SELECT count(*) FROM notifications WHERE kind = 'payment'").await;
    assert_eq!(told, 9, "one for each");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p5_p6_a_worker_that_dies_while_it_ends_the_time_for_approval_ends_it_all_the_same() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let refused = Some(Fault::status(503));
    for (point, bank, end) in [
        ("pay.polled", None, "failed:sca_timeout"),
        ("pay.withdrawing", None, "failed:sca_timeout"),
        // The bank took the withdrawal and nobody wrote that down: what was written before it says whose it was.
        ("pay.withdrawn", None, "failed:sca_timeout"),
        ("pay.withdrawn", Some(Fault::ExecuteThenDrop), "failed:sca_timeout"),
        ("pay.withdrawn", refused.clone(), "failed:sca_timeout"),
        ("pay.final", None, "failed:sca_timeout"),
        ("pay.final", refused, "failed:sca_timeout"),
        ("queue.domain_committed", None, "failed:sca_timeout"),
        (
            "queue.domain_committed",
            Some(Fault::ExecuteThenDrop),
            "failed:sca_timeout",
        ),
    ] {
        let (id, _) = payer.has_one_at_the_bank().await;
        let over = "UPDATE transactions SET sca_deadline = clock_timestamp() - interval '1 s' WHERE NOT bank_final";
        execute(&app, over).await;
        if let Some(fault) = bank.clone() {
            app.sandbox.fault(Operation::PaymentCancel, fault, 1);
        }
        a_minute_passes(&app).await;
        worker_dies(&app, "payment.poll", point).await;
        recovers(&app).await;
        assert_eq!(payer.standing(&id).await, end, "{point}, {bank:?}");
        app.check_the_books().await;
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p5_p6_an_order_that_the_bank_forgot_with_its_withdrawal_has_ended_whatever_became_of_the_answer() {
    let app = TestApp::start().await;
    app.sandbox.neonomics().configure(|bank| bank.forgets_withdrawn = true);
    let payer = Payer::of(&app).await;
    let lost = Some(Fault::ExecuteThenDrop);
    for (point, bank) in [
        ("pay.withdrawing", None),
        ("pay.withdrawn", None),
        ("pay.withdrawn", lost.clone()),
        ("pay.final", None),
        ("pay.final", lost.clone()),
        ("queue.domain_committed", None),
        ("queue.domain_committed", lost),
    ] {
        let (id, _) = payer.has_one_at_the_bank().await;
        let over = "UPDATE transactions SET sca_deadline = clock_timestamp() - interval '1 s' WHERE NOT bank_final";
        execute(&app, over).await;
        if let Some(fault) = bank.clone() {
            app.sandbox.fault(Operation::PaymentCancel, fault, 1);
        }
        a_minute_passes(&app).await;
        worker_dies(&app, "payment.poll", point).await;
        recovers_at_length(&app).await;
        assert_eq!(payer.standing(&id).await, "failed:sca_timeout", "{point}, {bank:?}");
        app.check_the_books().await;
    }
    let reviewed: i64 = value(&app, "SELECT count(*) FROM transactions WHERE needs_review").await;
    assert_eq!(reviewed, 0, "nobody need look");
    app.finish().await;
}
