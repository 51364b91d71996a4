//! A job's lease: the right to write, until its deadline.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::PgPool;
use uuid::Uuid;

use super::{
    JobError, JobId, Lane, Outcome,
    outcome::Recorded,
    record::{Ack, DeadHooks, Deaths, record},
    sql,
};
use crate::{
    failpoint,
    storage::{self, StorageError, Tx},
};

/// The claim a handler works under. Cheap to clone.
#[derive(Clone)]
pub struct Lease(Arc<Inner>);

struct Inner {
    facts: Facts,
    terms: Mutex<Terms>,
    note: Mutex<Option<Cow<'static, str>>>,
    hooks: Arc<dyn DeadHooks>,
}

/// What the claim said; it does not change.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) job: JobId,
    pub(super) attempt: i32,
    pub(super) used: i32,
    pub(super) max_attempts: i32,
    pub(super) lane: Lane,
    pub(super) request_id: Option<Uuid>,
    pub(super) epoch: Option<i64>,
    pub(super) probe: Option<Uuid>,
    pub(super) length: Duration,
}

/// Until when, by this process's own clock: taken before the claim was sent, so it ends before the database's.
#[derive(Debug, Clone, Copy)]
struct Terms {
    deadline: Instant,
    renew_at: Instant,
}

impl Lease {
    pub(super) fn new(facts: Facts, asked_at: Instant, hooks: Arc<dyn DeadHooks>) -> Self {
        let terms = Terms {
            deadline: asked_at + facts.length,
            renew_at: asked_at + facts.length / 3,
        };
        Self(Arc::new(Inner {
            facts,
            terms: Mutex::new(terms),
            note: Mutex::new(None),
            hooks,
        }))
    }

    /// Opens a domain transaction whose first statement is the fence: it holds the job's row until the commit.
    pub async fn begin(&self, db: &PgPool) -> Result<Tx, JobError> {
        let mut tx = self.begin_unfenced(db).await?;
        if !self.fence(&mut tx).await? {
            return Err(JobError::LeaseLost);
        }
        failpoint!("queue.fenced");
        Ok(tx)
    }

    /// Opens a transaction for a first statement that is the fence and a read in one, for whom a round trip is much.
    pub async fn begin_unfenced(&self, db: &PgPool) -> Result<Tx, JobError> {
        if self.has_ended() {
            return Err(JobError::LeaseLost);
        }
        failpoint!("queue.fencing");
        Ok(storage::begin(db).await?)
    }

    /// Whether the job is the caller's until the transaction ends.
    pub async fn fence(&self, tx: &mut Tx) -> Result<bool, StorageError> {
        sql::fence(tx, self.0.facts.job, self.0.facts.attempt).await
    }

    /// Records the outcome in the domain transaction, with the kind's `on_dead` if the job dies of it, and commits.
    pub async fn finish(&self, mut tx: Tx, outcome: Outcome) -> Result<Recorded, JobError> {
        let ack = self.ack(outcome, None);
        let (written, after) = record(&mut tx, &[ack], Deaths::Told(&*self.0.hooks)).await?;
        let [(_, word)] = written[..] else {
            return Err(JobError::LeaseLost); // dropping the transaction rolls it back
        };
        tx.commit().await?;
        after.say();
        failpoint!("queue.domain_committed");
        Ok(Recorded(word))
    }

    /// Says why, for the stored history: kept with the next outcome. Names no person and no secret.
    pub fn note(&self, reason: impl Into<Cow<'static, str>>) {
        *self.0.note.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.into());
    }

    /// The job's row.
    pub fn job(&self) -> JobId {
        self.0.facts.job
    }

    /// The number of this claim: with the row's id, the fence.
    pub fn attempt(&self) -> i32 {
        self.0.facts.attempt
    }

    /// The attempts used, this one included; claims that only waited do not count.
    pub fn attempts_used(&self) -> i32 {
        self.0.facts.used
    }

    /// Whether `Again` would make the job dead.
    pub fn is_last_attempt(&self) -> bool {
        self.0.facts.used >= self.0.facts.max_attempts
    }

    /// The request that caused the job.
    pub fn request_id(&self) -> Option<Uuid> {
        self.0.facts.request_id
    }

    /// The breaker's epoch at the claim, to go with a failure report.
    pub fn epoch(&self) -> Option<i64> {
        self.0.facts.epoch
    }

    /// The probe this job holds: its call decides whether the breaker closes.
    pub fn probe(&self) -> Option<Uuid> {
        self.0.facts.probe
    }

    /// The lane it was claimed from.
    pub fn lane(&self) -> Lane {
        self.0.facts.lane
    }

    /// When the lease ends by this process's clock; moves with every renewal.
    pub fn deadline(&self) -> Instant {
        self.terms().deadline
    }

    /// Whether the lease is over. Asked right before a call to a provider: past it, no call starts.
    pub fn has_ended(&self) -> bool {
        Instant::now() >= self.deadline()
    }

    pub(super) fn ack(&self, outcome: Outcome, error: Option<String>) -> Ack {
        let note = self.0.note.lock().unwrap_or_else(PoisonError::into_inner).take();
        let error = error.or_else(|| note.map(Cow::into_owned));
        Ack {
            job: self.0.facts.job,
            attempt: self.0.facts.attempt,
            outcome,
            error,
        }
    }

    pub(super) fn wants_renewal(&self, now: Instant) -> bool {
        let terms = self.terms();
        terms.renew_at <= now && now < terms.deadline
    }

    /// Another try follows soon, unless `renewed` says that this one worked.
    pub(super) fn renewal_tried(&self, now: Instant) {
        self.0.terms.lock().unwrap_or_else(PoisonError::into_inner).renew_at = now + self.0.facts.length / 9;
    }

    pub(super) fn renewed(&self, asked_at: Instant) {
        let mut terms = self.0.terms.lock().unwrap_or_else(PoisonError::into_inner);
        *terms = Terms {
            deadline: asked_at + self.0.facts.length,
            renew_at: asked_at + self.0.facts.length / 3,
        };
    }

    fn terms(&self) -> Terms {
        *self.0.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.facts.fmt(f)
    }
}
