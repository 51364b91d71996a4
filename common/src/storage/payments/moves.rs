//! The writes that move a payment.

use std::time::Duration;

use super::{
    super::{StorageError, Tx},
    Payment,
};
use crate::domain::{
    bank_status::BankStatus,
    ids::{PaymentId, UserId},
    payment_status::{FailureReason, PaymentState, PaymentStatus},
};
use crate::keyring::sha256;

/// The bank has the payment: its id, and the one link the person is ever given. Starts the SCA deadline.
pub async fn initiated(
    tx: &mut Tx,
    id: PaymentId,
    payment_id: &str,
    sca_redirect: Option<&str>,
    sca_timeout: Duration,
) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE transactions SET payment_id = $2, sca_redirect = coalesce(sca_redirect, $3), callback_state_sealed = NULL,
                sca_deadline = coalesce(sca_deadline, clock_timestamp() + make_interval(secs => $4)),
                version = version + 1, updated_at = clock_timestamp()
          WHERE id = $1 AND payment_id IS NULL",
        id.uuid(),
        payment_id,
        sca_redirect,
        sca_timeout.as_secs_f64(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Moves the payment to a state that the domain decided on; false where somebody else moved it first. A hold goes when the
/// payment ends without money having moved; after completion it goes with the next balance.
pub async fn set_state(tx: &mut Tx, payment: &Payment, state: &PaymentState) -> Result<bool, StorageError> {
    // Nothing moves any more: what was held is the person's again. After completion the next balance takes it over.
    let release = state.bank_final && matches!(state.status, PaymentStatus::Failed | PaymentStatus::Cancelled);
    let moved = sqlx::query!(
        "WITH held AS (SELECT id, account_id, hold FROM transactions WHERE id = $1 AND version = $2 FOR NO KEY UPDATE),
              freed AS (UPDATE bank_accounts a SET held = a.held - held.hold FROM held WHERE a.id = held.account_id AND $7)
         UPDATE transactions t SET status = $3, reason = $4, bank_status = $5, bank_final = $6,
                hold = CASE WHEN $7 THEN 0 ELSE t.hold END, version = t.version + 1, updated_at = clock_timestamp()
           FROM held WHERE t.id = held.id",
        payment.id.uuid(),
        payment.version,
        state.status.as_str(),
        state.reason.map(FailureReason::as_str),
        state.bank_status.map(BankStatus::as_str),
        state.bank_final,
        release,
    )
    .execute(&mut **tx)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// A person must look at this payment; it stays as it is. False: that was known before.
pub async fn needs_review(tx: &mut Tx, id: PaymentId) -> Result<bool, StorageError> {
    let marked = sqlx::query!(
        "UPDATE transactions SET needs_review = true, version = version + 1, updated_at = clock_timestamp()
          WHERE id = $1 AND NOT needs_review",
        id.uuid()
    )
    .execute(&mut **tx)
    .await?;
    Ok(marked.rows_affected() == 1)
}

/// Notes that the person came back from the bank. Found by the bank's payment id for its owner, or by our id and state.
pub async fn callback_of_owner(tx: &mut Tx, user: UserId, payment_id: &str) -> Result<Option<PaymentId>, StorageError> {
    let id = sqlx::query_scalar!(
        "UPDATE transactions SET callback_at = coalesce(callback_at, clock_timestamp()) WHERE payment_id = $1 AND user_id = $2 RETURNING id",
        payment_id,
        user.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(id.map(PaymentId::from))
}

/// As [`callback_of_owner`], for the holder of the state in the redirect address.
pub async fn callback_of_state(tx: &mut Tx, id: PaymentId, state: &str) -> Result<Option<PaymentId>, StorageError> {
    let state_hash = sha256(state.as_bytes());
    let id = sqlx::query_scalar!(
        "UPDATE transactions SET callback_at = coalesce(callback_at, clock_timestamp()) WHERE id = $1 AND callback_state_hash = $2 RETURNING id",
        id.uuid(),
        state_hash.as_slice()
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(id.map(PaymentId::from))
}
