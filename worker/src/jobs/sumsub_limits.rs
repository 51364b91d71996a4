//! Sumsub's limits, over all workers. A call beyond them would be refused, and would hold up those of everybody for a while.

use std::time::Duration;

use drop_common::{
    queue::{Lease, Outcome},
    resilience::{
        backoff,
        limits::{self, Limit},
    },
    storage::{self, StorageError},
};
use sqlx::PgPool;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Calls {
    /// Applicants in a minute (contract 3.4).
    Applicants,
    /// Sumsub's own limit of whatever creates something.
    Posts,
    /// Sumsub's own limit of whatever reads.
    Gets,
}

impl Calls {
    const fn name(self) -> &'static str {
        match self {
            Self::Applicants => "sumsub.applicants",
            Self::Posts => "sumsub.posts",
            Self::Gets => "sumsub.gets",
        }
    }

    const fn most(self) -> (u16, Duration) {
        match self {
            Self::Applicants => (100, Duration::from_mins(1)),
            Self::Posts => (50, Duration::from_secs(5)),
            Self::Gets => (300, Duration::from_secs(5)),
        }
    }

    /// Those who wait come back one after the other.
    const fn spread(self) -> Duration {
        match self {
            Self::Applicants => Duration::from_secs(5),
            Self::Posts | Self::Gets => Duration::from_secs(1),
        }
    }
}

/// Takes one call into account that counts as each of these, or as none of them: one that does not leave takes no other's
/// place. Where it would be one too many: what to do in place of it.
pub(super) async fn instead(db: &PgPool, lease: &Lease, counts_as: &[Calls]) -> Result<Option<Outcome>, StorageError> {
    let mut tx = storage::begin(db).await?;
    for calls in counts_as {
        let (most, window) = calls.most();
        if let Limit::RetryAfter(seconds) = limits::hit(&mut tx, calls.name(), most, window).await? {
            lease.note(format!("{most} calls of {} within {window:?}", calls.name()));
            let pause = Duration::from_secs(seconds);
            return Ok(Some(Outcome::Wait(backoff::between(pause, pause + calls.spread()))));
        }
    }
    tx.commit().await?;
    Ok(None)
}
