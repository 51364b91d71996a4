//! Running jobs again, discarding dead ones, and ending the wait of others.

use clap::ValueEnum;
use drop_common::{
    queue::{
        JobId,
        look::{self, Search, Seen},
        operate,
    },
    storage::{self, StorageError, Tx},
};
use poem_openapi::Enum;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{By, Change, record, refusal};

/// At most so many are changed by one action on all that match.
pub(crate) const MOST: i64 = 1_000;
/// How many a trial takes.
pub(crate) const TRIAL: i64 = 5;

/// What is done with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobAction {
    /// A dead one runs again with all its attempts, and one that waits for its time runs now.
    Retry,
    /// A dead one is deleted with its history.
    Discard,
    /// One that waits becomes dead, with all that follows from that.
    Cancel,
}

impl JobAction {
    /// As the audit log has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Retry => "job.retried",
            Self::Discard => "job.discarded",
            Self::Cancel => "job.cancelled",
        }
    }

    /// What a job is that it cannot be done to.
    const fn else_it_is(self) -> &'static str {
        match self {
            Self::Retry => "neither dead nor waiting for its time",
            Self::Discard => "not dead, or untold",
            Self::Cancel => "not waiting",
        }
    }

    fn after(self) -> Value {
        match self {
            Self::Retry => json!({ "state": "ready" }),
            Self::Discard => Value::Null,
            Self::Cancel => json!({ "state": "ready", "expired": true }),
        }
    }

    async fn apply(self, tx: &mut Tx, id: JobId) -> Result<bool, StorageError> {
        match self {
            Self::Retry => operate::retry(tx, id).await,
            Self::Discard => operate::discard(tx, id).await,
            Self::Cancel => operate::cancel(tx, id).await,
        }
    }
}

/// All of them in one transaction, or none: a number that was mistyped changes nothing.
pub(crate) async fn change(db: &PgPool, ids: &[JobId], action: JobAction, by: &By) -> anyhow::Result<usize> {
    let mut tx = storage::begin(db).await?;
    for &id in ids {
        if !change_one(&mut tx, id, action, by).await? {
            return Err(refusal(format!("job {id} is {}", action.else_it_is())));
        }
    }
    tx.commit().await?;
    Ok(ids.len())
}

/// How many of the dead jobs that match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Enum)]
#[oai(rename_all = "lowercase")]
pub(crate) enum Share {
    /// A first few, to see what becomes of them.
    Trial,
    /// A tenth.
    Tenth,
    /// All, the thousand newest at most.
    All,
}

/// The dead jobs that match and that somebody saw, or some of them, in one transaction. Those that somebody else changed meanwhile are passed over.
pub(crate) async fn change_dead(
    db: &PgPool,
    search: &Search,
    seen: Seen,
    share: Share,
    action: JobAction,
    by: &By,
) -> anyhow::Result<usize> {
    let limit = match share {
        Share::Trial => TRIAL,
        Share::Tenth => (look::count_dead(db, search, Some(seen)).await?.jobs / 10).clamp(1, MOST),
        Share::All => MOST,
    };
    let mut tx = storage::begin(db).await?;
    let mut changed = 0;
    for id in look::dead(&mut *tx, search, seen, limit).await? {
        if change_one(&mut tx, id, action, by).await? {
            changed += 1;
        }
    }
    tx.commit().await?;
    Ok(changed)
}

async fn change_one(tx: &mut Tx, id: JobId, action: JobAction, by: &By) -> anyhow::Result<bool> {
    let before = operate::before(tx, id).await?;
    let Some(before) = before else { return Ok(false) };
    if !action.apply(tx, id).await? {
        return Ok(false);
    }
    let change = Change {
        action: action.name(),
        object: format!("job_{id}"),
        user: None,
        before: json!({ "state": before.state, "attempts": before.attempts }),
        after: action.after(),
        more: json!({ "kind": before.kind }),
    };
    record(tx, by, change).await?;
    Ok(true)
}
