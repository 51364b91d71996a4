//! Worker processes over a database with jobs that count their effects.

use std::{process::ExitStatus, time::Duration};

use drop_common::queue::{self, EnqueueOptions, Enqueued, Job, JobId};
use drop_tests::{
    database::TestDatabase,
    effects::{self, Effect, Way},
    processes::Node,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use crate::database::guarded;

/// What the connections of the worker processes are called in `pg_stat_activity`.
pub(super) const WORKERS: &str = "drop-node";
/// Longer than a lease, a sweep and a few retries, and than a silent connection is waited for, also on a busy machine.
const SETTLED: Duration = Duration::from_mins(1);

/// A database of its own, whose leases last 2 s, and the way to it for processes.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) db: PgPool,
    pub(super) url: String,
}

impl Scene {
    /// Makes what the workers need in a migrated database.
    pub(super) async fn over(db: &PgPool, url: &str) -> Self {
        effects::create_table(db).await.unwrap();
        sqlx::query("UPDATE lanes SET lease = '2 s'").execute(db).await.unwrap();
        let mut named = reqwest::Url::parse(url).unwrap();
        named.query_pairs_mut().append_pair("application_name", WORKERS);
        Self {
            db: db.clone(),
            url: named.into(),
        }
    }

    pub(super) fn worker(&self) -> Node {
        self.worker_with(&[])
    }

    pub(super) fn worker_with(&self, variables: &[(&str, &str)]) -> Node {
        let own = [("DATABASE_URL", self.url.as_str())];
        Node::start(env!("CARGO_BIN_EXE_drop-node"), "queue", &[&own, variables].concat())
    }

    /// A worker that reaches the database by another way.
    pub(super) fn worker_over(&self, url: &str) -> Node {
        self.worker_with(&[("DATABASE_URL", url)])
    }

    /// Adds a job that a dead worker has left behind.
    pub(super) async fn abandoned(&self) -> JobId {
        sqlx::query_scalar(
            "INSERT INTO jobs (kind, lane, payload, max_attempts, state, attempt, owner, claimed_at, lease_until)
             VALUES ($1, $2, '{\"way\": \"Together\"}', 50, 'running', 1, gen_random_uuid(), now(), now() - interval '1 s')
             RETURNING id",
        )
        .bind(Effect::KIND)
        .bind(Effect::LANE.id())
        .fetch_one(&self.db)
        .await
        .unwrap()
    }

    pub(super) async fn add(&self, way: Way) -> JobId {
        let enqueued = queue::enqueue_alone(&self.db, &Effect { way }, EnqueueOptions::default()).await;
        match enqueued.unwrap() {
            Enqueued::New(job) => job,
            Enqueued::Existing => unreachable!("these jobs have no key"),
        }
    }

    /// Adds jobs of all ways that need no fault of their own; one in ten takes so long that its lease is renewed.
    pub(super) async fn load(&self, jobs: usize) {
        let mut tx = self.db.begin().await.unwrap();
        for number in 0..jobs {
            let way = match number % 10 {
                0 => Way::After(Duration::from_millis(1_200)),
                1 | 2 => Way::OutcomeLater,
                _ => Way::Together,
            };
            queue::enqueue(&mut tx, &Effect { way }).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// Keeps everybody from writing into a table until it is closed.
    pub(super) async fn hold(&self, table: &'static str) -> PgConnection {
        let mut held = PgConnection::connect(&self.url).await.unwrap();
        let lock = AssertSqlSafe(format!("BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE"));
        sqlx::raw_sql(lock).execute(&mut held).await.unwrap();
        held
    }

    /// Keeps adding jobs until the worker, which is to fail, has ended.
    pub(super) async fn load_until_ended(&self, failing: &mut Node) -> ExitStatus {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        for _ in 0..100 {
            ticks.tick().await;
            if !failing.is_running() {
                break;
            }
            self.load(10).await;
        }
        failing.ended().await
    }

    /// Polls a query until it says yes; fails the test, rather than hangs, when it never does.
    pub(super) async fn until(&self, yes: &'static str) {
        let poll = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            while !sqlx::query_scalar(yes).fetch_one(&self.db).await.unwrap_or(false) {
                ticks.tick().await;
            }
        };
        if tokio::time::timeout(SETTLED, poll).await.is_err() {
            let jobs: Vec<(String, i32, Option<String>, i64)> = sqlx::query_as(
                "SELECT state, attempt, last_error, count(*) FROM jobs GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
            )
            .fetch_all(&self.db)
            .await
            .unwrap();
            panic!("never true: {yes}\nstate, attempt, error, jobs: {jobs:#?}");
        }
    }

    /// Waits until all jobs are done, and counts their effects.
    pub(super) async fn every_job_has_its_effect(&self) {
        self.until("SELECT NOT EXISTS (SELECT FROM jobs WHERE state <> 'done')")
            .await;
        for (what, wrong) in [
            (
                "jobs with another number of effects than one",
                "SELECT count(*) FROM jobs j WHERE payload ->> 'way' <> 'OutcomeLater'
                    AND (SELECT count(*) FROM effects WHERE job = j.id) <> 1",
            ),
            (
                "effects of another attempt than the recorded one",
                "SELECT count(*) FROM jobs j JOIN effects e ON e.job = j.id
                  WHERE payload ->> 'way' <> 'OutcomeLater' AND e.attempt <> j.attempt",
            ),
            (
                "jobs with more effects than claims that ended, each in its failure or in the one outcome",
                "SELECT count(*) FROM jobs j WHERE (SELECT count(*) FROM effects WHERE job = j.id)
                    > 1 + (SELECT count(*) FROM job_attempts WHERE job_id = j.id)",
            ),
            (
                "effects that came after the job was somebody else's",
                "SELECT count(*) FROM jobs j JOIN effects e ON e.job = j.id WHERE e.attempt < j.attempt AND e.at > j.claimed_at",
            ),
            (
                "jobs without an effect",
                "SELECT count(*) FROM jobs j WHERE NOT EXISTS (SELECT FROM effects WHERE job = j.id)",
            ),
            (
                "effects without a job",
                "SELECT count(*) FROM effects e WHERE NOT EXISTS (SELECT FROM jobs WHERE id = e.job)",
            ),
        ] {
            assert_eq!(self.count(wrong).await, 0, "{what}");
        }
        assert!(self.count("SELECT count(*) FROM jobs").await > 0, "there were jobs");
    }

    pub(super) async fn count(&self, sql: &'static str) -> i64 {
        crate::jobs::count(&self.db, sql).await
    }

    /// How many claims were taken back because their worker no longer renewed them.
    pub(super) async fn lost_leases(&self) -> i64 {
        self.count("SELECT count(*) FROM job_attempts WHERE error = 'lease expired'")
            .await
    }
}

/// Runs the test over a scene of its own.
pub(super) async fn with_scene<T: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Scene) -> T) {
    let database = TestDatabase::new().await;
    let scene = Scene::over(&database.pool, &database.url()).await;
    let result = guarded(test(scene)).await;
    database.remove().await;
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Drains workers that must still be there.
pub(super) async fn stop(workers: impl IntoIterator<Item = Node>) {
    for mut worker in workers {
        assert!(worker.is_running(), "a worker died: {:?}", worker.ended().await);
        worker.signal("TERM");
        let ended = worker.ended().await;
        assert!(ended.success(), "a worker did not drain: {ended:?}");
    }
}
