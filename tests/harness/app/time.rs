//! Time, and the jobs that it brings: run by hand, waited for, or kept back in a lane.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use drop_common::{
    metrics::{Metrics, Process},
    queue,
    storage::{self, PoolOptions},
};
use sqlx::AssertSqlSafe;
use tokio::task::JoinSet;

use super::{Service, TestApp, eventually};
use crate::{cluster::Role, time};

impl TestApp {
    /// Runs what is ready, and what becomes ready meanwhile, in this task. Returns how many jobs ran.
    pub async fn run_jobs(&self) -> usize {
        self.no_worker_runs().await;
        // Made once: its clients read the machine's certificates, which takes longer than most jobs.
        let context = self.by_hand.get_or_init(|| self.worker_by_hand());
        queue::drain(&context.db, drop_worker::registry(), Arc::clone(context))
            .await
            .expect("the jobs can be run")
    }

    /// The same with several workers at once, which race for the jobs.
    pub async fn run_jobs_by(&self, workers: &[Arc<drop_worker::Context>]) {
        self.no_worker_runs().await;
        let mut racing = JoinSet::new();
        for context in workers {
            let (db, context) = (context.db.clone(), Arc::clone(context));
            racing.spawn(async move { queue::drain(&db, drop_worker::registry(), context).await });
        }
        for ran in racing.join_all().await {
            ran.expect("the jobs can be run");
        }
    }

    /// A worker that does nothing by itself, for [`TestApp::run_jobs_by`].
    pub fn worker_by_hand(&self) -> Arc<drop_worker::Context> {
        let metrics = Arc::new(Metrics::new(Process::Worker, "test", "test").expect("metrics"));
        let (settings, clock, wake) = (self.worker_settings(), self.clock.clone(), queue::Wake::default());
        let options = PoolOptions {
            max: 10,
            acquire_timeout: Duration::from_secs(20),
        };
        // Never by a lossy way: what is lost there is the running service's.
        let url = self.database.url_as(Role::Worker).into();
        let db = storage::connect_lazy(&url, options).expect("a worker's connections");
        let context = drop_worker::Context::new(settings, db, clock, metrics, wake);
        Arc::new(context.expect("a context"))
    }

    async fn no_worker_runs(&self) {
        let Service::Tasks { worker, .. } = &self.service else {
            panic!("workers of their own run them already");
        };
        assert!(worker.lock().await.is_none(), "the worker runs them already");
    }

    /// Waits, for a bounded time, until no job is ready or running, and fails if one is dead.
    pub async fn until_idle(&self) {
        let idle = async || {
            let (busy, dead): (i64, i64) = sqlx::query_as(
                "SELECT count(*) FILTER (WHERE state = 'running' OR state = 'ready' AND run_at <= now()),
                        count(*) FILTER (WHERE state = 'dead') FROM jobs",
            )
            .fetch_one(&self.db)
            .await
            .expect("the queue can be counted");
            assert_eq!(dead, 0, "dead jobs");
            busy == 0
        };
        assert!(eventually(idle).await, "the queue does not get empty");
    }

    /// Changes a lane as an operator would: `paused = true`.
    pub async fn lane(&self, name: &str, change: &'static str) {
        let changed = sqlx::query(AssertSqlSafe(format!("UPDATE lanes SET {change} WHERE name = $1")))
            .bind(name)
            .execute(&self.db)
            .await
            .expect("the lane can be changed");
        assert_eq!(changed.rows_affected(), 1, "no lane is called {name}");
    }

    /// Moves time for everything: the processes' clock, the providers' clock, and whatever is stored.
    pub async fn advance(&self, by: TimeDelta) {
        self.clock.advance(by);
        self.sandbox.clock().advance(by);
        time::pass_beside_workers(&self.db, by).await;
    }

    /// The present, as the processes have it.
    pub fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.clock.now()
    }

    /// Sets the clock of the processes, and it alone, ahead of the database's.
    pub fn misset_clock(&self, ahead: TimeDelta) {
        self.clock.advance(ahead);
    }
}
