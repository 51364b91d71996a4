//! Whether work waits too long, which providers are not being called, and whether BankID answers.

use sqlx::PgExecutor;

use super::StorageError;

/// What is wrong at the moment.
#[derive(Debug, Clone)]
pub struct Reading {
    /// A lane's oldest job waits longer than the lane allows.
    pub queue_is_late: bool,
    /// The keys of the circuits that are open.
    pub open_circuits: Vec<String>,
    /// BankID, which has no circuit: the last three logins of ten minutes for which it was asked could not reach it.
    pub bankid_is_unreachable: bool,
}

/// Reads it.
pub async fn read(db: impl PgExecutor<'_>) -> Result<Reading, StorageError> {
    Ok(sqlx::query_as!(
        Reading,
        r#"SELECT EXISTS (SELECT FROM lanes l CROSS JOIN LATERAL (
                            SELECT min(run_at) AS oldest FROM jobs WHERE lane = l.lane AND state = 'ready') j
                           WHERE j.oldest < now() - l.max_ready_age) AS "queue_is_late!",
                  ARRAY(SELECT key FROM breaker WHERE open) AS "open_circuits!",
                  (SELECT count(*) = 3 AND bool_and(bankid_unreachable)
                     FROM (SELECT bankid_unreachable FROM logins
                            WHERE bankid_unreachable IS NOT NULL AND finished_at > now() - interval '10 minutes'
                            ORDER BY finished_at DESC LIMIT 3) last) AS "bankid_is_unreachable!""#
    )
    .fetch_one(db)
    .await?)
}
