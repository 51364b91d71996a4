//! When not to add work: a lane that is throttled by its provider, or whose oldest job has waited too long.

use std::time::Duration;

use sqlx::PgExecutor;

use super::{Lane, enqueue::millis};
use crate::storage::StorageError;

/// Whether the API should refuse new work for the lane (503 `overloaded`), and the `Retry-After` in whole seconds.
/// Lanes without a limit are never overloaded: webhook events are not shed. Reads one row, however many wait: every
/// payment asks.
pub async fn overloaded(db: impl PgExecutor<'_>, lane: Lane) -> Result<Option<u32>, StorageError> {
    let seconds = sqlx::query_scalar!(
        r#"SELECT greatest(1, ceil(extract(epoch FROM greatest(
                    throttled_until - clock_timestamp(), clock_timestamp() - oldest.run_at - max_ready_age))))::int AS "seconds!"
             FROM lanes l CROSS JOIN LATERAL (SELECT min(run_at) AS run_at FROM jobs WHERE lane = l.lane AND state = 'ready') oldest
            WHERE lane = $1
              AND (throttled_until > clock_timestamp() OR oldest.run_at < clock_timestamp() - l.max_ready_age)"#,
        lane.id(),
    )
    .fetch_optional(db)
    .await?;
    Ok(seconds.map(|seconds| u32::try_from(seconds).unwrap_or(1)))
}

/// The provider asked for a pause (429): nothing of the lane is claimed for this long. A longer pause stays.
pub async fn throttle(db: impl PgExecutor<'_>, lane: Lane, pause: Duration) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE lanes SET throttled_until = greatest(throttled_until, clock_timestamp() + $2::bigint * interval '1 ms') WHERE lane = $1",
        lane.id(),
        millis(pause),
    )
    .execute(db)
    .await?;
    Ok(())
}
