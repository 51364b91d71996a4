//! Payments after the database was restored to a point in time: what was written later is forgotten here, and not at the bank.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{
    super::{StorageError, Tx},
    attempts::attempts_are_ambiguous,
};
use crate::domain::ids::PaymentId;

/// An order that the bank has and that was forgotten here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgottenOrder {
    /// Its `X-Request-ID`.
    pub request_id: Uuid,
    /// The bank's id of it.
    pub payment_id: String,
}

/// Open payments of which no row says that the bank has them, whoever looks at them already: their orders may have left after the
/// moment that was restored.
pub async fn not_known_at_bank(db: &mut PgConnection) -> Result<Vec<PaymentId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT id AS "id: PaymentId" FROM transactions
            WHERE NOT bank_final AND payment_id IS NULL ORDER BY id"#
    )
    .fetch_all(db)
    .await?)
}

/// Writes down that an order of the payment may have left, which the restore has forgotten: it is neither taken back here nor
/// sent again. Nothing is known of its body.
pub async fn may_have_left_since(tx: &mut Tx, id: PaymentId) -> Result<(), StorageError> {
    attempts_are_ambiguous(tx, id).await?;
    sqlx::query!(
        "INSERT INTO payment_attempts (transaction_id, job_attempt, body_hash, outcome, finished_at)
         SELECT $1, 0, decode(repeat('00', 32), 'hex'), 'ambiguous', clock_timestamp()
          WHERE NOT EXISTS (SELECT FROM payment_attempts WHERE transaction_id = $1 AND outcome = 'ambiguous')",
        id.uuid()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes the order, unless a payment here has it already. False: one has, or it was noted before.
pub async fn note_forgotten(tx: &mut Tx, order: &ForgottenOrder) -> Result<bool, StorageError> {
    let noted = sqlx::query!(
        "INSERT INTO forgotten_orders (request_id, payment_id)
         SELECT $1, $2 WHERE NOT EXISTS (SELECT FROM transactions WHERE idempotency_key = $1)
         ON CONFLICT DO NOTHING",
        order.request_id,
        order.payment_id
    )
    .execute(&mut **tx)
    .await?;
    Ok(noted.rows_affected() == 1)
}

/// Deletes what was noted half a year ago: nobody asks under those keys any more.
pub async fn prune_forgotten(db: &PgPool) -> Result<u64, StorageError> {
    let pruned = sqlx::query!("DELETE FROM forgotten_orders WHERE noted_at < clock_timestamp() - interval '180 days'")
        .execute(db)
        .await?;
    Ok(pruned.rows_affected())
}
