//! Whether work waits too long, and which providers are not being called.

use sqlx::PgExecutor;

use super::StorageError;

/// What is wrong at the moment.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// A lane's oldest job waits longer than the lane allows.
    pub queue_is_late: bool,
    /// A circuit is open: logins.
    pub bankid_is_cut_off: bool,
    /// A circuit is open: payments.
    pub payments_are_cut_off: bool,
    /// A circuit is open: balances.
    pub balances_are_cut_off: bool,
    /// A circuit is open: identity checks.
    pub kyc_is_cut_off: bool,
}

/// Reads it.
pub async fn read(db: impl PgExecutor<'_>) -> Result<Reading, StorageError> {
    Ok(sqlx::query_as!(
        Reading,
        r#"SELECT EXISTS (SELECT FROM lanes l CROSS JOIN LATERAL (
                            SELECT min(run_at) AS oldest FROM jobs WHERE lane = l.lane AND state = 'ready') j
                           WHERE j.oldest < now() - l.max_ready_age) AS "queue_is_late!",
                  coalesce(bool_or(open) FILTER (WHERE key LIKE 'bankid/%'), false) AS "bankid_is_cut_off!",
                  coalesce(bool_or(open) FILTER (WHERE key = 'neonomics/pisp'), false) AS "payments_are_cut_off!",
                  coalesce(bool_or(open) FILTER (WHERE key = 'neonomics/aisp'), false) AS "balances_are_cut_off!",
                  coalesce(bool_or(open) FILTER (WHERE key LIKE 'sumsub/%'), false) AS "kyc_is_cut_off!"
             FROM breaker"#
    )
    .fetch_one(db)
    .await?)
}
