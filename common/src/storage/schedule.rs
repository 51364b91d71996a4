//! Cron slots: of many tickers, one takes a slot and enqueues its job.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};

use super::{StorageError, Tx};

/// Takes the slot; false where another ticker already has it.
pub async fn take_slot(tx: &mut Tx, name: &str, slot: DateTime<Utc>) -> Result<bool, StorageError> {
    let taken = sqlx::query!(
        "INSERT INTO cron_slots (name, slot) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        name,
        slot
    )
    .execute(&mut **tx)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Whether a ticker has the slot.
pub async fn is_taken(db: impl PgExecutor<'_>, name: &str, slot: DateTime<Utc>) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM cron_slots WHERE name = $1 AND slot = $2) AS "taken!""#,
        name,
        slot
    )
    .fetch_one(db)
    .await?)
}

/// Whether a later slot of the schedule has come, and was taken.
pub async fn is_taken_after(tx: &mut Tx, name: &str, slot: DateTime<Utc>) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM cron_slots WHERE name = $1 AND slot > $2) AS "taken!""#,
        name,
        slot
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// The last slot of each of these schedules that was taken, as a Unix time; those that never were are left out.
pub async fn last_slots(db: impl PgExecutor<'_>, names: &[&str]) -> Result<Vec<(String, f64)>, StorageError> {
    let rows = sqlx::query!(
        r#"SELECT name AS "name!", extract(epoch FROM last.slot)::float8 AS "slot!"
             FROM unnest($1::text[]) name
             CROSS JOIN LATERAL (SELECT slot FROM cron_slots WHERE cron_slots.name = name.name ORDER BY slot DESC LIMIT 1) last"#,
        names as &[&str],
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.name, row.slot)).collect())
}

/// A schedule's slots of the last day.
#[derive(Debug, Clone)]
pub struct Slots {
    pub name: String,
    /// The last that was taken.
    pub last: Option<DateTime<Utc>>,
    /// How long after its time that was.
    pub late_seconds: Option<f64>,
    /// How many were taken in the last 24 hours.
    pub taken: i64,
}

/// The slots of each of these schedules.
pub async fn slots(db: impl PgExecutor<'_>, names: &[&str]) -> Result<Vec<Slots>, StorageError> {
    Ok(sqlx::query_as!(
        Slots,
        r#"SELECT name AS "name!", last.slot AS "last?", extract(epoch FROM last.taken_at - last.slot)::float8 AS "late_seconds?",
                  (SELECT count(*) FROM cron_slots s WHERE s.name = name.name AND s.slot > clock_timestamp() - interval '24 h') AS "taken!"
             FROM unnest($1::text[]) name
             LEFT JOIN LATERAL (SELECT slot, taken_at FROM cron_slots WHERE cron_slots.name = name.name ORDER BY slot DESC LIMIT 1) last
               ON true"#,
        names as &[&str],
    )
    .fetch_all(db)
    .await?)
}

/// The database's clock, the only one that decides slots.
pub async fn now(db: &PgPool) -> Result<DateTime<Utc>, StorageError> {
    Ok(sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#)
        .fetch_one(db)
        .await?)
}

/// Forgets slots of more than a week ago: a slot is computed from the present, so they are never asked for again.
pub async fn prune(db: &PgPool) -> Result<u64, StorageError> {
    let pruned = sqlx::query!("DELETE FROM cron_slots WHERE slot < clock_timestamp() - interval '7 days'")
        .execute(db)
        .await?;
    Ok(pruned.rows_affected())
}
