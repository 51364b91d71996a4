//! The payment that a callback names, and whether it may.

use super::super::{StorageError, Tx};
use crate::domain::ids::{PaymentId, UserId};
use crate::keyring::sha256;

/// A payment that somebody came back with.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    pub id: PaymentId,
    pub owner: UserId,
    /// They hold the state that went to the bank with it.
    pub proven: bool,
}

/// By our id and the state of the redirect address. From here on the transaction is about its owner.
pub async fn by_state(tx: &mut Tx, id: PaymentId, state: &str) -> Result<Option<Named>, StorageError> {
    let named = sqlx::query!(
        "SELECT set_config('app.user_id', owner::text, true) FROM owner_of_payment($1) AS owner WHERE owner IS NOT NULL",
        id.uuid()
    );
    if named.fetch_optional(&mut **tx).await?.is_none() {
        return Ok(None);
    }
    let state_hash = sha256(state.as_bytes());
    Ok(sqlx::query_as!(
        Named,
        r#"SELECT id AS "id: PaymentId", user_id AS "owner: UserId", callback_state_hash = $2 AS "proven!"
             FROM transactions WHERE id = $1"#,
        id.uuid(),
        state_hash.as_slice()
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// By the bank's id, which proves nothing. From here on the transaction is about its owner.
pub async fn by_bank(tx: &mut Tx, payment_id: &str) -> Result<Option<Named>, StorageError> {
    let named = sqlx::query!(
        "SELECT set_config('app.user_id', owner::text, true) FROM owner_of_payment_at_bank($1) AS owner
          WHERE owner IS NOT NULL",
        payment_id
    );
    if named.fetch_optional(&mut **tx).await?.is_none() {
        return Ok(None);
    }
    Ok(sqlx::query_as!(
        Named,
        r#"SELECT id AS "id: PaymentId", user_id AS "owner: UserId", false AS "proven!"
             FROM transactions WHERE payment_id = $1"#,
        payment_id
    )
    .fetch_optional(&mut **tx)
    .await?)
}
