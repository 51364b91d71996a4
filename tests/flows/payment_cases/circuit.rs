//! The circuit in front of payments: what opens it, and what a payment loses that it refuses (cases 16 and 53).

use std::sync::Arc;

use drop_common::{
    clock::Clock,
    metrics::{Metrics, Process},
    providers::ProviderError,
    queue::{self, Handler, Job, JobError, Lane, Lease, Outcome, Registry, Verdict, Wake},
    resilience::breaker::BreakerKey,
};
use drop_sandbox::{Fault, Operation};
use drop_tests::app::{TestApp, eventually};
use drop_worker::Context;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;

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

/// Reports how so many calls of each kind went that say nothing against the bank, or one that does.
#[derive(Debug, Serialize, Deserialize)]
enum Reports {
    Well(usize),
    Badly,
}

impl Job for Reports {
    const KIND: &'static str = "reports";
    const LANE: Lane = Lane::PaymentPoll;
}

impl Handler<Context> for Reports {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let (status, code, retry_after) = (404, None, None);
        let harmless = [
            None,
            Some(ProviderError::Refused { status, code }),
            Some(ProviderError::TooMany {
                retry_after,
                code: None,
            }),
        ];
        match self {
            Self::Well(calls) => {
                for went in (0..calls).flat_map(|_| &harmless) {
                    ctx.report(&lease, BreakerKey::NeonomicsPisp, went.as_ref()).await;
                }
            }
            Self::Badly => {
                ctx.report(&lease, BreakerKey::NeonomicsPisp, Some(&ProviderError::Timeout))
                    .await;
            }
        }
        Ok(Outcome::Done.into())
    }
}

#[tokio::test]
async fn b6_ten_thousand_calls_that_succeed_and_as_many_refusals_write_nothing() {
    let app = TestApp::start().await;
    app.stop_worker().await;
    let writes = async || {
        let sql = "SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = 'breaker'";
        value::<i64>(&app, sql).await
    };
    let before = writes().await;
    // One connection, which tells the statistics all that it did when it ends.
    let own = PgPoolOptions::new().max_connections(1);
    let own = own.connect_with((*app.db.connect_options()).clone()).await.unwrap();
    let metrics = Arc::new(Metrics::new(Process::Worker, "test", "test").unwrap());
    let (_, settings) = app.settings_with(&[]);
    let context = Context::new(settings, own.clone(), Clock::adjustable(), metrics, Wake::default()).unwrap();
    let mut tx = own.begin().await.unwrap();
    for job in [Reports::Well(10_000), Reports::Badly] {
        queue::enqueue(&mut tx, &job).await.unwrap();
    }
    tx.commit().await.unwrap();
    let ran = queue::drain(&own, Registry::new().with::<Reports>(), Arc::new(context)).await;
    // A cron slot may have come before the worker stopped; its job is nobody's here.
    assert!(ran.unwrap() >= 2);
    let done = "SELECT count(*) FROM jobs WHERE kind = 'reports' AND state = 'done'";
    assert_eq!(value::<i64>(&app, done).await, 2);
    own.close().await;
    assert!(
        eventually(async || writes().await > before).await,
        "the one failure is counted"
    );
    assert_eq!(writes().await, before + 1);
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
