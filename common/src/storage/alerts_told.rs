//! Who tells an alert: one row for each alert's name, for all processes.

use std::time::Duration;

use sqlx::PgExecutor;

use super::StorageError;

/// Whether it is the caller's turn to tell it: nobody has for as long as `quiet`, and from now on nobody will.
pub async fn take_turn(db: impl PgExecutor<'_>, alert: &str, quiet: Duration) -> Result<bool, StorageError> {
    let taken = sqlx::query!(
        "INSERT INTO alerts_told AS told (name, told_at) VALUES ($1, now())
         ON CONFLICT (name) DO UPDATE SET told_at = excluded.told_at
          WHERE told.told_at <= now() - $2::float8 * interval '1 second'",
        alert,
        quiet.as_secs_f64()
    )
    .execute(db)
    .await?;
    Ok(taken.rows_affected() == 1)
}
