//! Jobs that do what their payload says.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use drop_common::{
    queue::{self, AfterCommit, Enqueued, Handler, Job, JobError, JobId, Lane, Lease, Outcome, Registry, Verdict},
    resilience::breaker::{Breaker, BreakerKey},
    storage::{StorageError, Tx},
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::sync::Notify;

/// What happened, by job.
pub(crate) struct Bench {
    pub(crate) db: PgPool,
    pub(crate) runs: Mutex<BTreeMap<JobId, Vec<i32>>>,
    /// Signalled whenever a job starts.
    pub(crate) started: Notify,
}

impl Bench {
    pub(crate) fn new(db: &PgPool) -> Arc<Self> {
        Arc::new(Self {
            db: db.clone(),
            runs: Mutex::default(),
            started: Notify::new(),
        })
    }

    /// The attempts used at each run of the job.
    pub(crate) fn runs(&self, job: JobId) -> Vec<i32> {
        self.runs.lock().unwrap().get(&job).cloned().unwrap_or_default()
    }

    pub(crate) fn total(&self) -> usize {
        self.runs.lock().unwrap().values().map(Vec::len).sum()
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Script {
    Done,
    DoneInTransaction,
    Again,
    WaitTwice,
    GiveUp,
    GiveUpInTransaction,
    GiveUpAndPanic,
    Panic,
    PanicWithData,
    FailInDatabase,
    LoseLeaseThenFence,
    LoseLeaseThenFinish,
    LoseLeaseThenReturn,
    Take(Duration),
    /// Nothing more is claimed from its lane.
    PauseLane,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Scripted {
    pub(crate) script: Script,
}

impl Job for Scripted {
    const KIND: &'static str = "scripted";
    const LANE: Lane = Lane::Upkeep;
    const MAX_ATTEMPTS: i32 = 3;
}

impl Handler<Bench> for Scripted {
    async fn run(self, bench: Arc<Bench>, lease: Lease) -> Result<Verdict, JobError> {
        bench
            .runs
            .lock()
            .unwrap()
            .entry(lease.job())
            .or_default()
            .push(lease.attempts_used());
        bench.started.notify_one();
        match self.script {
            Script::DoneInTransaction => finish(&bench, &lease, Outcome::Done).await,
            Script::Again => Ok(Outcome::Again(Duration::ZERO).into()),
            Script::WaitTwice if lease.attempt() < 3 => Ok(Outcome::Wait(Duration::ZERO).into()),
            Script::WaitTwice | Script::Done => Ok(Outcome::Done.into()),
            Script::GiveUp | Script::GiveUpAndPanic => Ok(Outcome::GiveUp("not possible".into()).into()),
            Script::GiveUpInTransaction => finish(&bench, &lease, Outcome::GiveUp("not possible".into())).await,
            Script::Panic => panic!("a literal"),
            Script::PanicWithData => panic!("a person called {}", lease.job()),
            Script::FailInDatabase => {
                let mut tx = lease.begin(&bench.db).await?;
                sqlx::query("SELECT 'Kari Nordmann'::int").execute(&mut *tx).await?;
                Ok(lease.finish(tx, Outcome::Done).await?.into())
            }
            Script::LoseLeaseThenFence => {
                lose(&bench, &lease).await;
                let fenced = lease.begin(&bench.db).await;
                if fenced.is_ok() {
                    bench.runs.lock().unwrap().entry(lease.job()).or_default().push(-1);
                }
                drop(fenced?);
                Ok(Outcome::Done.into())
            }
            Script::LoseLeaseThenFinish => {
                lose(&bench, &lease).await;
                let mut tx = bench.db.begin().await?; // a handler that forgot the fence
                change(&mut tx, "domain").await?;
                Ok(lease.finish(tx, Outcome::Done).await?.into())
            }
            Script::LoseLeaseThenReturn => {
                lose(&bench, &lease).await;
                Ok(Outcome::Done.into())
            }
            Script::PauseLane => {
                sqlx::query("UPDATE lanes SET paused = true WHERE lane = $1")
                    .bind(lease.lane().id())
                    .execute(&bench.db)
                    .await?;
                Ok(Outcome::Done.into())
            }
            Script::Take(time) => {
                tokio::time::sleep(time).await;
                finish(&bench, &lease, Outcome::Done).await
            }
        }
    }

    async fn on_dead(&self, _: &Bench, tx: &mut Tx, error: &str) -> Result<AfterCommit, StorageError> {
        assert!(!matches!(self.script, Script::GiveUpAndPanic), "the hook panics");
        change(tx, &format!("dead: {error}")).await?;
        Ok(AfterCommit::default())
    }
}

/// Calls a provider behind a breaker, and says whether it was the probe.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) answered: bool,
}

impl Job for Call {
    const KIND: &'static str = "call";
    const LANE: Lane = Lane::PaymentSend;
}

impl Handler<Bench> for Call {
    async fn run(self, bench: Arc<Bench>, lease: Lease) -> Result<Verdict, JobError> {
        bench
            .runs
            .lock()
            .unwrap()
            .entry(lease.job())
            .or_default()
            .push(i32::from(lease.probe().is_some()));
        if let Some(probe) = lease.probe()
            && self.answered
        {
            Breaker::new(bench.db.clone())
                .close(BreakerKey::NeonomicsPisp, probe)
                .await?;
        }
        Ok(Outcome::Done.into())
    }
}

/// Somebody waits for it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Urgent {}

impl Job for Urgent {
    const KIND: &'static str = "urgent";
    const LANE: Lane = Lane::Login;
}

impl Handler<Bench> for Urgent {
    async fn run(self, _: Arc<Bench>, _: Lease) -> Result<Verdict, JobError> {
        Ok(Outcome::Done.into())
    }
}

/// Would take an hour, and is given a fifth of a second.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hurried {}

impl Job for Hurried {
    const KIND: &'static str = "hurried";
    const LANE: Lane = Lane::Upkeep;
    const MAX_ATTEMPTS: i32 = 2;
    const TIMEOUT: Duration = Duration::from_millis(200);
}

impl Handler<Bench> for Hurried {
    async fn run(self, bench: Arc<Bench>, lease: Lease) -> Result<Verdict, JobError> {
        tokio::time::sleep(Duration::from_hours(1)).await;
        finish(&bench, &lease, Outcome::Done).await
    }
}

pub(crate) fn registry() -> Registry<Bench> {
    Registry::new()
        .with::<Scripted>()
        .with::<Call>()
        .with::<Urgent>()
        .with::<Hurried>()
}

pub(crate) async fn add(db: &PgPool, script: Script) -> JobId {
    add_job(db, &Scripted { script }).await
}

pub(crate) async fn add_job<J: Job>(db: &PgPool, job: &J) -> JobId {
    let mut tx = db.begin().await.unwrap();
    let enqueued = queue::enqueue(&mut tx, job).await.unwrap();
    tx.commit().await.unwrap();
    match enqueued {
        Enqueued::New(id) => id,
        Enqueued::Existing => panic!("the job was there already"),
    }
}

/// A row as it stands: state, claims made, claims given back, last error.
pub(crate) async fn row(db: &PgPool, job: JobId) -> (String, i32, i32, Option<String>) {
    sqlx::query_as("SELECT state, attempt, unused, last_error FROM jobs WHERE id = $1")
        .bind(job)
        .fetch_one(db)
        .await
        .unwrap()
}

pub(crate) async fn count(db: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(db).await.unwrap()
}

/// Why its death could not be told to its row.
pub(crate) async fn untold(db: &PgPool, job: JobId) -> Option<String> {
    sqlx::query_scalar("SELECT untold FROM jobs WHERE id = $1")
        .bind(job)
        .fetch_one(db)
        .await
        .unwrap()
}

/// The domain changes that are committed.
pub(crate) async fn changes(db: &PgPool) -> Vec<String> {
    sqlx::query_scalar("SELECT key FROM rate_bucket ORDER BY key")
        .fetch_all(db)
        .await
        .unwrap()
}

async fn finish(bench: &Bench, lease: &Lease, outcome: Outcome) -> Result<Verdict, JobError> {
    let mut tx = lease.begin(&bench.db).await?;
    change(&mut tx, &format!("domain {}", lease.job())).await?;
    Ok(lease.finish(tx, outcome).await?.into())
}

/// Stands for any domain write.
async fn change(tx: &mut Tx, what: &str) -> Result<(), StorageError> {
    sqlx::query("INSERT INTO rate_bucket (key, hits) VALUES ($1, '{}')")
        .bind(what)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// What another worker does once the lease has run out.
async fn lose(bench: &Bench, lease: &Lease) {
    sqlx::query("UPDATE jobs SET attempt = attempt + 1, owner = gen_random_uuid() WHERE id = $1")
        .bind(lease.job())
        .execute(&bench.db)
        .await
        .unwrap();
}
