//! Telling that a row has changed that a request may be waiting for. Only a hint: who waits reads the row on a timer too.

use sqlx::PgExecutor;
use uuid::Uuid;

use super::StorageError;

/// The channel on which the id of a changed row is notified.
pub const CHANNEL: &str = "row";

/// Tells it. After the commit, and not in its transaction: a notification takes a lock on the whole database there. It is a
/// transaction that writes nothing, so it does not wait for the disk, as a commit with a notification otherwise would.
pub async fn tell(db: impl PgExecutor<'_>, row: Uuid) -> Result<(), StorageError> {
    sqlx::query!(
        "SELECT set_config('synchronous_commit', 'off', true) AS not_durable, pg_notify($1, $2) AS sent",
        CHANNEL,
        row.to_string()
    )
    .fetch_one(db)
    .await?;
    Ok(())
}
