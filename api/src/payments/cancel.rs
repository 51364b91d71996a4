//! The wish to take a payment back. What provably never left is cancelled here and now; the rest is between worker and bank.

use std::time::Duration;

use drop_common::{
    domain::{
        ids::{PaymentId, UserId},
        payment_status::{Cancellation, PaymentStatus},
    },
    failpoint,
    metrics::PAYMENTS,
    queue::{self, Admission, EnqueueOptions, Lane, payloads::CancelPayment},
    storage::{
        Tx,
        audit::{self, Actor, Entry},
        payments::{self, Locked, Payment},
    },
};
use poem_openapi::payload::Json;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Cancelling, Transaction, location};
use crate::{
    error::{ApiError, Code},
    layers::request_id,
    prefer::Prefer,
    state::State,
};

/// How long the bank's answer is waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

pub(super) async fn cancel(state: &State, user: UserId, id: &str, prefer: Prefer) -> Result<Cancelling, ApiError> {
    let unknown = || ApiError::of(Code::NotFound);
    let id: PaymentId = id.parse().map_err(|_| unknown())?;
    let mut tx = state.begin_for(user).await?;
    let Locked { payment, .. } = payments::lock(&mut tx, id).await?.ok_or_else(unknown)?;
    if payment.user != user {
        return Err(unknown());
    }
    match payment.state.status {
        PaymentStatus::Processing => {}
        PaymentStatus::Cancelled => return Ok(Cancelling::Answered(Json(Transaction::of(payment)?))),
        PaymentStatus::Completed | PaymentStatus::Failed => return Err(ApiError::of(Code::Conflict)),
    }
    if payment.cancellation == Some(Cancellation::Requested) {
        drop(tx);
        return answer(state, user, id, prefer).await;
    }
    if payment.payment_id.is_none() && !payments::may_have_left(&mut tx, id).await? {
        take_back(&mut tx, &payment).await?;
        failpoint!("cancel.taken_back");
        tx.commit().await?;
        state.metrics.count(&PAYMENTS, &[PaymentStatus::Cancelled.as_str()]);
        state.waiters.wake(id.uuid());
        return answer(state, user, id, prefer).await;
    }
    // However long the lane's queue is: nobody is kept from stopping a payment by the payments of others.
    if let Admission::CircuitOpen { retry_after } = queue::admit(&mut *tx, Lane::PaymentPoll).await? {
        return Err(ApiError::retry_after(Code::CircuitOpen, retry_after));
    }
    payments::set_cancellation(&mut tx, id, Cancellation::Requested).await?;
    record(&mut tx, &payment, json!({})).await?;
    let request = Uuid::now_v7();
    let options = EnqueueOptions {
        request_id: Some(request_id::current()),
        ..EnqueueOptions::default()
    };
    queue::enqueue_with(&mut tx, &CancelPayment { payment: id, request }, options).await?;
    failpoint!("cancel.asked");
    tx.commit().await?;
    failpoint!("cancel.stored");
    state.wake.signal(Lane::PaymentPoll);
    answer(state, user, id, prefer).await
}

/// Under the row's lock no attempt can begin: whoever wants to send it finds it cancelled.
async fn take_back(tx: &mut Tx, payment: &Payment) -> Result<(), ApiError> {
    let taken = payment.state.on_taken_back();
    if !payments::set_state(tx, payment, &taken.state).await? {
        return Err(ApiError::of(Code::Internal));
    }
    payments::set_cancellation(tx, payment.id, Cancellation::Done).await?;
    record(
        tx,
        payment,
        json!({ "to": taken.state.status.as_str(), "bank_final": true }),
    )
    .await
}

async fn record(tx: &mut Tx, payment: &Payment, detail: Value) -> Result<(), ApiError> {
    let entry = Entry {
        actor: Actor::User,
        user: Some(payment.user),
        action: "payment.cancellation_requested",
        object: payment.id.to_string(),
        detail,
        request_id: Some(request_id::current()),
    };
    Ok(audit::record(tx, entry).await?)
}

async fn answer(state: &State, user: UserId, id: PaymentId, prefer: Prefer) -> Result<Cancelling, ApiError> {
    let deadline = Instant::now() + prefer.patience(LONGEST_WAIT);
    let answered = |payment: &Payment| payment.cancellation != Some(Cancellation::Requested);
    let read = || async {
        let payment = payments::find(&mut *state.begin_for(user).await?, id).await?;
        Ok::<_, ApiError>(payment.filter(|payment| answered(payment)))
    };
    if let Some(payment) = state.waiters.wait_until(id.uuid(), deadline, read).await? {
        return Ok(Cancelling::Answered(Json(Transaction::of(payment)?)));
    }
    let payment = payments::find(&mut *state.begin_for(user).await?, id)
        .await?
        .ok_or(ApiError::of(Code::NotFound))?;
    Ok(Cancelling::StillAsking(Json(Transaction::of(payment)?), location(id)))
}
