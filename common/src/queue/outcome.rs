//! What a job says about itself. It does not throw and it does not retry: the queue does, from the row.

use std::{borrow::Cow, time::Duration};

use crate::{resilience::backoff::half_jitter, storage::StorageError};

/// What should happen next with a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has done what it is for; a provider's refusal is an answer too.
    Done,
    /// It failed: run it again after this long. Uses an attempt; the last one makes it dead.
    Again(Duration),
    /// Nothing failed, it is only too early (polling, open circuit, rate limit): run it after this long. Uses none.
    Wait(Duration),
    /// It can never succeed: dead at once. The reason is stored, so it names no person and no secret.
    GiveUp(Cow<'static, str>),
}

/// Proof that an outcome is in the database: only `Lease::finish` makes one.
#[derive(Debug)]
pub struct Recorded(pub(super) &'static str);

/// What a handler hands back.
#[derive(Debug)]
pub enum Verdict {
    /// The outcome is recorded, in the transaction of the domain change.
    Recorded(Recorded),
    /// Nothing was written: the queue records this outcome.
    Outcome(Outcome),
}

impl From<Recorded> for Verdict {
    fn from(recorded: Recorded) -> Self {
        Self::Recorded(recorded)
    }
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        Self::Outcome(outcome)
    }
}

/// Why a handler could not reach a verdict.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Another worker has the job, or may have it by now. Nothing is written.
    #[error("the lease is lost")]
    LeaseLost,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Anything else. The text is stored with the job, so it names no person and no secret.
    #[error("{0}")]
    Failed(Cow<'static, str>),
}

impl From<sqlx::Error> for JobError {
    fn from(error: sqlx::Error) -> Self {
        Self::Storage(error.into())
    }
}

/// The delay after the given failed attempt, counted from 1: 1, 2, 4 … 60 s times U(0.5, 1.5).
pub(super) fn retry_delay(used: i32) -> Duration {
    let exponent = u32::try_from(used.saturating_sub(1)).unwrap_or(0);
    half_jitter(Duration::from_secs(1), exponent, Duration::from_mins(1))
}
