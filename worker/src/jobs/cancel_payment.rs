//! Takes a payment back because its owner asked, or because they did not approve it in time. Only what the bank took, or its own word, cancels a payment.

use std::{sync::Arc, time::Duration};

use drop_common::{
    domain::payment_status::{Cancellation, PaymentStatus},
    failpoint,
    queue::{
        AfterCommit, Handler, Job as _, JobError, Lane, Lease, Outcome, Verdict, hasten,
        payloads::{CancelPayment, PollPayment},
    },
    storage::{
        StorageError, Tx,
        payments::{self, Payment},
    },
};
use serde_json::json;

use super::{
    at_bank::{AtBank, Withdrawal},
    payment_moves::Moving,
    poll_payment::take,
};
use crate::{context::Context, recording};

/// Until the attempt that is under way has an outcome: there is nothing to withdraw before.
const WAIT_FOR_THE_BANKS_ID: Duration = Duration::from_secs(1);

impl Handler<Context> for CancelPayment {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let ran = cancel(&ctx, &lease, &self).await;
        recording::wait_out(&lease, WAIT_FOR_THE_BANKS_ID, ran)
    }

    /// Nobody knows whether the bank was asked.
    async fn on_dead(&self, _ctx: &Context, tx: &mut Tx, _error: &str) -> Result<AfterCommit, StorageError> {
        let locked = payments::lock(tx, self.payment).await?;
        if locked.is_some_and(|locked| locked.payment.cancellation == Some(Cancellation::Requested)) {
            payments::set_cancellation(tx, self.payment, Cancellation::Unconfirmed).await?;
        }
        Ok(AfterCommit::default())
    }
}

async fn cancel(ctx: &Context, lease: &Lease, job: &CancelPayment) -> Result<Verdict, JobError> {
    failpoint!("cancel.claimed");
    let Some(payment) = payments::find(&ctx.db, job.payment).await? else {
        return Ok(Outcome::GiveUp("the payment is gone".into()).into());
    };
    let withdrawal = match &payment.payment_id {
        Some(id) if payment.state.is_processing() || payment.state.is_timed_out() => {
            Some(AtBank::new(ctx, lease, &payment.product, id).withdraw().await)
        }
        // It is being sent just now, or again soon.
        None if payment.state.is_processing() && !payment.needs_review => {
            return Ok(Outcome::Wait(WAIT_FOR_THE_BANKS_ID).into());
        }
        Some(_) | None => None,
    };
    failpoint!("cancel.withdrawn");
    let recorded = recording::record(lease, || write(ctx, lease, &payment, withdrawal.as_ref())).await?;
    failpoint!("cancel.recorded");
    // Its next word makes it final, or tells that it was too late.
    hasten(&ctx.db, PollPayment::KIND, &payment.id.to_string()).await?;
    ctx.wake.signal(Lane::PaymentPoll);
    Ok(recorded)
}

/// What the bank did, written to the payment as it is now.
async fn write(
    ctx: &Context,
    lease: &Lease,
    payment: &Payment,
    withdrawal: Option<&Withdrawal>,
) -> Result<Verdict, JobError> {
    let mut moving = Moving::begin(ctx, lease, payment.id).await?;
    match withdrawal {
        Some(Withdrawal::Done) => {
            payments::withdrawn(&mut moving.tx, payment.id).await?;
            moving.reload().await?;
            moving.apply(moving.payment.state.on_withdrawn()).await?;
        }
        Some(Withdrawal::Refused { now: Some(code) }) => take(ctx, &mut moving, code).await?,
        Some(Withdrawal::Refused { now: None } | Withdrawal::Unknown) | None => {}
    }
    let cancellation = match (moving.payment.state.status, withdrawal) {
        (PaymentStatus::Cancelled, _) => Cancellation::Done,
        (PaymentStatus::Completed | PaymentStatus::Failed, _)
        | (PaymentStatus::Processing, Some(Withdrawal::Refused { .. })) => Cancellation::Refused,
        (PaymentStatus::Processing, Some(Withdrawal::Done | Withdrawal::Unknown) | None) => Cancellation::Unconfirmed,
    };
    if moving.payment.cancellation == Some(Cancellation::Requested) {
        payments::set_cancellation(&mut moving.tx, payment.id, cancellation).await?;
        moving.reload().await?;
    }
    let detail = json!({ "cancellation": cancellation.as_str() });
    moving.audit("payment.cancellation_answered", detail).await?;
    failpoint!("cancel.result");
    moving.finish(Outcome::Done).await
}
