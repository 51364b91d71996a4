//! Tells the bank about a payment: the attempt is committed before the request leaves, the outcome after it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use drop_common::{
    config::Retry5xx,
    domain::{ids::ConsentId, payment_status::FailureReason},
    failpoint,
    providers::{Class, ProviderError, neonomics::InitiatedPayment},
    queue::{AfterCommit, Handler, JobError, Lane, Lease, Outcome, Verdict, payloads::InitiatePayment, throttle},
    resilience::{backoff, breaker::BreakerKey},
    storage::{
        StorageError, Tx,
        audit::Actor,
        consents,
        payments::{self, AttemptOutcome, Payment, Sending},
    },
};
use tracing::warn;

use super::{
    consent_moves,
    intent::Intent,
    payment_accepted::{OnlyHere, accepted},
    payment_moves::{self, Mover, Moving, until_probed},
    payment_order,
};
use crate::{context::Context, recording};

/// The delays between attempts (contract 3.3), before jitter.
const RETRY_AFTER: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// How long an unsent payment waits once those are used up: somebody is waiting, and it may be sent for five minutes only.
const WAIT_UNSENT: Duration = Duration::from_secs(10);
/// How long no payment is sent after a 429 that names no time.
const WAIT_LIMITED: Duration = Duration::from_secs(10);
/// The longest pause that a 429 can ask for: then one payment finds out whether it still holds.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_mins(5);

impl Handler<Context> for InitiatePayment {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let ran = initiate(&ctx, &lease, &self).await;
        recording::wait_out(&lease, WAIT_UNSENT, ran)
    }

    /// However the job died: what provably never left has failed, anything else a person looks at.
    async fn on_dead(&self, ctx: &Context, tx: &mut Tx, error: &str) -> Result<AfterCommit, StorageError> {
        let Some(locked) = payments::lock(tx, self.payment).await? else {
            return Ok(AfterCommit::default());
        };
        let payment = locked.payment;
        if payment.payment_id.is_some() || !payment.state.is_processing() || payment.needs_review {
            return Ok(AfterCommit::default());
        }
        if payments::may_have_left(tx, payment.id).await? {
            payments::attempts_are_ambiguous(tx, payment.id).await?;
            return payment_moves::review(&Mover::job(ctx, None), tx, payment.id, "retries_spent", error).await;
        }
        payment_moves::apply(&Mover::job(ctx, None), tx, &payment, payment.state.on_not_sent()).await
    }
}

async fn initiate(ctx: &Context, lease: &Lease, job: &InitiatePayment) -> Result<Verdict, JobError> {
    failpoint!("pay.claimed");
    // Before the database is asked what time it is: waiting for it is no reason to send any later.
    let begun = Instant::now();
    let mut moving = Moving::begin(ctx, lease, job.payment).await?;
    let deduplicated = ctx.settings.neonomics.dedupe_proven;
    let payment = moving.payment.clone();
    let wire = match payments::may_be_sent(&mut moving.tx, &ctx.keys, &payment, deduplicated, lease.probe()).await? {
        Sending::Go(wire) => wire,
        Sending::CircuitOpen { retry_in } => return moving.finish(Outcome::Wait(until_probed(retry_in))).await,
        Sending::NothingToDo => return moving.finish(Outcome::Done).await,
        Sending::TooLate => {
            moving.apply(payment.state.on_not_sent()).await?;
            return moving.finish(Outcome::Done).await;
        }
        // The wish came while an attempt was under way that did not leave.
        Sending::Unwanted => {
            moving.apply(payment.state.on_taken_back()).await?;
            return moving.finish(Outcome::Done).await;
        }
        Sending::NotAllowed => return refuse(moving, FailureReason::KycRequired).await,
        Sending::Unlinked => return refuse(moving, FailureReason::ConsentExpired).await,
        // The process that sent it died before the answer: the bank may have it. It is never simply sent again.
        Sending::Unknown => {
            payments::attempts_are_ambiguous(&mut moving.tx, payment.id).await?;
            return review(moving, "ambiguous", "an attempt ended without an outcome").await;
        }
        Sending::NoMore { why } => {
            payments::attempts_are_ambiguous(&mut moving.tx, payment.id).await?;
            return review(moving, "ambiguous", why).await;
        }
    };
    let prepared = payment_order::prepare(ctx, &payment, &wire)?;
    let left = (payment.expires_at - moving.now).to_std().unwrap_or_default();
    let not_after = lease.deadline().min(begun + left);
    let (tx, hash) = (&mut moving.tx, prepared.hash());
    let Some(attempt) = payments::about_to_send(tx, payment.id, wire.consent, lease.attempt(), hash).await? else {
        return moving.finish(Outcome::Wait(Duration::ZERO)).await;
    };
    failpoint!("pay.attempt_written");
    Intent::Attempt(attempt).commit(ctx, lease, moving).await?;

    failpoint!("pay.sending");
    let answer = payment_order::send(ctx, lease, &payment, &wire, &prepared, not_after).await;
    let told = Told {
        consent: wire.consent,
        payment,
        attempt,
        answer,
    };
    let only_here = told.answer.as_ref().ok();
    let only_here = only_here.map(|initiated| OnlyHere::new(&told.payment, initiated));
    failpoint!("pay.response_read");
    ctx.report(lease, BreakerKey::NeonomicsPisp, told.answer.as_ref().err())
        .await;
    let recorded = recording::record(lease, || record(ctx, lease, &told)).await;
    if let Some(only_here) = only_here {
        only_here.recorded(ctx, &recorded).await;
    }
    recorded
}

/// What left, and what came of it.
struct Told {
    payment: Payment,
    /// Under which its account was linked then.
    consent: ConsentId,
    attempt: i64,
    answer: Result<InitiatedPayment, ProviderError>,
}

/// What is written after the call, shortly: how the attempt ended and what comes next.
async fn record(ctx: &Context, lease: &Lease, told: &Told) -> Result<Verdict, JobError> {
    let (id, attempt) = (told.payment.id, told.attempt);
    let error = match &told.answer {
        Ok(initiated) => return accepted(ctx, lease, &told.payment, attempt, initiated).await,
        Err(error) => error,
    };
    let mut moving = Moving::begin(ctx, lease, id).await?;
    let class = class_of(ctx, error);
    let ended = match class {
        Class::Transient => AttemptOutcome::Transient,
        Class::NotSent | Class::CircuitOpen => AttemptOutcome::NotSent,
        Class::Ambiguous => AttemptOutcome::Ambiguous,
        Class::Refused | Class::Expired | Class::Limited => AttemptOutcome::Refused,
    };
    payments::attempt_ended(&mut moving.tx, attempt, ended, error.status()).await?;
    failpoint!("pay.result");
    if error.needs_ops() {
        moving.alert(format!("the bank refuses our own standing: {error}"));
    }
    let reason = match class {
        // Where one key is one payment, whatever may have happened to the attempt is no reason not to repeat it.
        Class::Ambiguous if !ctx.settings.neonomics.dedupe_proven => {
            return review(moving, "ambiguous", "the bank may have the payment").await;
        }
        Class::Transient | Class::Ambiguous if lease.is_last_attempt() => {
            return review(moving, "retries_spent", "the bank failed on every attempt").await;
        }
        Class::Transient | Class::Ambiguous => {
            let used = usize::try_from(lease.attempts_used()).unwrap_or(1);
            return moving.finish(Outcome::Again(delay_after(used, RETRY_AFTER[2]))).await;
        }
        Class::NotSent | Class::CircuitOpen => {
            let unsent = payments::unsent_attempts(&mut moving.tx, id).await?;
            return moving.finish(Outcome::Wait(delay_after(unsent, WAIT_UNSENT))).await;
        }
        Class::Limited => {
            let pause = error.retry_after().unwrap_or(WAIT_LIMITED).min(LONGEST_PAUSE);
            throttle(&mut *moving.tx, Lane::PaymentSend, pause).await?;
            FailureReason::RateLimited
        }
        // That of the owner of this service: nobody can link it again but they.
        Class::Expired if ctx.settings.neonomics.payment_consent.is_some() => {
            moving.alert("the bank does not take PISP_CONSENT_ID any more");
            FailureReason::Refused
        }
        // A bank that lags behind the approval says the same of a consent that it will know in a moment.
        Class::Expired
            if error.may_await_approval()
                && consents::is_new(&mut moving.tx, told.consent, consent_moves::APPROVAL_LAG).await? =>
        {
            FailureReason::Refused
        }
        Class::Expired => {
            consent_moves::bury(&mut moving.tx, lease, Actor::Provider, told.consent, error.code()).await?;
            FailureReason::ConsentExpired
        }
        Class::Refused => FailureReason::Refused,
    };
    warn!(payment.id = %id, "the bank refused payment {id}: {error}");
    // A no to this request says nothing of an earlier one, which the bank may have taken before its answer got lost.
    if payments::may_have_left(&mut moving.tx, id).await? {
        return review(
            moving,
            "ambiguous",
            "refused, and an earlier attempt may have reached the bank",
        )
        .await;
    }
    refuse(moving, reason).await
}

/// What the failed attempt means here. Of a 500, 502 or 503 the contract says that it may be sent again; where the owner
/// takes none of them for a promise that nothing was done, nobody knows (`PISP_RETRY_5XX`).
fn class_of(ctx: &Context, error: &ProviderError) -> Class {
    match (error.class(), ctx.settings.neonomics.retry_5xx) {
        (Class::Transient, Retry5xx::Deduplicated) => Class::Ambiguous,
        (class, Retry5xx::Always | Retry5xx::Deduplicated) => class,
    }
}

/// The delay after the given failure, counted from 1: the contract's three, then the other one.
fn delay_after(failures: usize, then: Duration) -> Duration {
    backoff::jittered(*RETRY_AFTER.get(failures.saturating_sub(1)).unwrap_or(&then))
}

/// Nothing has left, and nothing will.
async fn refuse(mut moving: Moving<'_>, reason: FailureReason) -> Result<Verdict, JobError> {
    moving.apply(moving.payment.state.on_refused(reason)).await?;
    moving.finish(Outcome::Done).await
}

/// Money may have moved and we cannot know: the row stays `processing` and a person looks at it. `label` is the metric's.
async fn review(mut moving: Moving<'_>, label: &'static str, why: &'static str) -> Result<Verdict, JobError> {
    moving.review(label, why).await?;
    moving.finish(Outcome::GiveUp(why.into())).await
}
