//! Calls about a payment that follow one another in one job, while its circuit opens or is to be probed.

use chrono::TimeDelta;
use drop_common::queue::{self, payloads::ReconcilePayments};
use drop_sandbox::{Fault, Operation};
use drop_tests::{app::TestApp, person::Answer};
use serde_json::json;

use crate::{
    circuits::is_open,
    paying::{anna_at_the_bank, at_the_bank, execute, shown},
};

const PISP: &str = "neonomics/pisp";

fn calls(app: &TestApp, operation: Operation) -> usize {
    app.sandbox.journal().entries_of(operation).len()
}

/// Runs the waiting jobs of this kind, and nothing else that waits.
async fn runs(app: &TestApp, kind: &str) {
    let due = format!(
        "UPDATE jobs SET run_at = clock_timestamp() + CASE WHEN kind = '{kind}' THEN '0 s' ELSE '1 h' END::interval
          WHERE state = 'ready'"
    );
    execute(app, &due).await;
    app.run_jobs().await;
}

#[tokio::test]
async fn a_look_that_opens_the_circuit_is_the_last_call_and_the_time_is_ended_without_the_bank() {
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    execute(
        &app,
        "UPDATE breaker SET fails = ARRAY[clock_timestamp(), clock_timestamp()] WHERE key = 'neonomics/pisp';
         UPDATE transactions SET sca_deadline = clock_timestamp() - interval '31 s'",
    )
    .await;
    app.sandbox.fault(Operation::PaymentStatus, Fault::status(503), 1);
    runs(&app, "poll-payment").await;
    assert!(is_open(&app, PISP).await);
    assert_eq!(calls(&app, Operation::PaymentCancel), 0, "nothing more leaves");
    assert_eq!(shown(&anna, &payment.id).await["status"], "processing");

    let mut tx = app.db.begin().await.unwrap();
    queue::enqueue(&mut tx, &ReconcilePayments {}).await.unwrap();
    tx.commit().await.unwrap();
    app.run_jobs().await;
    assert_eq!(shown(&anna, &payment.id).await["reason"], "sca_timeout");
    assert_eq!(calls(&app, Operation::PaymentCancel), 0);
    for _ in 0..3 {
        app.advance(TimeDelta::seconds(61)).await;
        execute(&app, "UPDATE jobs SET run_at = clock_timestamp() WHERE state = 'ready'").await;
        app.run_jobs().await;
    }
    assert_eq!(shown(&anna, &payment.id).await["bankFinal"], true);
    assert_eq!(calls(&app, Operation::PaymentCancel), 1);
    app.finish().await;
}

#[tokio::test]
async fn an_order_that_was_changed_is_not_read_once_the_circuit_is_open() {
    let app = TestApp::start().await;
    let bank = app.sandbox.neonomics();
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    at_the_bank(&app, &anna, &account).await;
    bank.set_payment_status(&bank.payments()[0].id, "ACWC").unwrap();
    // Somebody else's call opens it while the bank is asked.
    app.sandbox
        .fault(Operation::PaymentStatus, Fault::Delay { ms: 1_000 }, 1);
    let opens = async {
        let asked = async || calls(&app, Operation::PaymentStatus) == 1;
        assert!(drop_tests::app::eventually(asked).await, "the bank is not asked");
        execute(
            &app,
            "UPDATE breaker SET open = true, epoch = epoch + 1, opened_at = clock_timestamp(),
                    retry_at = clock_timestamp() + interval '60 s' WHERE key = 'neonomics/pisp'",
        )
        .await;
    };
    tokio::join!(runs(&app, "poll-payment"), opens);
    assert_eq!(calls(&app, Operation::PaymentRead), 0);
    app.advance(TimeDelta::seconds(61)).await;
    execute(&app, "UPDATE jobs SET run_at = clock_timestamp() WHERE state = 'ready'").await;
    app.run_jobs().await;
    assert_eq!(calls(&app, Operation::PaymentRead), 1);
    app.abandon().await;
}

#[tokio::test]
async fn a_wish_that_probes_looks_first_and_withdraws_once_that_is_answered() {
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    let request = anna.request(&format!("/v1/transactions/{}/cancel", payment.id));
    let asked = Answer::of(request.header("Prefer", "respond-async").send().await.unwrap()).await;
    assert_eq!(asked.status, 202, "{:?}", asked.problem());
    execute(
        &app,
        "UPDATE breaker SET open = true, opened_at = clock_timestamp() - interval '61 s', retry_at = clock_timestamp()
          WHERE key = 'neonomics/pisp'",
    )
    .await;
    let looks = calls(&app, Operation::PaymentStatus);
    app.sandbox.fault(Operation::PaymentStatus, Fault::status(503), 1);
    runs(&app, "cancel-payment").await;
    assert!(is_open(&app, PISP).await, "the probe has failed");
    let made = (
        calls(&app, Operation::PaymentStatus),
        calls(&app, Operation::PaymentCancel),
    );
    assert_eq!(made, (looks + 1, 0), "and was one call");
    let shown_then = shown(&anna, &payment.id).await;
    assert_eq!(shown_then["cancellation"], json!("requested"));

    app.advance(TimeDelta::seconds(61)).await;
    runs(&app, "cancel-payment").await;
    assert!(!is_open(&app, PISP).await);
    assert_eq!(calls(&app, Operation::PaymentCancel), 1);
    assert_eq!(shown(&anna, &payment.id).await["cancellation"], json!("done"));
    app.finish().await;
}
