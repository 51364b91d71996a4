//! The return from the bank. It proves nothing: only a status read from the bank moves the payment.

use drop_common::{
    domain::ids::PaymentId,
    queue::{self, Job, Lane, payloads::PollPayment},
    storage::payments,
};
use poem_openapi::payload::Json;

use super::Transaction;
use crate::{
    error::{ApiError, Code},
    state::State,
};

pub(super) async fn finish(
    state: &State,
    transaction: Option<&str>,
    secret: Option<&str>,
) -> Result<Json<Transaction>, ApiError> {
    let unknown = || ApiError::of(Code::NotFound);
    let id: PaymentId = transaction.and_then(|id| id.parse().ok()).ok_or_else(unknown)?;
    let mut tx = state.db.begin().await?;
    payments::callback_of_state(&mut tx, id, secret.unwrap_or_default())
        .await?
        .ok_or_else(unknown)?;
    queue::hasten(&mut *tx, PollPayment::KIND, &id.to_string()).await?;
    tx.commit().await?;
    state.wake.signal(Lane::PaymentPoll);
    let payment = payments::find(&state.db, id).await?.ok_or_else(unknown)?;
    Ok(Json(Transaction::of(payment)?))
}
