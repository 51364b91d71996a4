//! When not to add work: a circuit that is open, or a lane that is throttled by its provider or whose oldest job has waited
//! too long.

use std::time::Duration;

use sqlx::PgExecutor;

use super::{Lane, enqueue::millis};
use crate::storage::StorageError;

/// When to ask again for what a closed lane would do, in seconds: a person opens it.
pub const CLOSED_RETRY: u32 = 60;

/// Whether the API may take on new work for a lane, and when to ask again, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Go on.
    Admitted,
    /// The provider is not called at present (502 `circuit_open`).
    CircuitOpen {
        /// Seconds until a probe may decide.
        retry_after: u32,
    },
    /// The provider asked for a pause, the oldest job has waited too long, or the lane is closed (503 `overloaded`).
    Overloaded {
        /// Seconds of the pause, or by how much it has.
        retry_after: u32,
    },
}

/// Asks in the request's own transaction (`&mut *tx`), and is never cached. Of a half-open circuit it refuses where a job
/// waits to probe; only one that would be claimed as the probe counts, or nobody would be. Lanes without a limit are never
/// overloaded: webhook events are not shed. Reads one job of a lane, however many wait: every payment asks.
pub async fn admit(db: impl PgExecutor<'_>, lane: Lane) -> Result<Admission, StorageError> {
    let row = sqlx::query!(
        r#"SELECT CASE WHEN b.open AND (b.retry_at > clock_timestamp() OR b.probe_until > clock_timestamp()
                         OR EXISTS (SELECT FROM lanes p CROSS JOIN LATERAL (
                                       SELECT FROM jobs WHERE lane = p.lane AND state = 'ready' AND run_at <= now()
                                        ORDER BY run_at, id LIMIT 1) j
                                     WHERE p.breaker_key = b.key AND p.probe_rank IS NOT NULL AND NOT p.paused
                                       AND coalesce(p.throttled_until <= now(), true)))
                       THEN greatest(1, ceil(extract(epoch FROM greatest(b.retry_at, b.probe_until) - clock_timestamp())))::int
                   END AS circuit_open,
                  CASE WHEN l.closed_at IS NOT NULL THEN $2
                       WHEN l.throttled_until > clock_timestamp() OR oldest.run_at < clock_timestamp() - l.max_ready_age
                       THEN greatest(1, ceil(extract(epoch FROM greatest(
                              l.throttled_until - clock_timestamp(), clock_timestamp() - oldest.run_at - l.max_ready_age))))::int
                   END AS overloaded
             FROM lanes l LEFT JOIN breaker b ON b.key = l.breaker_key
             CROSS JOIN LATERAL (SELECT min(run_at) AS run_at FROM jobs WHERE lane = l.lane AND state = 'ready') oldest
            WHERE l.lane = $1"#,
        lane.id(),
        CLOSED_RETRY.cast_signed(),
    )
    .fetch_one(db)
    .await?;
    let seconds = |seconds: i32| u32::try_from(seconds).unwrap_or(1);
    Ok(match (row.circuit_open.map(seconds), row.overloaded.map(seconds)) {
        (Some(retry_after), _) => Admission::CircuitOpen { retry_after },
        (None, Some(retry_after)) => Admission::Overloaded { retry_after },
        (None, None) => Admission::Admitted,
    })
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
