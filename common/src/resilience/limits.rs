//! Rate limits: a true sliding window per key, shared by all processes through one row.
//! A fixed window or a token bucket with the same burst lets an eleventh request of ten through.

use std::time::Duration;

use sqlx::{PgConnection, PgExecutor, PgPool, postgres::types::PgInterval};

use crate::storage::StorageError;

/// The answer to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Within the limit, and counted.
    Allowed,
    /// Over the limit and not counted; a request after this many whole seconds may pass.
    RetryAfter(u64),
}

/// Counts one request of `key` (`bankid.initiate:192.0.2.7`) against `limit` requests per `window`; in a transaction, once that
/// is committed. Neither this nor the rest of that transaction waits for the disk: a database that crashes forgets the requests
/// of its last moment, and every process counts the same all the same.
pub async fn hit(db: &mut PgConnection, key: &str, limit: u16, window: Duration) -> Result<Limit, StorageError> {
    let accepted = sqlx::query!(
        r#"INSERT INTO rate_bucket AS r (key, hits) VALUES ($1, ARRAY[clock_timestamp()])
           ON CONFLICT (key) DO UPDATE
              SET hits = (r.hits || clock_timestamp())[greatest(1, cardinality(r.hits) + 2 - $2::int):]
            WHERE cardinality(r.hits) < $2::int
               OR r.hits[cardinality(r.hits) - $2::int + 1] <= clock_timestamp() - $3::interval
           RETURNING set_config('synchronous_commit', 'off', true) AS not_durable"#,
        key,
        i32::from(limit),
        interval(window),
    )
    .fetch_optional(&mut *db)
    .await?;
    if accepted.is_some() {
        return Ok(Limit::Allowed);
    }
    Ok(Limit::RetryAfter(wait(db, key, limit, window).await?))
}

/// After how many whole seconds a request of `key` may pass that was refused.
pub(crate) async fn wait(
    db: impl PgExecutor<'_>,
    key: &str,
    limit: u16,
    window: Duration,
) -> Result<u64, StorageError> {
    let seconds = sqlx::query_scalar!(
        r#"SELECT greatest(1, ceil(extract(epoch FROM hits[greatest(1, cardinality(hits) - $2::int + 1)] + $3::interval - clock_timestamp())))::bigint
             AS "seconds!"
             FROM rate_bucket WHERE key = $1"#,
        key,
        i32::from(limit),
        interval(window),
    )
    .fetch_optional(db)
    .await?;
    Ok(seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(1))
}

/// Forgets what was counted of `key`.
pub async fn forget(db: impl PgExecutor<'_>, key: &str) -> Result<(), StorageError> {
    sqlx::query!("DELETE FROM rate_bucket WHERE key = $1", key)
        .execute(db)
        .await?;
    Ok(())
}

/// Removes the windows that nobody has used for ten minutes. One that is used just now is left to the next sweep: no request
/// waits for this, nor this for a request. Returns how many.
pub async fn sweep(db: &PgPool) -> Result<u64, StorageError> {
    let swept = sqlx::query!(
        "DELETE FROM rate_bucket WHERE key = ANY (ARRAY(
           SELECT key FROM rate_bucket WHERE hits[cardinality(hits)] < clock_timestamp() - interval '10 min'
              FOR UPDATE SKIP LOCKED))"
    )
    .execute(db)
    .await?;
    Ok(swept.rows_affected())
}

/// A duration as the database's interval, in microseconds.
pub(crate) fn interval(duration: Duration) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
    }
}
