//! The breakers as people see and set them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgExecutor;

use crate::storage::{StorageError, Tx};

/// A breaker with all that decides about it.
#[derive(Debug, Serialize)]
pub struct Standing {
    /// Which one, banks' own among them.
    pub key: String,
    /// Calls are refused, except for the one probe.
    pub open: bool,
    /// Since when, through failed probes.
    pub opened_at: Option<DateTime<Utc>>,
    /// From when on a probe may go out.
    pub retry_at: Option<DateTime<Utc>>,
    /// A probe is under way.
    pub probing: bool,
    /// When it last closed.
    pub closed_at: Option<DateTime<Utc>>,
    /// Failures within the window, of which the threshold opens it.
    pub failures: i32,
    /// How many open it.
    pub threshold: i32,
    /// Seconds within which that many must fall.
    pub window_seconds: f64,
    /// Seconds that it is open before a probe.
    pub open_seconds: f64,
}

/// Locks a breaker, so that it stays as it is read until the end of the transaction.
pub async fn lock(tx: &mut Tx, key: &str) -> Result<(), StorageError> {
    sqlx::query!("SELECT key FROM breaker WHERE key = $1 FOR UPDATE", key)
        .fetch_optional(&mut **tx)
        .await?;
    Ok(())
}

/// Every breaker, banks' own among them.
pub async fn standings(db: impl PgExecutor<'_>) -> Result<Vec<Standing>, StorageError> {
    Ok(sqlx::query_as!(
        Standing,
        r#"SELECT key, open, opened_at, retry_at, coalesce(probe_until > clock_timestamp(), false) AS "probing!", closed_at,
                  (SELECT count(*) FROM unnest(fails) failed WHERE failed > clock_timestamp() - fail_window)::int AS "failures!",
                  threshold, extract(epoch FROM fail_window)::float8 AS "window_seconds!", extract(epoch FROM open_for)::float8 AS "open_seconds!"
             FROM breaker ORDER BY key LIMIT 200"#
    )
    .fetch_all(db)
    .await?)
}

/// An opening or closing.
#[derive(Debug, Serialize)]
pub struct Transition {
    /// Of which breaker.
    pub key: String,
    /// `open`, `still_open` after a failed probe, `closed`, or `reset` where an operator made it forget failures.
    pub became: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// The newest transitions of all of them, or of one.
pub async fn transitions(
    db: impl PgExecutor<'_>,
    key: Option<&str>,
    limit: i64,
) -> Result<Vec<Transition>, StorageError> {
    Ok(sqlx::query_as!(
        Transition,
        "SELECT key, became, at FROM breaker_transitions WHERE $1::text IS NULL OR key = $1 ORDER BY id DESC LIMIT $2",
        key,
        limit,
    )
    .fetch_all(db)
    .await?)
}

/// Opens a breaker by hand, or closes it and makes it forget its failures. False: it is so already, or there is none.
pub async fn set(tx: &mut Tx, key: &str, open: bool) -> Result<bool, StorageError> {
    let set = sqlx::query!(r#"SELECT epoch AS "epoch" FROM breaker_set($1, $2)"#, key, open)
        .fetch_optional(&mut **tx)
        .await?;
    Ok(set.is_some())
}

/// Forgets transitions of more than 90 days ago. How many.
pub async fn prune(db: impl PgExecutor<'_>) -> Result<u64, StorageError> {
    let pruned = sqlx::query!("DELETE FROM breaker_transitions WHERE at < clock_timestamp() - interval '90 days'")
        .execute(db)
        .await?;
    Ok(pruned.rows_affected())
}
