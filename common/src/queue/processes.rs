//! The processes that run jobs, as each tells it of itself, and keeping one from claiming more.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgExecutor, PgPool, types::Json};
use uuid::Uuid;

use crate::storage::{StorageError, Tx};

/// How a process serves a lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// How many jobs it may run at once.
    pub slots: i64,
    /// How many it runs.
    pub running: i64,
    /// How often the lane's worker ended, which it should not, and was built anew.
    pub restarts: i64,
}

/// The lanes of a process, by name: a process of another release may have others.
pub type Loads = BTreeMap<String, Load>;

/// A process that runs jobs, or waits for some.
#[derive(Debug, Serialize)]
pub struct Process {
    /// Its id, made at its start: the owner of its leases.
    pub owner: Uuid,
    /// When it was first heard of; `None`: it holds leases, and has told nothing of itself.
    pub started_at: Option<DateTime<Utc>>,
    /// When it was last heard of.
    pub seen_at: Option<DateTime<Utc>>,
    /// Whether that is longer ago than it should be.
    pub is_missing: bool,
    /// What it said of its lanes.
    pub lanes: Json<Loads>,
    /// It claims nothing.
    pub is_quiet: bool,
    /// Since when it shall claim nothing.
    pub quiet_since: Option<DateTime<Utc>>,
    /// Who wanted that.
    pub quiet_by: Option<String>,
    /// Why.
    pub quiet_because: Option<String>,
    /// How many leases it holds.
    pub leases: i64,
    /// When the first of them ends.
    pub lease_until: Option<DateTime<Utc>>,
    /// Since when it has had the job that it has had longest.
    pub oldest: Option<DateTime<Utc>>,
}

/// The process is there, and is quiet or not. Whether it shall be.
pub async fn is_here(db: &PgPool, owner: Uuid, lanes: &Loads, is_quiet: bool) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"INSERT INTO workers (owner, lanes, is_quiet) VALUES ($1, $2, $3)
           ON CONFLICT (owner) DO UPDATE SET seen_at = clock_timestamp(), lanes = excluded.lanes, is_quiet = excluded.is_quiet
           RETURNING quiet_since IS NOT NULL AS "quiet!""#,
        owner,
        Json(lanes) as _,
        is_quiet,
    )
    .fetch_one(db)
    .await?)
}

/// The process has ended.
pub async fn has_left(db: &PgPool, owner: Uuid) -> Result<(), StorageError> {
    sqlx::query!("DELETE FROM workers WHERE owner = $1", owner)
        .execute(db)
        .await?;
    Ok(())
}

/// Every process, the oldest first, those among them that are known by their leases alone.
pub async fn all(db: impl PgExecutor<'_>) -> Result<Vec<Process>, StorageError> {
    Ok(sqlx::query_as!(
        Process,
        r#"SELECT coalesce(w.owner, l.owner) AS "owner!", w.started_at AS "started_at?", w.seen_at AS "seen_at?",
                  coalesce(w.seen_at < clock_timestamp() - interval '1 min', true) AS "is_missing!",
                  coalesce(w.lanes, '{}') AS "lanes!: Json<Loads>",
                  coalesce(w.is_quiet, false) AS "is_quiet!", w.quiet_since AS "quiet_since?", w.quiet_by AS "quiet_by?", w.quiet_because AS "quiet_because?",
                  coalesce(l.leases, 0) AS "leases!", l.lease_until AS "lease_until?", l.oldest AS "oldest?"
             FROM workers w
             FULL JOIN (SELECT owner, count(*) AS leases, min(lease_until) AS lease_until, min(claimed_at) AS oldest
                          FROM jobs WHERE state = 'running' GROUP BY owner) l ON l.owner = w.owner
            ORDER BY w.started_at NULLS LAST, 1 LIMIT 200"#
    )
    .fetch_all(db)
    .await?)
}

/// Keeps a process from claiming, or lets it go on. What it runs goes on. False: it is so already, or there is none.
pub async fn set_quiet(tx: &mut Tx, owner: Uuid, quiet: Option<(&str, &str)>) -> Result<bool, StorageError> {
    let (by, because) = quiet.unzip();
    let changed = sqlx::query!(
        "UPDATE workers SET quiet_since = CASE WHEN $2::text IS NOT NULL THEN clock_timestamp() END, quiet_by = $2, quiet_because = $3
          WHERE owner = $1 AND (quiet_since IS NULL) = ($2::text IS NOT NULL)",
        owner,
        by,
        because,
    )
    .execute(&mut **tx)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Forgets processes that have not been heard of for an hour. How many.
pub async fn prune(db: &PgPool) -> Result<u64, StorageError> {
    let pruned = sqlx::query!("DELETE FROM workers WHERE seen_at < clock_timestamp() - interval '1 h'")
        .execute(db)
        .await?;
    Ok(pruned.rows_affected())
}
