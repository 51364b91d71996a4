//! Who tells an alert: one row for each cause of an alert, for all processes.

use std::time::Duration;

use sqlx::PgExecutor;

use super::StorageError;

/// An alert's name, and its cause.
pub type Turn = (&'static str, String);

/// Takes for `hold` each that is free. Gives those that are the caller's now.
pub async fn take(db: impl PgExecutor<'_>, wanted: &[Turn], hold: Duration) -> Result<Vec<Turn>, StorageError> {
    let (alerts, causes) = columns(wanted);
    // In one order, for others take several at once, too.
    let taken = sqlx::query!(
        "INSERT INTO alert_turns AS turn (alert, cause, free_at)
         SELECT alert, cause, now() + $3::float8 * interval '1 second'
           FROM unnest($1::text[], $2::text[]) AS wanted (alert, cause) ORDER BY alert, cause
         ON CONFLICT (alert, cause) DO UPDATE SET free_at = excluded.free_at WHERE turn.free_at <= now()
         RETURNING alert, cause",
        &alerts,
        &causes,
        hold.as_secs_f64()
    )
    .fetch_all(db)
    .await?;
    let is_taken = |turn: &&Turn| taken.iter().any(|row| row.alert == turn.0 && row.cause == turn.1);
    Ok(wanted.iter().filter(is_taken).cloned().collect())
}

/// Lets nobody have them for as long as this: for no time, where they are given back. They are the caller's.
pub async fn keep(db: impl PgExecutor<'_>, turns: &[Turn], hold: Duration) -> Result<(), StorageError> {
    let (alerts, causes) = columns(turns);
    sqlx::query!(
        "INSERT INTO alert_turns (alert, cause, free_at)
         SELECT alert, cause, now() + $3::float8 * interval '1 second'
           FROM unnest($1::text[], $2::text[]) AS mine (alert, cause) ORDER BY alert, cause
         ON CONFLICT (alert, cause) DO UPDATE SET free_at = excluded.free_at",
        &alerts,
        &causes,
        hold.as_secs_f64()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets what nobody has raised for a day.
pub async fn prune(db: impl PgExecutor<'_>) -> Result<u64, StorageError> {
    let pruned = sqlx::query!("DELETE FROM alert_turns WHERE free_at < now() - interval '1 day'")
        .execute(db)
        .await?;
    Ok(pruned.rows_affected())
}

fn columns(turns: &[Turn]) -> (Vec<String>, Vec<String>) {
    turns
        .iter()
        .map(|(alert, cause)| ((*alert).to_owned(), cause.clone()))
        .unzip()
}
