//! Takes a payment back because its owner asked, or because they did not approve it in time. Only what the bank took, or its own word, cancels a payment.

use std::{sync::Arc, time::Duration};

use drop_common::{
    domain::{
        bank_status::BankStatus,
        payment_status::{Cancellation, FailureReason, PaymentStatus},
    },
    failpoint,
    providers::ProviderError,
    queue::{
        AfterCommit, Handler, Job as _, JobError, Lane, Lease, Outcome, Verdict, hasten,
        payloads::{CancelPayment, PollPayment},
    },
    resilience::backoff,
    storage::{
        StorageError, Tx,
        payments::{self, Payment},
    },
};
use serde_json::json;
use tracing::warn;

use super::{
    at_bank::{AtBank, Withdrawal},
    payment_moves::Moving,
    withdrawing::{self, Withdrawing, take},
};
use crate::{context::Context, recording};

/// Until the attempt that is under way has an outcome: there is nothing to withdraw before.
const WAIT_FOR_THE_BANKS_ID: Duration = Duration::from_secs(1);
/// After the bank could not say where a payment stands.
const AFTER_A_FAILURE: Duration = Duration::from_secs(30);

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
        Some(id) if payment.cancellation == Some(Cancellation::Requested) && is_open(&payment) => {
            let bank = AtBank::new(ctx, lease, &payment.product, id);
            Some(withdraw(ctx, lease, &payment, &bank).await?)
        }
        Some(id) if payment.state.is_timed_out() && payment.callback_at.is_none() => {
            let bank = AtBank::new(ctx, lease, &payment.product, id);
            match approval(ctx, &payment, &bank).await {
                Ok(now @ Some(_)) => Some(Withdrawal::Refused { now }),
                Ok(None) => Some(withdraw(ctx, lease, &payment, &bank).await?),
                Err(error) => {
                    warn!(payment.id = %payment.id, "the bank did not say whether {} was approved: {error}", payment.id);
                    return Ok(Outcome::Again(backoff::jittered(AFTER_A_FAILURE)).into());
                }
            }
        }
        // It is being sent just now, or again soon.
        None if payment.state.is_processing() && !payment.needs_review => {
            return Ok(Outcome::Wait(WAIT_FOR_THE_BANKS_ID).into());
        }
        Some(_) | None => None,
    };
    if matches!(withdrawal, Some(Withdrawal::NotAsked)) {
        return Ok(Outcome::Wait(backoff::jittered(AFTER_A_FAILURE)).into());
    }
    failpoint!("cancel.withdrawn");
    let recorded = recording::record(lease, || write(ctx, lease, &payment, withdrawal.as_ref())).await?;
    failpoint!("cancel.recorded");
    // Its next word makes it final, or tells that it was too late.
    hasten(&ctx.db, PollPayment::KIND, &payment.id.to_string()).await?;
    ctx.wake.signal(Lane::PaymentPoll);
    Ok(recorded)
}

fn is_open(payment: &Payment) -> bool {
    payment.state.is_processing() || payment.state.is_timed_out()
}

/// Asks the bank to withdraw it, once that is committed.
async fn withdraw(ctx: &Context, lease: &Lease, payment: &Payment, bank: &AtBank<'_>) -> Result<Withdrawal, JobError> {
    let mut moving = Moving::begin(ctx, lease, payment.id).await?;
    if moving.circuit_is_open().await?.is_some() {
        return Ok(Withdrawal::NotAsked);
    }
    let withdrawing = Withdrawing::write(&mut moving).await?;
    moving.commit().await?;
    failpoint!("cancel.withdrawing");
    Ok(withdrawing.understood(bank.withdraw().await))
}

/// Nobody asked for this withdrawal: the time for approval was over while the bank could not be asked. So it is asked first,
/// for a payment that was approved meanwhile is the person's wish, and no bank must cancel it for our patience. The bank's
/// word for it, where it was.
async fn approval(ctx: &Context, payment: &Payment, bank: &AtBank<'_>) -> Result<Option<String>, ProviderError> {
    let code = bank.status().await?;
    Ok(code.filter(|code| {
        let heard = payment.state.on_bank_code(code, &ctx.provisional());
        !heard.state.is_timed_out()
    }))
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
        Some(Withdrawal::Refused { now: Some(code) }) => take(&mut moving, code).await?,
        Some(
            Withdrawal::Refused { now: None }
            | Withdrawal::Gone
            | Withdrawal::NotTaken
            | Withdrawal::Unknown
            | Withdrawal::NotAsked,
        )
        | None => {}
    }
    if let Some(withdrawal) = withdrawal {
        withdrawing::answered(&mut moving, withdrawal).await?;
    }
    let cancellation = became_of(&moving.payment, withdrawal);
    if moving.payment.cancellation == Some(Cancellation::Requested) {
        payments::set_cancellation(&mut moving.tx, payment.id, cancellation).await?;
        moving.reload().await?;
    }
    let detail = json!({ "cancellation": cancellation.as_str() });
    moving.audit("payment.cancellation_answered", detail).await?;
    failpoint!("cancel.result");
    moving.finish(Outcome::Done).await
}

/// What became of the wish. Whoever of us withdrew the order, because of the wish or because the time for approval was over:
/// the bank took it back.
fn became_of(payment: &Payment, withdrawal: Option<&Withdrawal>) -> Cancellation {
    let state = payment.state;
    let taken = matches!(withdrawal, Some(Withdrawal::Done))
        || (state.reason == Some(FailureReason::ScaTimeout) && payment.withdrawn_at.is_some())
        || state.reason == Some(FailureReason::NotSent)
        || state.bank_status == Some(BankStatus::Cancelled);
    match (state.status, withdrawal) {
        (PaymentStatus::Cancelled, _) => Cancellation::Done,
        (PaymentStatus::Failed, _) if taken => Cancellation::Done,
        (PaymentStatus::Failed | PaymentStatus::Completed, _) if state.bank_final => Cancellation::Refused,
        (PaymentStatus::Failed | PaymentStatus::Completed, None) | (_, Some(Withdrawal::Refused { .. })) => {
            Cancellation::Refused
        }
        // Nobody knows whether the bank took it, or it took what it had accepted just before: its next word tells.
        (
            _,
            Some(
                Withdrawal::Done | Withdrawal::Gone | Withdrawal::NotTaken | Withdrawal::Unknown | Withdrawal::NotAsked,
            ),
        )
        | (PaymentStatus::Processing, None) => Cancellation::Unconfirmed,
    }
}
