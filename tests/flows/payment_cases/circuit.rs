//! The circuit in front of payments: what opens it, and what a payment loses that it refuses (cases 16 and 53).

use drop_sandbox::{Fault, Operation};
use drop_tests::app::{TestApp, eventually};

use crate::{
    paying::{execute, value},
    payment_faults::scene::{PROGRAM, Payer, a_minute_passes, kill},
};

const OPENS: &str =
    "UPDATE breaker SET open = true, opened_at = clock_timestamp(), retry_at = clock_timestamp() + interval '60 s'
                      WHERE key = 'neonomics/pisp'";

#[tokio::test]
async fn b5_no_refusal_and_no_limit_of_the_banks_counts_towards_an_open_circuit() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let untouched = "SELECT NOT open AND epoch = 0 AND fails = '{}' FROM breaker WHERE key = 'neonomics/pisp'";
    for code in [400, 401, 403, 404, 405, 409, 422, 429] {
        payer.orders().await;
        app.sandbox.fault(Operation::Payment, Fault::status(code), 1);
        app.run_jobs().await;
        execute(&app, "UPDATE lanes SET throttled_until = NULL").await;
        assert!(value::<bool>(&app, untouched).await, "{code}");
    }
    assert_eq!(app.sandbox.journal().entries_of(Operation::Payment).len(), 8);
    let (id, _) = payer.has_one_at_the_bank().await;
    for code in [400, 403, 404, 405, 409, 429] {
        app.sandbox.fault(Operation::PaymentStatus, Fault::status(code), 1);
        a_minute_passes(&app).await;
        app.run_jobs().await;
        execute(&app, "UPDATE lanes SET throttled_until = NULL").await;
        assert!(value::<bool>(&app, untouched).await, "{code}");
    }
    assert!(
        payer.standing(&id).await.starts_with("review"),
        "the bank did not know it once"
    );

    // And what does count is seen in the same place.
    app.sandbox.fault(Operation::PaymentStatus, Fault::status(500), 1);
    a_minute_passes(&app).await;
    app.run_jobs().await;
    assert!(!value::<bool>(&app, untouched).await);
    app.finish().await;
}

#[tokio::test]
async fn b6_payments_that_succeed_write_nothing_to_the_circuit() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    // The row's place and its last writer.
    let row = "SELECT ctid || ' ' || xmin FROM breaker WHERE key = 'neonomics/pisp'";
    let before: String = value(&app, row).await;
    for _ in 0..10 {
        let id = payer.orders().await;
        assert_eq!(payer.plays_out(&id).await, "completed");
    }
    let calls = [Operation::Payment, Operation::PaymentStatus].map(|call| app.sandbox.journal().entries_of(call).len());
    assert!(calls[0] == 10 && calls[1] >= 20, "{calls:?}");
    assert_eq!(value::<String>(&app, row).await, before);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_what_an_open_circuit_refuses_keeps_its_attempts_before_and_after_it_was_claimed() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let id = payer.orders().await;
    let attempts = "SELECT attempt * 100 + unused FROM jobs WHERE kind = 'initiate-payment'";

    // It opens when a worker has the job and has not sent it.
    let changes = [
        ("DROP_LANES", "payment.send"),
        ("DROP_FAILPOINT", "pay.claimed=sleep:500"),
    ];
    let worker = app.worker_process(PROGRAM, &changes);
    assert!(
        eventually(async || value::<i32>(&app, attempts).await == 100).await,
        "it is not claimed"
    );
    execute(&app, OPENS).await;
    assert!(
        eventually(async || value::<i32>(&app, attempts).await == 101).await,
        "it is not given back"
    );
    kill(worker).await;

    // It is open: nobody claims.
    execute(&app, "UPDATE jobs SET run_at = clock_timestamp() WHERE state = 'ready'").await;
    app.run_jobs().await;
    assert_eq!(value::<i32>(&app, attempts).await, 101);
    assert_eq!(payer.standing(&id).await, "processing?");
    assert!(app.sandbox.journal().entries_of(Operation::Payment).is_empty());
    assert_eq!(payer.plays_out(&id).await, "completed");
    app.finish().await;
}
