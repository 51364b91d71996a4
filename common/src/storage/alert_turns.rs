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

/// How long each of these is somebody's yet; one that nobody has had is not among them.
pub async fn free_in(db: impl PgExecutor<'_>, turns: &[Turn]) -> Result<Vec<(Turn, Duration)>, StorageError> {
    let (alerts, causes) = columns(turns);
    let held = sqlx::query!(
        r#"SELECT alert, cause, greatest(extract(epoch FROM free_at - now()), 0)::float8 AS "seconds!"
             FROM alert_turns JOIN unnest($1::text[], $2::text[]) AS asked (alert, cause) USING (alert, cause)"#,
        &alerts,
        &causes,
    )
    .fetch_all(db)
    .await?;
    let left = |turn: &Turn| {
        let row = held.iter().find(|row| row.alert == turn.0 && row.cause == turn.1)?;
        Some((
            turn.clone(),
            Duration::try_from_secs_f64(row.seconds).unwrap_or_default(),
        ))
    };
    Ok(turns.iter().filter_map(left).collect())
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
