//! The running workers: claims, leases, drain.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use drop_common::{
    queue::{Lane, Wake, Watch, WorkersConfig, WorkersError, drain, run_workers},
    storage,
};
use futures_util::{FutureExt, future::join_all};
use sqlx::{PgPool, postgres::PgListener};
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    database::with_database,
    jobs::{Bench, Hurried, Script, add, add_job, count, registry, row},
};

fn slots(slots: usize, grace: Duration) -> WorkersConfig {
    WorkersConfig {
        slots: BTreeMap::from([(Lane::Upkeep, slots)]),
        grace,
    }
}

pub(crate) struct Worker {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), WorkersError>>,
}

impl Worker {
    pub(crate) fn start(db: &PgPool, bench: &Arc<Bench>, slots: usize, grace: Duration) -> Self {
        let (stop, stopped) = oneshot::channel();
        let config = self::slots(slots, grace);
        let (db, bench) = (db.clone(), bench.clone());
        let ended = tokio::spawn(async move {
            run_workers(config, registry(), bench, db, Wake::default(), async {
                drop(stopped.await);
            })
            .await
        });
        Self { stop, ended }
    }

    pub(crate) async fn stop(self) -> Result<(), WorkersError> {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap()
    }
}

/// Fails the test, rather than hangs, when it never comes true.
pub(crate) async fn until(db: &PgPool, sql: &'static str) {
    let mut ticks = tokio::time::interval(Duration::from_millis(25));
    for _ in 0..800 {
        ticks.tick().await;
        if count(db, sql).await != 0 {
            return;
        }
    }
    panic!("never true: {sql}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_claimers_run_each_job_once() {
    with_database(|db| async move {
        for _ in 0..200 {
            add(&db, Script::DoneInTransaction).await;
        }
        let bench = Bench::new(&db);
        let ran = join_all((0..16).map(|_| drain(&db, registry(), bench.clone()))).await;
        assert_eq!(ran.into_iter().map(Result::unwrap).sum::<usize>(), 200);
        assert!(bench.runs.lock().unwrap().values().all(|runs| runs.len() == 1));
        assert_eq!(
            count(&db, "SELECT count(*) FROM jobs WHERE state = 'done' AND attempt = 1").await,
            200
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_workers_claim_batches_and_run_each_job_once() {
    with_database(|db| async move {
        for _ in 0..300 {
            add(&db, Script::Done).await;
        }
        let bench = Bench::new(&db);
        let workers: Vec<Worker> = (0..3)
            .map(|_| Worker::start(&db, &bench, 16, Duration::from_secs(10)))
            .collect();
        until(
            &db,
            "SELECT (count(*) = 300)::int::bigint FROM jobs WHERE state = 'done'",
        )
        .await;
        for worker in workers {
            worker.stop().await.unwrap();
        }
        assert_eq!(bench.total(), 300);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_leaves_nothing_claimed_and_finishes_what_it_started() {
    with_database(|db| async move {
        for _ in 0..200 {
            add(&db, Script::Take(Duration::from_millis(30))).await;
        }
        sqlx::query("UPDATE jobs SET run_at = run_at - interval '1 h'")
            .execute(&db)
            .await
            .unwrap();
        let bench = Bench::new(&db);
        for _ in 0..5 {
            // Stopped at the first start: most of the batch is claimed and not handed over yet.
            let worker = Worker::start(&db, &bench, 40, Duration::from_secs(10));
            bench.started.notified().await;
            worker.stop().await.unwrap();
            assert_eq!(count(&db, "SELECT count(*) FROM jobs WHERE state = 'running'").await, 0);
            let done = count(&db, "SELECT count(*) FROM jobs WHERE state = 'done'").await;
            assert_eq!(
                usize::try_from(done).unwrap(),
                bench.total(),
                "everything that started was finished"
            );
            let _stale = bench.started.notified().now_or_never(); // the starts of this round
        }
        assert!(
            count(&db, "SELECT count(*) FROM jobs WHERE unused > 0").await > 0,
            "some claims were given back"
        );
        assert_eq!(
            count(
                &db,
                "SELECT count(*) FROM jobs WHERE run_at > clock_timestamp() - interval '50 min'"
            )
            .await,
            0,
            "they keep their place in the lane"
        );
        assert_eq!(
            count(&db, "SELECT count(*) FROM job_attempts").await,
            0,
            "giving back is no failure"
        );
    })
    .await;
}

/// Tells the worker to stop at its second claim.
struct StopsAtSecondClaim {
    claims: AtomicUsize,
    stop: CancellationToken,
}

impl Watch for StopsAtSecondClaim {
    fn claimed(&self, _: Lane, jobs: usize, _: Duration) {
        if jobs > 0 && self.claims.fetch_add(1, Ordering::Relaxed) == 1 {
            self.stop.cancel();
        }
    }
}

#[tokio::test]
async fn q7_a_claim_that_was_handed_over_and_not_taken_goes_back_at_once_beside_a_long_job() {
    with_database(|db| async move {
        // Whether the runtime takes the claim or hears of the end first is its choice: some rounds get the one, some the other.
        for _ in 0..8 {
            let (bench, stop) = (Bench::new(&db), CancellationToken::new());
            let watch = StopsAtSecondClaim {
                claims: AtomicUsize::new(0),
                stop: stop.clone(),
            };
            let worker = tokio::spawn(run_workers(
                slots(4, Duration::from_secs(10)),
                registry().watched_by(Arc::new(watch)),
                bench.clone(),
                db.clone(),
                Wake::default(),
                stop.cancelled_owned(),
            ));
            let long = add(&db, Script::Take(Duration::from_secs(5))).await;
            bench.started.notified().await;
            add(&db, Script::Done).await;
            // Done too, if it was taken.
            until(
                &db,
                "SELECT (count(*) = 1)::int::bigint FROM jobs WHERE payload ->> 'script' = 'Done' AND attempt = 1 AND state <> 'running'",
            )
            .await;
            assert_eq!(row(&db, long).await.0, "running", "it did not wait for the long job");
            worker.abort();
            sqlx::query("DELETE FROM jobs").execute(&db).await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_longer_than_its_lease_keeps_it_and_runs_once() {
    with_database(|db| async move {
        sqlx::query("UPDATE lanes SET lease = '900 ms'")
            .execute(&db)
            .await
            .unwrap();
        let job = add(&db, Script::Take(Duration::from_millis(2_500))).await;
        let bench = Bench::new(&db);
        let workers: Vec<Worker> = (0..2)
            .map(|_| Worker::start(&db, &bench, 2, Duration::from_secs(10)))
            .collect();
        until(&db, "SELECT count(*) FROM jobs WHERE state = 'done'").await;
        for worker in workers {
            worker.stop().await.unwrap();
        }
        assert_eq!(bench.runs(job), [1]);
        assert_eq!(row(&db, job).await, ("done".into(), 1, 0, None));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claimer_whose_slots_are_all_taken_says_that_it_only_waits() {
    #[derive(Default)]
    struct Full(CancellationToken);
    impl Watch for Full {
        fn full(&self, lane: Lane) {
            assert_eq!(lane, Lane::Upkeep);
            self.0.cancel();
        }
    }
    with_database(|db| async move {
        add(&db, Script::Take(Duration::from_hours(1))).await;
        let (full, said) = (Full::default(), CancellationToken::new());
        let heard = full.0.clone();
        let worker = tokio::spawn(run_workers(
            slots(1, Duration::ZERO),
            registry().watched_by(Arc::new(full)),
            Bench::new(&db),
            db.clone(),
            Wake::default(),
            said.clone().cancelled_owned(),
        ));
        tokio::time::timeout(Duration::from_secs(20), heard.cancelled())
            .await
            .expect("it says so");
        said.cancel();
        assert!(matches!(worker.await.unwrap(), Err(WorkersError::Grace(_))));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_hangs_is_cancelled_when_its_longest_run_is_over() {
    with_database(|db| async move {
        sqlx::query("UPDATE lanes SET lease = '400 ms', max_run = '100 ms'")
            .execute(&db)
            .await
            .unwrap();
        let job = add(&db, Script::Take(Duration::from_hours(1))).await;
        let worker = Worker::start(&db, &Bench::new(&db), 2, Duration::from_secs(10));
        until(&db, "SELECT count(*) FROM jobs WHERE state = 'dead'").await;
        worker.stop().await.unwrap();
        assert_eq!(row(&db, job).await, ("dead".into(), 3, 0, Some("lease expired".into())));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_takes_longer_than_its_kind_may_has_failed_with_its_attempts() {
    with_database(|db| async move {
        let job = add_job(&db, &Hurried {}).await;
        let worker = Worker::start(&db, &Bench::new(&db), 2, Duration::from_secs(10));
        until(&db, "SELECT count(*) FROM jobs WHERE state = 'dead'").await;
        worker.stop().await.unwrap();
        assert_eq!(
            row(&db, job).await,
            ("dead".into(), 2, 0, Some("timed out after 200ms".into()))
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_jobs_outlast_the_grace_time_says_so() {
    with_database(|db| async move {
        add(&db, Script::Take(Duration::from_hours(1))).await;
        let bench = Bench::new(&db);
        let worker = Worker::start(&db, &bench, 2, Duration::from_millis(50));
        // A claim that no handler has taken yet would go back.
        bench.started.notified().await;
        assert!(matches!(worker.stop().await, Err(WorkersError::Grace(_))));
    })
    .await;
}

#[tokio::test]
async fn a_migrated_schema_is_current() {
    with_database(|db| async move {
        assert!(storage::schema_is_current(&db).await.unwrap());
        sqlx::query("DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)")
            .execute(&db)
            .await
            .unwrap();
        assert!(!storage::schema_is_current(&db).await.unwrap());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_end_no_worker_and_every_job_is_done_once() {
    with_database(|db| async move {
        for _ in 0..150 {
            add(&db, Script::DoneInTransaction).await;
        }
        let bench = Bench::new(&db);
        let worker = Worker::start(&db, &bench, 4, Duration::from_secs(20));
        // Its own pool asks each connection before it uses it: those of the service, cut a moment ago, fail once each.
        let eye = PgPool::connect_with((*db.connect_options()).clone()).await.unwrap();
        for progress in [
            "SELECT (count(*) > 5)::int::bigint FROM jobs WHERE state = 'done'",
            "SELECT (count(*) > 40)::int::bigint FROM jobs WHERE state = 'done'",
            "SELECT (count(*) > 80)::int::bigint FROM jobs WHERE state = 'done'",
        ] {
            until(&eye, progress).await;
            cut_connections(&eye).await;
        }
        until(
            &eye,
            "SELECT (count(*) = 150)::int::bigint FROM jobs WHERE state = 'done'",
        )
        .await;
        worker.stop().await.unwrap();
        // One row a job: the second insert of the same key would have failed.
        assert_eq!(count(&eye, "SELECT count(*) FROM rate_bucket").await, 150);
        assert_eq!(count(&eye, "SELECT count(*) FROM jobs WHERE state = 'dead'").await, 0);
    })
    .await;
}

/// As a restart of the server does.
async fn cut_connections(db: &PgPool) {
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .execute(db)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_from_another_process_reaches_the_workers_of_this_one() {
    with_database(|db| async move {
        let stop = CancellationToken::new();
        let elsewhere = Wake::default();
        let tasks = elsewhere.start(&db, false, &stop);
        let mut listener = PgListener::connect_with(&db).await.unwrap();
        listener.listen("jobs").await.unwrap();
        for _ in 0..50 {
            elsewhere.signal(Lane::Upkeep);
        }
        let heard = tokio::time::timeout(Duration::from_secs(10), listener.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(heard.payload(), "8");
        stop.cancel();
        join_all(tasks).await;
        // Everything sent is in the connection by now: fifty signals became two notifications at most.
        sqlx::query("SELECT pg_notify('jobs', 'end')")
            .execute(&db)
            .await
            .unwrap();
        let mut more = 0;
        while listener.recv().await.unwrap().payload() != "end" {
            more += 1;
        }
        assert!(more <= 1, "{more}");
    })
    .await;
}
