//! Tells the bank about a payment: the attempt is committed before the request leaves, the outcome after it.

use std::{sync::Arc, time::Duration};

use drop_common::{
    domain::{
        account_number::Scheme,
        money::{Amount, Currency},
        payment_status::FailureReason,
    },
    failpoint,
    providers::{
        Class, ProviderError,
        neonomics::{CallContext, Creditor, InitiatedPayment, PaymentOrder, PreparedPayment, Psu, Redirects, ScaLink},
    },
    queue::{
        AfterCommit, EnqueueOptions, Handler, JobError, Lane, Lease, Outcome, Verdict, enqueue_with,
        payloads::{InitiatePayment, PollPayment, StartAuthorisation},
        throttle,
    },
    resilience::{backoff, breaker::BreakerKey},
    storage::{
        StorageError, Tx,
        payments::{self, AttemptOutcome, Payment, Sending, Wire},
    },
};
use secrecy::ExposeSecret;
use serde_json::json;
use tracing::{info, warn};
use uuid::Uuid;

use super::{
    intent::Intent,
    payment_moves::{self, Mover, Moving},
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
    let Some(payment) = payments::find(&ctx.db, job.payment).await? else {
        return Ok(Outcome::GiveUp("the payment is gone".into()).into());
    };
    let wire = payments::wire(&ctx.db, &ctx.keys, &payment).await?;
    let prepared = prepare(ctx, &payment, &wire)?;

    let mut moving = Moving::begin(ctx, lease, payment.id).await?;
    if let Some(wait) = moving.circuit_is_open().await? {
        return moving.finish(Outcome::Wait(wait)).await;
    }
    let deduplicated = ctx.settings.neonomics.dedupe_proven;
    let (tx, hash) = (&mut moving.tx, prepared.hash());
    let attempt = match payments::about_to_send(tx, payment.id, lease.attempt(), hash, deduplicated).await? {
        Sending::Go { attempt } => attempt,
        Sending::NothingToDo => return moving.finish(Outcome::Done).await,
        Sending::TooLate => {
            moving.apply(moving.payment.state.on_not_sent()).await?;
            return moving.finish(Outcome::Done).await;
        }
        Sending::NotAllowed => {
            let refused = moving.payment.state.on_refused(FailureReason::KycRequired);
            moving.apply(refused).await?;
            return moving.finish(Outcome::Done).await;
        }
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
    failpoint!("pay.attempt_written");
    Intent::Attempt(attempt).commit(ctx, lease, moving).await?;

    failpoint!("pay.sending");
    let answer = send(ctx, lease, &payment, &wire, &prepared).await;
    failpoint!("pay.response_read");
    ctx.report(lease, BreakerKey::NeonomicsPisp, answer.as_ref().err())
        .await;
    recording::record(lease, || record(ctx, lease, &payment, attempt, &answer)).await
}

async fn send(
    ctx: &Context,
    lease: &Lease,
    payment: &Payment,
    wire: &Wire,
    prepared: &PreparedPayment,
) -> Result<InitiatedPayment, ProviderError> {
    let back = redirect(ctx, payment, wire);
    let redirects = Redirects {
        success: &back,
        failure: Some(&back),
    };
    let call = call(ctx, lease, payment, payment.idempotency_key);
    ctx.neonomics.send(prepared, None, redirects, &call).await
}

/// A call that the person's own request causes.
pub(super) fn call(ctx: &Context, lease: &Lease, payment: &Payment, request_id: Uuid) -> CallContext {
    let psu = ctx.psu(payment.psu_ip.as_deref()).map(|psu| Psu {
        user_agent: payment.psu_user_agent.clone(),
        ..psu
    });
    CallContext {
        request_id,
        correlation_id: lease.request_id(),
        psu,
        now: ctx.clock.now(),
        not_after: Some(lease.deadline()),
    }
}

fn prepare(ctx: &Context, payment: &Payment, wire: &Wire) -> Result<PreparedPayment, JobError> {
    let currency: Currency = payment.currency.parse().map_err(StorageError::corrupt)?;
    let amount = Amount {
        minor: payment.amount,
        currency,
    }
    .to_decimal();
    let account = wire.creditor.expose_secret();
    let creditor = match payment.creditor_scheme {
        Scheme::Iban => Creditor::Iban(account),
        Scheme::Bban => Creditor::Bban(account),
    };
    Ok(ctx.neonomics.prepare(&PaymentOrder {
        debtor_iban: wire.debtor.expose_secret(),
        creditor,
        creditor_name: &payment.creditor_name,
        amount: &amount,
        currency: &payment.currency,
        remittance: Some(payment.remittance_information.as_str()).filter(|text| !text.is_empty()),
        end_to_end_id: None,
        product: &payment.product,
    }))
}

/// Where the bank sends the person: the payment and a secret that only the bank and they hold.
pub(super) fn redirect(ctx: &Context, payment: &Payment, wire: &Wire) -> String {
    let state = wire.state.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
    format!(
        "{}/api/payments/callback?transaction={}&state={state}",
        ctx.settings.worker.public_url, payment.id
    )
}

/// The second, short transaction: how the attempt ended and what comes next.
async fn record(
    ctx: &Context,
    lease: &Lease,
    payment: &Payment,
    attempt: i64,
    answer: &Result<InitiatedPayment, ProviderError>,
) -> Result<Verdict, JobError> {
    let mut moving = Moving::begin(ctx, lease, payment.id).await?;
    let error = match answer {
        Ok(initiated) => {
            payments::attempt_ended(&mut moving.tx, attempt, AttemptOutcome::Accepted, Some(201)).await?;
            return accepted(ctx, lease, moving, initiated).await;
        }
        Err(error) => error,
    };
    let (class, id) = (error.class(), payment.id);
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
        Class::Expired => FailureReason::ConsentExpired,
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
    moving.apply(moving.payment.state.on_refused(reason)).await?;
    moving.finish(Outcome::Done).await
}

/// The delay after the given failure, counted from 1: the contract's three, then the other one.
fn delay_after(failures: usize, then: Duration) -> Duration {
    backoff::jittered(*RETRY_AFTER.get(failures.saturating_sub(1)).unwrap_or(&then))
}

/// The bank has the payment: its id and link are stored with the first poll, in one transaction.
async fn accepted(
    ctx: &Context,
    lease: &Lease,
    mut moving: Moving<'_>,
    initiated: &InitiatedPayment,
) -> Result<Verdict, JobError> {
    let id = moving.payment.id;
    let link = match &initiated.sca {
        ScaLink::Redirect(link) => Some(link.as_str()),
        ScaLink::StartAuthorisation => None,
        ScaLink::Untrusted | ScaLink::None => {
            moving.alert("the bank gave no usable link");
            None
        }
    };
    let patience = ctx.settings.payments.sca_timeout;
    let authorise = initiated.sca == ScaLink::StartAuthorisation;
    payments::initiated(&mut moving.tx, id, &initiated.payment_id, link, patience, authorise).await?;
    if authorise {
        let options = EnqueueOptions {
            request_id: lease.request_id(),
            ..EnqueueOptions::default()
        };
        enqueue_with(&mut moving.tx, &StartAuthorisation { payment: id }, options).await?;
    }
    moving
        .audit("payment.initiated", json!({ "link": link.is_some() }))
        .await?;
    moving.reload().await?;
    let options = EnqueueOptions {
        delay: Duration::from_secs(1),
        ..EnqueueOptions::default()
    };
    enqueue_with(&mut moving.tx, &PollPayment { payment: id }, options).await?;
    if let Some(code) = &initiated.status {
        moving.hear(Some(code)).await?;
    }
    failpoint!("pay.result");
    info!(payment.id = %id, "payment {id} is at the bank and waits for the person's approval");
    let recorded = moving.finish(Outcome::Done).await?;
    ctx.wake.signal(Lane::PaymentSend);
    Ok(recorded)
}

/// Money may have moved and we cannot know: the row stays `processing` and a person looks at it. `label` is the metric's.
async fn review(mut moving: Moving<'_>, label: &'static str, why: &'static str) -> Result<Verdict, JobError> {
    moving.review(label, why).await?;
    moving.finish(Outcome::GiveUp(why.into())).await
}
