//! Payments that a person looks at, and what they can do about them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    super::{StorageError, Tx},
    Payment, SEND_WITHIN,
};
use crate::domain::ids::PaymentId;

/// A payment that waits for a person, with why. Nothing of whose it is or whom it pays.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "PaymentInReview")]
pub struct InReview {
    /// Its id, prefixed.
    pub id: String,
    /// `X-Request-ID` of every attempt: by it the bank finds what it has.
    pub request_id: Uuid,
    /// What its user sees.
    pub status: String,
    /// The bank's last code.
    pub bank_status: Option<String>,
    /// The bank's id of it, if the bank is known to have it.
    pub payment_id: Option<String>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// Why somebody must look.
    pub why: Option<String>,
}

/// Those that wait, the oldest first, from behind this one; at most so many.
pub async fn in_review(db: &PgPool, after: Option<PaymentId>, limit: i64) -> Result<Vec<InReview>, StorageError> {
    let rows = sqlx::query!(
        r#"SELECT t.id AS "id: PaymentId", t.idempotency_key, t.status, t.bank_status, t.payment_id, t.created_at,
                  (SELECT a.detail ->> 'why' FROM audit_log a
                    WHERE a.object = 'tx_' || replace(t.id::text, '-', '') AND a.action = 'payment.needs_review'
                    ORDER BY a.id DESC LIMIT 1) AS why
             FROM transactions t
            WHERE t.needs_review AND NOT t.bank_final
              AND ($1::uuid IS NULL OR (t.created_at, t.id) > (SELECT last.created_at, last.id FROM transactions last WHERE last.id = $1))
            ORDER BY t.created_at, t.id LIMIT $2"#,
        after.map(PaymentId::uuid),
        limit,
    )
    .fetch_all(db)
    .await?;
    let shown = rows.into_iter().map(|row| InReview {
        id: row.id.to_string(),
        request_id: row.idempotency_key,
        status: row.status,
        bank_status: row.bank_status,
        payment_id: row.payment_id,
        created_at: row.created_at,
        why: row.why,
    });
    Ok(shown.collect())
}

/// Somebody has looked at the payment: it goes its ordinary course again, or is over.
pub async fn reviewed(tx: &mut Tx, id: PaymentId) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE transactions SET needs_review = false, version = version + 1, updated_at = clock_timestamp() WHERE id = $1",
        id.uuid()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What its user has paid or is about to pay today besides this payment, in its minor units. Locks the user, so that what
/// follows and a new payment are checked one after the other.
pub async fn paid_today_beside(tx: &mut Tx, payment: &Payment) -> Result<i64, StorageError> {
    sqlx::query!(
        "SELECT id FROM users WHERE id = $1 FOR NO KEY UPDATE",
        payment.user.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(sqlx::query_scalar!(
        r#"SELECT coalesce(sum(amount), 0)::bigint AS "paid!" FROM transactions
            WHERE user_id = $1 AND currency = $2 AND id <> $3 AND (status IN ('processing', 'completed') OR NOT bank_final)
              AND greatest(created_at, expires_at - make_interval(secs => $4))
                  >= date_trunc('day', clock_timestamp() AT TIME ZONE 'Europe/Oslo') AT TIME ZONE 'Europe/Oslo'"#,
        payment.user.uuid(),
        payment.currency,
        payment.id.uuid(),
        SEND_WITHIN.as_secs_f64(),
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// The order may leave again, within this time from now on, since the bank failed on every attempt that arrived. False where
/// an attempt may have done more than fail, where the owner wants it back, or where it is over.
pub async fn may_be_sent_again(tx: &mut Tx, id: PaymentId, within: Duration) -> Result<bool, StorageError> {
    let again = sqlx::query!(
        "UPDATE transactions t SET needs_review = false, expires_at = clock_timestamp() + make_interval(secs => $2),
                version = version + 1, updated_at = clock_timestamp()
          WHERE id = $1 AND status = 'processing' AND payment_id IS NULL AND cancellation IS NULL
            AND NOT EXISTS (SELECT FROM payment_attempts a
                             WHERE a.transaction_id = t.id AND a.outcome NOT IN ('transient', 'not_sent'))",
        id.uuid(),
        within.as_secs_f64(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(again.rows_affected() == 1)
}

/// The index by which one id of the bank's is one payment.
pub const ONE_PAYMENT_OF_AN_ID: &str = "transactions_by_payment_id";

/// The bank has the payment under this id, as somebody found out there. False where it is known under another id. There
/// is no link to hand out: the person may have approved it already, and has as long as others have from now on.
pub async fn found_at_bank(
    tx: &mut Tx,
    id: PaymentId,
    payment_id: &str,
    sca_timeout: Duration,
) -> Result<bool, StorageError> {
    let found = sqlx::query!(
        "UPDATE transactions SET payment_id = $2, callback_state_sealed = NULL, needs_review = false,
                sca_deadline = coalesce(sca_deadline, clock_timestamp() + make_interval(secs => $3)),
                version = version + 1, updated_at = clock_timestamp()
          WHERE id = $1 AND (payment_id IS NULL OR payment_id = $2)",
        id.uuid(),
        payment_id,
        sca_timeout.as_secs_f64(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(found.rows_affected() == 1)
}
