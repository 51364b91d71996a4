//! What a bank adds to a payment's status: an approval that has to be started, an order that it changed, words of its own.

use std::time::Duration;

use super::super::{StorageError, Tx};
use crate::domain::{
    bank_order::{Authorisation, BankChange, BankOrder},
    ids::PaymentId,
};

/// How far the start of the approval is. The caller holds the row's lock.
pub async fn set_authorisation(tx: &mut Tx, id: PaymentId, to: Authorisation) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE transactions SET authorisation = $2, version = version + 1, updated_at = clock_timestamp() WHERE id = $1",
        id.uuid(),
        to.as_str()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The approval is started: its link is the one that the person is given, and the time for it begins now.
pub async fn authorised(tx: &mut Tx, id: PaymentId, link: &str, sca_timeout: Duration) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE transactions SET authorisation = 'started', sca_redirect = coalesce(sca_redirect, $2), callback_state_sealed = NULL,
                sca_deadline = clock_timestamp() + make_interval(secs => $3),
                version = version + 1, updated_at = clock_timestamp()
          WHERE id = $1",
        id.uuid(),
        link,
        sca_timeout.as_secs_f64(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What the bank will pay, and whether that is what was ordered.
pub async fn set_bank_order(
    tx: &mut Tx,
    id: PaymentId,
    order: &BankOrder,
    change: BankChange,
) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE transactions SET bank_change = $2, bank_amount = $3, bank_currency = $4, bank_execution_date = $5,
                version = version + 1, updated_at = clock_timestamp()
          WHERE id = $1",
        id.uuid(),
        change.as_str(),
        order.amount.minor,
        order.amount.currency.code(),
        order.execution_date,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whether the payment's audit holds this action with this note.
pub async fn is_noted(tx: &mut Tx, id: PaymentId, action: &str, noted: &str) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM audit_log
                           WHERE object = $1 AND action = $2 AND detail ->> 'noted' = $3) AS "noted!""#,
        id.to_string(),
        action,
        noted,
    )
    .fetch_one(&mut **tx)
    .await?)
}
