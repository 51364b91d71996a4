//! Putting a job into the queue, in the transaction that makes it necessary: both happen or neither.

use std::time::Duration;

use serde_json::Value;
use sqlx::PgExecutor;
use uuid::Uuid;

use super::{
    Job, Lane,
    sql::{self, NewJobs},
};
use crate::storage::{StorageError, Tx};

/// The number of a row in `jobs`.
pub type JobId = i64;

/// What became of an enqueue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// A new row.
    New(JobId),
    /// The kind and key are there already, perhaps done: nothing was written. Money rests on the domain row's own
    /// unique index, because this one lasts only until the row is pruned.
    Existing,
}

/// When a job may start, until when it makes sense, and whose request caused it.
#[derive(Debug, Clone, Copy, Default)]
pub struct EnqueueOptions {
    /// Not before this long from now.
    pub delay: Duration,
    /// No use after this long from now.
    pub expires_in: Option<Duration>,
    /// The request that caused it, for the logs.
    pub request_id: Option<Uuid>,
}

impl EnqueueOptions {
    /// At once, for the request that caused this too.
    pub fn caused_by(request_id: Option<Uuid>) -> Self {
        Self {
            request_id,
            ..Self::default()
        }
    }
}

/// A job that is about to be enqueued, for a statement that does so beside what makes it necessary: by `jobs_enqueue`, with
/// these in their order.
#[derive(Debug)]
pub struct NewJob {
    pub(crate) lane: Lane,
    pub(crate) kind: &'static str,
    pub(crate) unique_key: Option<String>,
    pub(crate) payload: Value,
    pub(crate) max_attempts: i32,
    pub(crate) expires_in_ms: Option<i64>,
    pub(crate) request_id: Option<Uuid>,
    pub(crate) delay_ms: i64,
}

impl NewJob {
    /// This one, with a delay, an end or a request id.
    pub fn of<J: Job>(job: &J, options: EnqueueOptions) -> Result<Self, StorageError> {
        Ok(Self {
            lane: J::LANE,
            kind: J::KIND,
            unique_key: job.unique_key(),
            payload: serde_json::to_value(job)?,
            max_attempts: J::MAX_ATTEMPTS,
            expires_in_ms: options.expires_in.map(millis),
            request_id: options.request_id,
            delay_ms: millis(options.delay),
        })
    }

    /// Where it waits: what `Wake::signal` is called with after the commit.
    pub fn lane(&self) -> Lane {
        self.lane
    }
}

/// Enqueues a job that may start at once.
pub async fn enqueue<J: Job>(tx: &mut Tx, job: &J) -> Result<Enqueued, StorageError> {
    enqueue_with(tx, job, EnqueueOptions::default()).await
}

/// Enqueues a job with a delay, an end or a request id. Call `Wake::signal` with its lane after the commit.
pub async fn enqueue_with<J: Job>(tx: &mut Tx, job: &J, options: EnqueueOptions) -> Result<Enqueued, StorageError> {
    enqueue_alone(&mut **tx, job, options).await
}

/// Enqueues a job although one of its kind and key has ended: for whoever finds that it must be done again.
pub async fn enqueue_anew<J: Job>(tx: &mut Tx, job: &J, options: EnqueueOptions) -> Result<Enqueued, StorageError> {
    if let Some(key) = job.unique_key() {
        sql::release_key(&mut **tx, J::KIND, &key).await?;
    }
    enqueue_with(tx, job, options).await
}

/// Enqueues a job that belongs to no row: one statement, which is its own transaction on a pool or a connection.
pub async fn enqueue_alone<J: Job>(
    db: impl PgExecutor<'_>,
    job: &J,
    options: EnqueueOptions,
) -> Result<Enqueued, StorageError> {
    let id = sql::enqueue(db, NewJob::of(job, options)?).await?;
    Ok(id.map_or(Enqueued::Existing, Enqueued::New))
}

/// Enqueues many jobs of one kind in one statement, each not before its delay from now. Returns how many were new.
pub async fn enqueue_many<J: Job>(tx: &mut Tx, jobs: &[(J, Duration)]) -> Result<u64, StorageError> {
    let payloads = jobs.iter().map(|(job, _)| serde_json::to_value(job));
    let new = NewJobs {
        lane: J::LANE,
        kind: J::KIND,
        max_attempts: J::MAX_ATTEMPTS,
        unique_keys: jobs.iter().map(|(job, _)| job.unique_key()).collect(),
        payloads: payloads.collect::<Result<_, _>>()?,
        delays_ms: jobs.iter().map(|(_, delay)| millis(*delay)).collect(),
    };
    sql::enqueue_many(&mut **tx, new).await
}

/// Starts a waiting job now, because a callback came in. Returns whether one was waiting.
pub async fn hasten(db: impl PgExecutor<'_>, kind: &str, key: &str) -> Result<bool, StorageError> {
    sql::hasten(db, kind, key).await
}

/// The same for whoever may ask often: not before `spacing` has passed since the job last began. It waits for no lock, and
/// writes nothing where the job comes soon enough anyway.
pub async fn hasten_spaced(
    db: impl PgExecutor<'_>,
    kind: &str,
    key: &str,
    spacing: Duration,
) -> Result<bool, StorageError> {
    sql::hasten_spaced(db, kind, key, spacing).await
}

/// Durations cross the wire as milliseconds from now, never as a timestamp: two clocks would disagree.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
