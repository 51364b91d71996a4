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
    payment_moves::{self, Mover, Moving},
    withdrawing::{self, Withdrawing, take},
};
use crate::{context::Context, recording};

/// Until the attempt that is under way has an outcome: there is nothing to withdraw before.
const WAIT_FOR_THE_BANKS_ID: Duration = Duration::from_secs(1);
/// After the bank could not say where a payment stands.
const AFTER_A_FAILURE: Duration = Duration::from_secs(30);
/// The audit's word for what became of the wish.
const ANSWERED: &str = "payment.cancellation_answered";

impl Handler<Context> for CancelPayment {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let ran = cancel(&ctx, &lease, &self).await;
        recording::wait_out(&lease, WAIT_FOR_THE_BANKS_ID, ran)
    }

    /// Nobody knows whether the bank was asked.
    async fn on_dead(&self, ctx: &Context, tx: &mut Tx, _error: &str) -> Result<AfterCommit, StorageError> {
        if let Some(locked) = payments::lock(tx, self.payment).await?
            && locked.payment.cancellation == Some(Cancellation::Requested)
        {
            let cancellation = became_of(&locked.payment, Some(&Withdrawal::Unknown));
            payments::set_cancellation(tx, self.payment, cancellation).await?;
            let detail = json!({ "cancellation": cancellation.as_str() });
            let (mover, user) = (Mover::job(ctx, None), locked.payment.user);
            payment_moves::audit(&mover, tx, user, self.payment, ANSWERED, detail).await?;
        }
        Ok(AfterCommit::default())
    }
}

async fn cancel(ctx: &Context, lease: &Lease, job: &CancelPayment) -> Result<Verdict, JobError> {
    failpoint!("cancel.claimed");
    let Some(payment) = payments::find(&ctx.db, job.payment).await? else {
        return Ok(Outcome::GiveUp("the payment is gone".into()).into());
    };
    let asked = match &payment.payment_id {
        Some(id) if is_wished_back(&payment) => {
            let bank = AtBank::new(ctx, lease, &payment.product, id);
            withdraw(ctx, lease, &payment, &bank).await?
        }
        Some(id) if is_given_up(&payment) => {
            let bank = AtBank::new(ctx, lease, &payment.product, id);
            match approval(ctx, &payment, &bank).await {
                Ok(now @ Some(_)) => Asked::refused(now),
                Ok(None) => Asked {
                    was_known: true,
                    ..withdraw(ctx, lease, &payment, &bank).await?
                },
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
        Some(_) | None => Asked::default(),
    };
    if matches!(asked.answer, Some(Withdrawal::NotAsked)) {
        return recording::record(lease, || wait(ctx, lease, &payment, asked.intent)).await;
    }
    failpoint!("cancel.withdrawn");
    let recorded = recording::record(lease, || write(ctx, lease, &payment, &asked)).await?;
    failpoint!("cancel.recorded");
    // Its next word makes it final, or tells that it was too late.
    hasten(&ctx.db, PollPayment::KIND, &payment.id.to_string()).await?;
    ctx.wake.signal(Lane::PaymentPoll);
    Ok(recorded)
}

/// Its person waits for an answer, and there is something to take back.
fn is_wished_back(payment: &Payment) -> bool {
    payment.cancellation == Some(Cancellation::Requested)
        && (payment.state.is_processing() || payment.state.is_timed_out())
}

/// The time for approval is over, and nobody has come back from the bank.
fn is_given_up(payment: &Payment) -> bool {
    payment.state.is_timed_out() && payment.callback_at.is_none()
}

/// What the bank was asked, and what it said.
#[derive(Default)]
struct Asked {
    /// Written before the withdrawal left.
    intent: Option<Withdrawing>,
    answer: Option<Withdrawal>,
    /// It had just said how the payment is doing.
    was_known: bool,
}

impl Asked {
    /// Nothing but how it is doing, and it has accepted the payment.
    fn refused(now: Option<String>) -> Self {
        Self {
            answer: Some(Withdrawal::Refused { now }),
            ..Self::default()
        }
    }
}

/// Asks the bank to withdraw it, once that is committed. Not where its person came back, or the bank spoke its last word, since
/// the payment was read.
async fn withdraw(ctx: &Context, lease: &Lease, payment: &Payment, bank: &AtBank<'_>) -> Result<Asked, JobError> {
    let mut moving = Moving::begin(ctx, lease, payment.id).await?;
    if !is_wished_back(&moving.payment) && !is_given_up(&moving.payment) {
        return Ok(Asked::default());
    }
    if moving.circuit_is_open().await?.is_some() {
        return Ok(Asked {
            answer: Some(Withdrawal::NotAsked),
            ..Asked::default()
        });
    }
    let intent = Withdrawing::commit(ctx, lease, moving).await?;
    failpoint!("cancel.withdrawing");
    Ok(Asked {
        intent: Some(intent),
        answer: Some(intent.understood(bank.withdraw().await)),
        ..Asked::default()
    })
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

/// The circuit is open: nothing has left.
async fn wait(
    ctx: &Context,
    lease: &Lease,
    payment: &Payment,
    intent: Option<Withdrawing>,
) -> Result<Verdict, JobError> {
    let mut moving = Moving::begin(ctx, lease, payment.id).await?;
    if let Some(intent) = intent {
        intent.answered(&mut moving, &Withdrawal::NotAsked).await?;
    }
    moving.finish(Outcome::Wait(backoff::jittered(AFTER_A_FAILURE))).await
}

/// What the bank did, written to the payment as it is now.
async fn write(ctx: &Context, lease: &Lease, payment: &Payment, asked: &Asked) -> Result<Verdict, JobError> {
    let mut moving = Moving::begin(ctx, lease, payment.id).await?;
    let is_doubtful = asked.was_known || moving.payment.version != payment.version;
    let withdrawal = match &asked.answer {
        Some(answer) => Some(withdrawing::weighed(&mut moving, answer, is_doubtful).await?),
        None => None,
    };
    if let (Some(intent), Some(withdrawal)) = (asked.intent, &withdrawal) {
        intent.answered(&mut moving, withdrawal).await?;
    }
    match &withdrawal {
        Some(Withdrawal::Done) => {
            payments::withdrawn(&mut moving.tx, payment.id).await?;
            moving.reload().await?;
            moving.apply(moving.payment.state.on_withdrawn()).await?;
        }
        Some(Withdrawal::Refused { now: Some(code) }) => take(&mut moving, code).await?,
        Some(
            Withdrawal::Refused { now: None }
            | Withdrawal::Gone
            | Withdrawal::Forgotten
            | Withdrawal::NotTaken
            | Withdrawal::Unknown
            | Withdrawal::NotAsked,
        )
        | None => {}
    }
    let cancellation = became_of(&moving.payment, withdrawal.as_ref());
    if moving.payment.cancellation == Some(Cancellation::Requested) {
        payments::set_cancellation(&mut moving.tx, payment.id, cancellation).await?;
        moving.reload().await?;
    }
    let detail = json!({ "cancellation": cancellation.as_str() });
    moving.audit(ANSWERED, detail).await?;
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
                Withdrawal::Done
                | Withdrawal::Gone
                | Withdrawal::Forgotten
                | Withdrawal::NotTaken
                | Withdrawal::Unknown
                | Withdrawal::NotAsked,
            ),
        )
        | (PaymentStatus::Processing, None) => Cancellation::Unconfirmed,
    }
}
