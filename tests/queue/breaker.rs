//! The breaker, and the jobs behind it. What eight processes do to it at once is `probing`.

use std::{future::pending, time::Duration};

use drop_common::{
    queue::{Admission, Lane, admit, drain},
    resilience::breaker::{Breaker, BreakerKey},
};
use futures_util::future::join_all;
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::{
    database::with_database,
    jobs::{Bench, Call, add_job, count, registry, row},
};

pub(crate) const KEY: BreakerKey = BreakerKey::NeonomicsPisp;
/// Workers that claim at once.
const WORKERS: usize = 8;

/// Whether it counts so many within ten seconds.
async fn reaches(db: &PgPool, sql: &'static str, least: i64) -> bool {
    for _ in 0..400 {
        if count(db, sql).await >= least {
            return true;
        }
        tokio::time::timeout(Duration::from_millis(25), pending::<()>())
            .await
            .ok();
    }
    false
}

pub(crate) async fn open(db: &PgPool) {
    open_in(db, 0).await;
}

/// Three failures of calls that started in this epoch.
async fn open_in(db: &PgPool, epoch: i64) {
    let breaker = Breaker::new(db.clone());
    for _ in 0..3 {
        breaker.fail(KEY, epoch, None, Duration::ZERO).await.unwrap();
    }
    assert!(breaker.state(KEY).await.unwrap().open);
}

pub(crate) async fn a_minute_passes(db: &PgPool) {
    sqlx::query("UPDATE breaker SET retry_at = retry_at - interval '61 s' WHERE open")
        .execute(db)
        .await
        .unwrap();
}

#[tokio::test]
async fn three_failures_open_it_exactly_once_however_many_report() {
    with_database(|db| async move {
        let breaker = Breaker::new(db.clone());
        join_all((0..2).map(|_| breaker.fail(KEY, 0, None, Duration::ZERO))).await;
        assert!(!breaker.state(KEY).await.unwrap().open, "two are not enough");
        let reports = join_all((0..16).map(|_| breaker.fail(KEY, 0, None, Duration::ZERO))).await;
        let reports = reports.into_iter().map(Result::unwrap);
        assert_eq!(reports.filter(|report| report.opened).count(), 1, "one of them did it");
        let state = breaker.state(KEY).await.unwrap();
        assert!(state.open);
        assert_eq!(state.epoch, 1, "one transition");
        assert!(!breaker.state(BreakerKey::NeonomicsAisp).await.unwrap().open);
    })
    .await;
}

#[tokio::test]
async fn exactly_one_of_sixteen_may_probe_and_a_failed_probe_keeps_it_open() {
    with_database(|db| async move {
        open(&db).await;
        let breaker = Breaker::new(db.clone());
        assert!(
            breaker.probe(KEY).await.unwrap().is_none(),
            "not before the minute is over"
        );
        a_minute_passes(&db).await;
        let probes: Vec<_> = join_all((0..16).map(|_| breaker.probe(KEY)))
            .await
            .into_iter()
            .filter_map(Result::unwrap)
            .collect();
        assert_eq!(probes.len(), 1);
        let probe = probes[0];
        assert!(breaker.state(KEY).await.unwrap().lets_through(Some(probe.id)));
        assert!(!breaker.state(KEY).await.unwrap().lets_through(None));
        assert!(
            breaker
                .fail(KEY, probe.epoch, Some(probe.id), Duration::ZERO)
                .await
                .unwrap()
                .opened
        );
        assert!(breaker.state(KEY).await.unwrap().retry_in > Duration::from_secs(50));
        assert!(
            !breaker.close(KEY, probe.id).await.unwrap(),
            "a stale prober closes nothing"
        );
    })
    .await;
}

#[tokio::test]
async fn an_open_circuit_stops_its_jobs_until_one_of_them_has_probed() {
    with_database(|db| async move {
        open(&db).await;
        let job = add_job(&db, &Call { answered: true }).await;
        let next = add_job(&db, &Call { answered: true }).await;
        assert_eq!(drain(&db, registry(), Bench::new(&db)).await.unwrap(), 0);
        assert_eq!(row(&db, job).await, ("ready".into(), 0, 0, None));
        a_minute_passes(&db).await;
        let bench = Bench::new(&db);
        drain(&db, registry(), bench.clone()).await.unwrap();
        assert_eq!(
            (bench.runs(job), bench.runs(next)),
            (vec![1], vec![0]),
            "the first was the probe"
        );
        assert_eq!(
            row(&db, next).await,
            ("done".into(), 1, 0, None),
            "what was refused used no attempt"
        );
        assert!(!Breaker::new(db.clone()).state(KEY).await.unwrap().open);
    })
    .await;
}

#[tokio::test]
async fn a_probe_that_made_no_call_is_given_back() {
    with_database(|db| async move {
        open(&db).await;
        a_minute_passes(&db).await;
        add_job(&db, &Call { answered: false }).await;
        drain(&db, registry(), Bench::new(&db)).await.unwrap();
        let breaker = Breaker::new(db.clone());
        assert!(breaker.state(KEY).await.unwrap().open);
        assert!(
            breaker.probe(KEY).await.unwrap().is_some(),
            "the next may probe at once"
        );
    })
    .await;
}

#[tokio::test]
async fn the_api_refuses_while_open_and_lets_one_in_when_half_open_and_nobody_waits() {
    with_database(|db| async move {
        let admit = async || admit(&db, Lane::PaymentSend).await.unwrap();
        assert_eq!(admit().await, Admission::Admitted);
        open(&db).await;
        assert!(matches!(admit().await, Admission::CircuitOpen { retry_after: 55..=60 }));
        a_minute_passes(&db).await;
        assert_eq!(admit().await, Admission::Admitted);
        add_job(&db, &Call { answered: true }).await;
        assert!(
            matches!(admit().await, Admission::CircuitOpen { .. }),
            "somebody waits to probe already"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b3_of_jobs_that_eight_workers_claim_behind_a_half_open_circuit_one_is_the_probe() {
    with_database(|db| async move {
        let mut jobs = Vec::new();
        for round in 1..=10 {
            open_in(&db, 2 * (round - 1)).await;
            a_minute_passes(&db).await;
            for _ in 0..WORKERS {
                jobs.push(add_job(&db, &Call { answered: true }).await);
            }
            let bench = Bench::new(&db);
            let runs = (0..WORKERS).map(|_| drain(&db, registry(), bench.clone()));
            for ran in join_all(runs).await {
                ran.unwrap();
            }
            let probes: i32 = jobs.iter().flat_map(|job| bench.runs(*job)).sum();
            assert_eq!(probes, 1, "round {round}");
            assert_eq!(bench.total(), WORKERS, "each ran once");
            assert!(!Breaker::new(db.clone()).state(KEY).await.unwrap().open);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b6_ten_thousand_looks_before_a_call_write_nothing() {
    with_database(|db| async move {
        let reads = "SELECT seq_scan + idx_scan FROM pg_stat_user_tables WHERE relname = 'breaker'";
        let writes = "SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = 'breaker'";
        let before = count(&db, writes).await;
        let calls = PgPoolOptions::new().max_connections(4);
        let calls = calls.connect_with((*db.connect_options()).clone()).await.unwrap();
        for _ in 0..100 {
            // As the API asks before it takes an order, and a worker before its call.
            let each = (0..100).map(|_| async {
                assert_eq!(admit(&calls, Lane::PaymentSend).await.unwrap(), Admission::Admitted);
                assert!(Breaker::new(calls.clone()).state(KEY).await.unwrap().lets_through(None));
            });
            join_all(each).await;
        }
        // A connection tells the statistics what it did when it ends, which nobody waits for.
        calls.close().await;
        assert!(reaches(&db, reads, 20_000).await, "they are counted");
        assert_eq!(count(&db, writes).await, before);

        // The same look sees the least that is written.
        let failing = PgPoolOptions::new()
            .connect_with((*db.connect_options()).clone())
            .await
            .unwrap();
        Breaker::new(failing.clone())
            .fail(KEY, 0, None, Duration::ZERO)
            .await
            .unwrap();
        failing.close().await;
        assert!(reaches(&db, writes, before + 1).await);
    })
    .await;
}
