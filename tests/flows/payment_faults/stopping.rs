//! A worker that is stopped for longer than its lease, and goes on where it was as if nothing had happened. Another one has
//! its job by then.

use std::time::Duration;

use drop_sandbox::{Decision, Fault, Operation};
use drop_tests::app::{TestApp, eventually};
use rstest::rstest;

use super::scene::{PROGRAM, Payer, a_minute_passes, recovers};
use crate::paying::{execute, value};

/// Time enough to stop a process at a point where it sleeps.
const AT_THE_POINT: &str = "sleep:1000";

#[rstest]
#[case::before_it_sends("pay.sending", 0)]
#[case::while_the_bank_thinks("", 1)]
#[case::with_the_banks_answer("pay.response_read", 1)]
#[tokio::test(flavor = "multi_thread")]
async fn p1_p2_p6_a_worker_that_slept_through_its_lease_sends_and_writes_nothing(
    #[case] point: &str,
    #[case] orders: usize,
) {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    // The process has a clock that cannot be moved, so its lease is short.
    execute(&app, "UPDATE lanes SET lease = '2 s'").await;
    let id = payer.orders().await;
    let sleeps = format!("{point}={AT_THE_POINT}");
    let mut changes = vec![("DROP_LANES", "payment.send")];
    if point.is_empty() {
        app.sandbox.fault(Operation::Payment, Fault::Delay { ms: 1_000 }, 1);
    } else {
        changes.push(("DROP_FAILPOINT", sleeps.as_str()));
    }
    let mut worker = app.worker_process(PROGRAM, &changes);
    let under_way = async || {
        let attempts: i64 = value(&app, "SELECT count(*) FROM payment_attempts").await;
        attempts == 1 && app.sandbox.neonomics().payments().len() == orders
    };
    assert!(eventually(under_way).await, "it is not being sent");
    worker.signal("STOP");

    let ended = "SELECT count(*) FROM jobs WHERE state = 'running' AND lease_until > clock_timestamp()";
    assert!(
        eventually(async || value::<i64>(&app, ended).await == 0).await,
        "the lease does not end"
    );
    recovers(&app).await;
    assert_eq!(payer.standing(&id).await, "review");
    app.check_the_books().await;

    worker.signal("CONT");
    worker.signal("TERM");
    assert!(worker.ended().await.success(), "it ends when its handler has");
    assert_eq!(payer.standing(&id).await, "review", "it has written nothing");
    assert_eq!(app.sandbox.neonomics().payments().len(), orders, "it has sent nothing");
    app.abandon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_q2_a_worker_that_slept_through_its_lease_takes_no_word_of_the_banks_back() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let (id, link) = payer.has_one_at_the_bank().await;
    execute(&app, "UPDATE lanes SET lease = '2 s'").await;
    let sleeps = format!("pay.polled={AT_THE_POINT}");
    a_minute_passes(&app).await;
    let asked = app.sandbox.journal().entries_of(Operation::PaymentStatus).len();
    let changes = [("DROP_LANES", "payment.poll"), ("DROP_FAILPOINT", sleeps.as_str())];
    let mut worker = app.worker_process(PROGRAM, &changes);
    let polled = async || app.sandbox.journal().entries_of(Operation::PaymentStatus).len() > asked;
    assert!(eventually(polled).await, "it does not poll");
    tokio::time::timeout(Duration::from_millis(200), std::future::pending::<()>())
        .await
        .ok();
    worker.signal("STOP");

    app.sandbox.bank().decide_at(&link, Decision::Approve).unwrap();
    let ended = "SELECT count(*) FROM jobs WHERE state = 'running' AND lease_until > clock_timestamp()";
    assert!(
        eventually(async || value::<i64>(&app, ended).await == 0).await,
        "the lease does not end"
    );
    recovers(&app).await;
    assert_eq!(payer.standing(&id).await, "completed");
    worker.signal("CONT");
    worker.signal("TERM");
    assert!(worker.ended().await.success(), "it ends when its handler has");
    assert_eq!(payer.standing(&id).await, "completed", "it has written nothing");
    app.finish().await;
}
