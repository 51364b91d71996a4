//! Payments that the ordinary course of jobs has left behind.

use sqlx::PgPool;

use super::super::StorageError;
use crate::domain::ids::PaymentId;

/// Open payments that no job of these kinds will move and that nobody was asked to look at, the oldest first. A fresh one
/// is left to the request and the job that are at it.
pub async fn without_next_step(db: &PgPool, kinds: &[&str], limit: i64) -> Result<Vec<PaymentId>, StorageError> {
    let kinds: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
    Ok(sqlx::query_scalar!(
        r#"SELECT t.id AS "id: PaymentId" FROM transactions t
            WHERE NOT t.bank_final AND NOT t.needs_review AND t.created_at < clock_timestamp() - interval '15 s'
              AND NOT EXISTS (SELECT FROM jobs j
                               WHERE j.kind = ANY ($1) AND j.unique_key = 'tx_' || replace(t.id::text, '-', '')
                                 AND j.state IN ('ready', 'running'))
            ORDER BY t.created_at LIMIT $2"#,
        &kinds,
        limit,
    )
    .fetch_all(db)
    .await?)
}

/// Payments whose time for approval ended some while ago, and which still wait for it: whoever looks at the bank ends
/// them within seconds, so nobody could look. One that the bank has accepted was approved, whoever has not come back.
pub async fn overdue_approvals(db: &PgPool, limit: i64) -> Result<Vec<PaymentId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT id AS "id: PaymentId" FROM transactions
            WHERE NOT bank_final AND status = 'processing' AND callback_at IS NULL
              AND (bank_status IS NULL OR bank_status IN ('RCVD', 'PDNG', 'PATC', 'ACTC'))
              AND sca_deadline < clock_timestamp() - interval '30 s'
            ORDER BY sca_deadline LIMIT $1"#,
        limit
    )
    .fetch_all(db)
    .await?)
}

/// Open payments whose approval is still to be started at the bank, and which no job of this kind will start, the oldest
/// first. A fresh one is left to the job that is at it.
pub async fn unstarted_approvals(db: &PgPool, kind: &str, limit: i64) -> Result<Vec<PaymentId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT t.id AS "id: PaymentId" FROM transactions t
            WHERE NOT t.bank_final AND t.authorisation IN ('wanted', 'starting')
              AND t.updated_at < clock_timestamp() - interval '15 s'
              AND NOT EXISTS (SELECT FROM jobs j
                               WHERE j.kind = $1 AND j.unique_key = 'tx_' || replace(t.id::text, '-', '')
                                 AND j.state IN ('ready', 'running'))
            ORDER BY t.created_at LIMIT $2"#,
        kind,
        limit,
    )
    .fetch_all(db)
    .await?)
}

/// Payments whose person waits for an answer to their wish to take them back, and which no job of this kind will give, the
/// oldest first. A fresh wish is left to the request that makes it.
pub async fn unanswered_wishes(db: &PgPool, kind: &str, limit: i64) -> Result<Vec<PaymentId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT t.id AS "id: PaymentId" FROM transactions t
            WHERE t.cancellation = 'requested' AND t.updated_at < clock_timestamp() - interval '15 s'
              AND NOT EXISTS (SELECT FROM jobs j
                               WHERE j.kind = $1 AND j.state IN ('ready', 'running')
                                 AND j.payload ->> 'payment' = t.id::text)
            ORDER BY t.updated_at LIMIT $2"#,
        kind,
        limit,
    )
    .fetch_all(db)
    .await?)
}
