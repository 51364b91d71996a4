//! When not to add work: a circuit that is open, or a lane that is throttled by its provider or whose oldest job has waited
//! too long.

use std::time::Duration;

use sqlx::PgExecutor;

use super::{Lane, enqueue::millis};
use crate::storage::StorageError;

/// When to ask again for what a closed lane would do, in seconds: a person opens it.
pub(crate) const CLOSED_RETRY: u32 = 60;

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

/// Asks in the request's own transaction (`&mut *tx`), and is never cached. Lanes without a limit are never overloaded: webhook
/// events are not shed. A payment asks the same in its own statement: [`Admission::of`].
pub async fn admit(db: impl PgExecutor<'_>, lane: Lane) -> Result<Admission, StorageError> {
    let row = sqlx::query!(
        "SELECT circuit_open, overloaded FROM lane_admission($1, $2)",
        lane.id(),
        CLOSED_RETRY.cast_signed()
    )
    .fetch_one(db)
    .await?;
    Ok(Admission::of(row.circuit_open, row.overloaded))
}

impl Admission {
    /// By what `lane_admission` says of the lane.
    pub(crate) fn of(circuit_open: Option<i32>, overloaded: Option<i32>) -> Self {
        let seconds = |seconds: i32| u32::try_from(seconds).unwrap_or(1);
        match (circuit_open.map(seconds), overloaded.map(seconds)) {
            (Some(retry_after), _) => Self::CircuitOpen { retry_after },
            (None, Some(retry_after)) => Self::Overloaded { retry_after },
            (None, None) => Self::Admitted,
        }
    }
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
