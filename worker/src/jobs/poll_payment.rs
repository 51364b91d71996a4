//! Asks the bank how a payment is doing, until the bank's last word. Safe to run any number of times.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use drop_common::{
    domain::{
        bank_order::BankOrder,
        payment_schedule::next_poll,
        payment_status::{PaymentAlert, PaymentStatus},
    },
    failpoint,
    providers::{Class, ProviderError},
    queue::{AfterCommit, Handler, JobError, Lane, Lease, Outcome, Verdict, payloads::PollPayment, throttle},
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
    bank_change,
    initiate_payment::LONGEST_PAUSE,
    payment_moves::{self, Mover, Moving},
    withdrawing::{self, Withdrawing, take, taken_back},
};
use crate::{context::Context, recording};

/// The longest a look waits for the database, before jitter: the payment is known within the contract's five minutes.
const LONGEST_WAIT: Duration = Duration::from_secs(200);
/// The bank has cancelled it, and is asked soon to say so as its last word.
const AFTER_A_WITHDRAWAL: Duration = Duration::from_secs(1);
/// A look that failed is not repeated before this, however young the payment is.
const AFTER_A_FAILURE: Duration = Duration::from_secs(5);

impl Handler<Context> for PollPayment {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let ran = poll(&ctx, &lease, &self).await;
        recording::wait_out(&lease, LONGEST_WAIT, ran)
    }

    /// Nobody asks the bank any more, so a person does.
    async fn on_dead(&self, ctx: &Context, tx: &mut Tx, error: &str) -> Result<AfterCommit, StorageError> {
        let why = format!("it is not asked for any more: {error}");
        payment_moves::review(&Mover::job(ctx, None), tx, self.payment, "ambiguous", &why).await
    }
}

async fn poll(ctx: &Context, lease: &Lease, job: &PollPayment) -> Result<Verdict, JobError> {
    failpoint!("pay.poll_claimed");
    let Some(payment) = payments::find(&ctx.db, job.payment).await? else {
        return Ok(Outcome::GiveUp("the payment is gone".into()).into());
    };
    let (false, Some(at_bank)) = (payment.state.bank_final, payment.payment_id.as_deref()) else {
        return Ok(Outcome::Done.into());
    };
    let bank = AtBank::new(ctx, lease, &payment.product, at_bank);
    let answer = bank.status().await;
    failpoint!("pay.polled");
    let state = match &answer {
        Ok(Some(code)) => payment.state.on_bank_code(code, &ctx.provisional()).state,
        Ok(None) | Err(_) => payment.state,
    };
    let (is_over, is_gone) = (state.is_early() && may_have_timed_out(&payment), is_unknown(&answer));
    let begun = if is_over || is_gone {
        recording::record(lease, || withdraws(ctx, lease, &payment, is_over, is_gone)).await?
    } else {
        Begun::Nothing
    };
    let (withdrawal, is_put_off) = match begun {
        Begun::Withdrawal { intent, timed_out } => {
            failpoint!("pay.withdrawing");
            let answer = intent.understood(bank.withdraw().await);
            failpoint!("pay.withdrawn");
            let is_put_off = matches!(answer, Withdrawal::NotAsked);
            let withdrawn = Withdrawn {
                timed_out,
                intent,
                answer,
            };
            (Some(withdrawn), is_put_off)
        }
        Begun::PutOff => (None, true),
        Begun::Nothing => (None, false),
    };
    let code = answer.as_ref().ok().and_then(Option::as_deref);
    let seen = Seen {
        order: bank_change::read(&bank, &payment, code).await,
        payment,
        answer,
        withdrawal,
        is_put_off,
    };
    recording::record(lease, || write(ctx, lease, &seen)).await
}

/// What was seen and done at the bank.
struct Seen {
    /// As it was before the bank was asked.
    payment: Payment,
    answer: Result<Option<String>, ProviderError>,
    /// What it will pay, where it said that it changed something.
    order: Option<BankOrder>,
    withdrawal: Option<Withdrawn>,
    /// The bank was to be asked to withdraw it, and the circuit is open: the next look asks.
    is_put_off: bool,
}

/// What becomes of a withdrawal that a look calls for.
enum Begun {
    /// It calls for none.
    Nothing,
    /// The circuit is open.
    PutOff,
    /// It is committed that the bank is asked; because of the time, or once more.
    Withdrawal { intent: Withdrawing, timed_out: bool },
}

/// An order that the bank was asked to withdraw.
struct Withdrawn {
    /// Because the person did not approve in time; else once more, because the bank does not know it any more.
    timed_out: bool,
    intent: Withdrawing,
    answer: Withdrawal,
}

/// The bank says that it knows no such payment.
fn is_unknown(answer: &Result<Option<String>, ProviderError>) -> bool {
    matches!(answer, Err(error) if error.status() == Some(404))
}

fn may_have_timed_out(payment: &Payment) -> bool {
    payment.sca_deadline.is_some() && payment.state.status == PaymentStatus::Processing
}

/// Looks once more, right before the order is withdrawn: whoever came back from the bank meanwhile has not timed out. Where
/// the bank does not know an order any more that we had begun to withdraw, the answer to that is lost, and it is asked again:
/// one 404 may be a mistake of the bank's. Not of an order that the bank has accepted, nor of one that its person may have
/// approved, unless they want it back.
/// Whether it timed out is told with what was committed.
async fn withdraws(
    ctx: &Context,
    lease: &Lease,
    payment: &Payment,
    is_over: bool,
    is_gone: bool,
) -> Result<Begun, JobError> {
    let mut moving = Moving::begin(ctx, lease, payment.id).await?;
    let (now, payment) = (moving.now, &moving.payment);
    let timed_out = is_over
        && payment.callback_at.is_none()
        && payment.state.status == PaymentStatus::Processing
        && payment.sca_deadline.is_some_and(|deadline| deadline <= now);
    let is_open = !payment.state.bank_final && payment.withdrawn_at.is_none() && payment.state.is_early();
    let is_unwanted = payment.callback_at.is_none() || payment.cancellation.is_some();
    let again = is_gone && is_open && is_unwanted && payment.withdrawing_at.is_some();
    // Where this look has opened the circuit, nothing is withdrawn; the reconciliation ends the time all the same.
    if !(timed_out || again) {
        return Ok(Begun::Nothing);
    }
    if moving.circuit_is_open().await?.is_some() {
        return Ok(Begun::PutOff);
    }
    let intent = Withdrawing::commit(ctx, lease, moving).await?;
    Ok(Begun::Withdrawal { intent, timed_out })
}

/// Everything that was learned, written to the payment as it is now.
async fn write(ctx: &Context, lease: &Lease, seen: &Seen) -> Result<Verdict, JobError> {
    let mut moving = Moving::begin(ctx, lease, seen.payment.id).await?;
    let came_back = moving.payment.version != seen.payment.version;
    match &seen.answer {
        Ok(Some(code)) => {
            take(&mut moving, code).await?;
            if seen.withdrawal.is_none() {
                withdrawing::heard(&mut moving, code).await?;
            }
        }
        Ok(None) => moving.hear(None).await?,
        // What the bank said to the withdrawal comes first: it may explain that.
        Err(error) if error.status() == Some(404) => {}
        // A failed look decides nothing about somebody's money: polling outlives scattered errors.
        Err(error) => failed(&mut moving, error).await?,
    }
    let withdrawal = match &seen.withdrawal {
        Some(withdrawn) => {
            let is_doubtful = came_back || seen.answer.is_ok();
            Some(withdrawn.write(&mut moving, is_doubtful).await?)
        }
        None => None,
    };
    // Whether it was the end is not decided yet: the looks that follow tell.
    if is_unknown(&seen.answer) && !seen.is_put_off && !matches!(withdrawal, Some(Withdrawal::Forgotten)) {
        gone(&mut moving).await?;
    }
    bank_change::write(&mut moving, seen.order.as_ref()).await?;
    let outcome = match moving.payment.state.bank_final {
        true => Outcome::Done,
        // The person came back, or somebody else moved it, while the bank was being asked: what the bank said may be older.
        false if came_back => Outcome::Wait(Duration::ZERO),
        // Its person is told to try again, and the bank's last word makes room for that.
        false if matches!(withdrawal, Some(Withdrawal::Done)) => Outcome::Wait(AFTER_A_WITHDRAWAL),
        false => next(&mut moving, seen.answer.is_err()).await?,
    };
    failpoint!("pay.final");
    moving.finish(outcome).await
}

impl Withdrawn {
    /// Writes what became of it: that, as it is understood now.
    async fn write(&self, moving: &mut Moving<'_>, is_doubtful: bool) -> Result<Withdrawal, JobError> {
        let answer = withdrawing::weighed(moving, &self.answer, is_doubtful).await?;
        match (&answer, self.timed_out) {
            (Withdrawal::NotAsked, _) => {}
            (answer, true) => time_out(moving, answer).await?,
            (answer, false) => asked_again(moving, answer).await?,
        }
        self.intent.answered(moving, &answer).await?;
        Ok(answer)
    }
}

/// What the bank said of an order that it did not know any more.
async fn asked_again(moving: &mut Moving<'_>, withdrawal: &Withdrawal) -> Result<(), JobError> {
    match withdrawal {
        Withdrawal::Done => taken_back(moving).await,
        Withdrawal::Refused { now: Some(code) } => take(moving, code).await,
        Withdrawal::Refused { now: None }
        | Withdrawal::Gone
        | Withdrawal::Forgotten
        | Withdrawal::NotTaken
        | Withdrawal::Unknown
        | Withdrawal::NotAsked => Ok(()),
    }
}

/// The bank does not know the payment. That is its last word only where it took our withdrawal.
async fn gone(moving: &mut Moving<'_>) -> Result<(), JobError> {
    let ended = moving.payment.state.on_gone_after_cancel();
    if moving.payment.withdrawn_at.is_some() && ended.state.bank_final {
        moving.apply(ended).await
    } else {
        moving.review("ambiguous", "the bank does not know it").await
    }
}

async fn failed(moving: &mut Moving<'_>, error: &ProviderError) -> Result<(), JobError> {
    let id = moving.payment.id;
    warn!(payment.id = %id, "the bank did not say how {id} is doing: {error}");
    if error.needs_ops() {
        moving.alert(format!("the bank refuses our own standing: {error}"));
    }
    if error.class() == Class::Limited {
        let pause = error.retry_after().unwrap_or(AFTER_A_FAILURE).min(LONGEST_PAUSE);
        throttle(&mut *moving.tx, Lane::PaymentPoll, pause).await?;
    }
    Ok(())
}

/// The order at the bank is withdrawn first, so that "failed" is rarely followed by a payment.
async fn time_out(moving: &mut Moving<'_>, withdrawal: &Withdrawal) -> Result<(), JobError> {
    if let Withdrawal::Refused { now: Some(code) } = withdrawal {
        take(moving, code).await?;
    }
    let withdrawn = matches!(withdrawal, Withdrawal::Done);
    if withdrawn {
        payments::withdrawn(&mut moving.tx, moving.payment.id).await?;
        moving.reload().await?;
    }
    // A person who came back after we had decided has lost only what is withdrawn already.
    if moving.payment.callback_at.is_some() && !withdrawn {
        return Ok(());
    }
    let timed_out = moving.payment.state.on_sca_timeout();
    if timed_out.changed {
        moving.apply(timed_out).await?;
        if matches!(withdrawal, Withdrawal::Refused { .. }) {
            moving.alert(PaymentAlert::CancelRefused.as_str());
        }
    }
    moving
        .audit("payment.sca_timeout", json!({ "withdrawn": withdrawn }))
        .await
}

/// When to ask again; after seven days a person does.
async fn next(moving: &mut Moving<'_>, failed: bool) -> Result<Outcome, JobError> {
    let (payment, now) = (&moving.payment, moving.now);
    let Some(gap) = next_poll(now - payment.may_be_sent_since()) else {
        moving.alert(PaymentAlert::Unresolved.as_str());
        moving.review("ambiguous", "not final after seven days").await?;
        return Ok(Outcome::GiveUp("not final after seven days".into()));
    };
    let gap = until_deadline(payment.sca_deadline, now).map_or(gap, |left| gap.min(left));
    let gap = gap.to_std().unwrap_or(Duration::from_secs(1));
    Ok(Outcome::Wait(if failed {
        backoff::jittered(gap.max(AFTER_A_FAILURE))
    } else {
        gap
    }))
}

/// How long the person may still approve, while they may: the look at the end of that must not come a minute late.
fn until_deadline(deadline: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<TimeDelta> {
    let left = deadline? - now;
    (left > TimeDelta::zero()).then_some(left)
}
