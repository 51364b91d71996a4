//! Tells the bank about a payment: the attempt is committed before the request leaves, the outcome after it.

use std::{sync::Arc, time::Duration};

use drop_common::{
    domain::{
        account_number::Scheme,
        money::{Amount, Currency},
        payment_status::FailureReason,
    },
    providers::{
        Class, ProviderError,
        neonomics::{CallContext, Creditor, InitiatedPayment, PaymentOrder, PreparedPayment, Redirects, ScaLink},
    },
    queue::{
        EnqueueOptions, Handler, JobError, Lease, Outcome, Verdict, enqueue_with,
        payloads::{InitiatePayment, PollPayment},
    },
    resilience::{
        backoff,
        breaker::{self, BreakerKey},
    },
    storage::{
        StorageError, Tx,
        payments::{self, AttemptOutcome, Payment, Sending, Wire},
    },
};
use secrecy::ExposeSecret;
use tracing::{error, info, warn};

use super::payment_moves;
use crate::context::Context;

/// The contract's delays between attempts (3.3), before jitter.
const RETRY_AFTER: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// How long an unsent payment waits before the next try (reliability.md section 4).
const WAIT_UNSENT: Duration = Duration::from_secs(10);

impl Handler<Context> for InitiatePayment {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let Some(payment) = payments::find(&ctx.db, self.payment).await? else {
            return Ok(Outcome::GiveUp("the payment is gone".into()).into());
        };
        let wire = payments::wire(&ctx.db, &ctx.keys, &payment).await?;
        let prepared = prepare(&ctx, &payment, &wire)?;

        let mut tx = lease.begin(&ctx.db).await?;
        // The circuit may have opened since the claim: what waited in a slot is not sent any more (reliability.md B2).
        let circuit = breaker::state_in(&mut *tx, BreakerKey::NeonomicsPisp).await?;
        if circuit.open && circuit.probe.is_none_or(|probe| lease.probe() != Some(probe)) {
            let wait = backoff::jittered(circuit.retry_in.max(Duration::from_secs(1)));
            return Ok(lease.finish(tx, Outcome::Wait(wait)).await?.into());
        }
        let attempt = match payments::about_to_send(&mut tx, payment.id, lease.attempt(), prepared.hash()).await? {
            Sending::Go { attempt } => attempt,
            Sending::NothingToDo => return Ok(lease.finish(tx, Outcome::Done).await?.into()),
            Sending::TooLate => {
                payment_moves::apply(&ctx, &mut tx, lease.request_id(), &payment, payment.state.on_not_sent()).await?;
                return finish(&ctx, &lease, tx, &payment, Outcome::Done).await;
            }
            Sending::NotAllowed => {
                let refused = payment.state.on_refused(FailureReason::KycRequired);
                payment_moves::apply(&ctx, &mut tx, lease.request_id(), &payment, refused).await?;
                return finish(&ctx, &lease, tx, &payment, Outcome::Done).await;
            }
            // The process that sent it died before the answer: the bank may have it. It is never simply sent again.
            Sending::Unknown => {
                payments::attempts_are_ambiguous(&mut tx, payment.id).await?;
                return review(
                    &ctx,
                    &lease,
                    tx,
                    &payment,
                    "ambiguous",
                    "an attempt ended without an outcome",
                )
                .await;
            }
        };
        tx.commit().await?;

        let back = redirect(&ctx, &payment, &wire);
        let call = CallContext {
            request_id: payment.idempotency_key,
            correlation_id: lease.request_id(),
            psu: ctx.psu(payment.psu_ip.as_deref()),
            now: ctx.clock.now(),
            not_after: Some(lease.deadline()),
        };
        let redirects = Redirects {
            success: &back,
            failure: Some(&back),
        };
        let answer = ctx.neonomics.send(&prepared, None, redirects, &call).await;
        ctx.report(&lease, BreakerKey::NeonomicsPisp, answer.as_ref().err())
            .await;
        record(&ctx, &lease, &payment, attempt, answer).await
    }

    /// However the job died: what provably never left has failed, anything else a person looks at.
    async fn on_dead(&self, ctx: &Context, tx: &mut Tx, error: &str) -> Result<(), StorageError> {
        let Some(payment) = payments::find(&mut **tx, self.payment).await? else {
            return Ok(());
        };
        if payment.payment_id.is_some() || !payment.state.is_processing() || payment.needs_review {
            return Ok(());
        }
        if payments::may_have_left(tx, payment.id).await? {
            payments::attempts_are_ambiguous(tx, payment.id).await?;
            return payment_moves::review(ctx, tx, None, &payment, "retries_spent", error).await;
        }
        payment_moves::apply(ctx, tx, None, &payment, payment.state.on_not_sent()).await?;
        Ok(())
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
fn redirect(ctx: &Context, payment: &Payment, wire: &Wire) -> String {
    let state = wire.state.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
    format!(
        "{}/api/payments/callback?transaction={}&state={state}",
        ctx.settings.worker.public_url, payment.id
    )
}

/// The second, short transaction: how the attempt ended and what comes next (reliability.md section 4).
async fn record(
    ctx: &Context,
    lease: &Lease,
    payment: &Payment,
    attempt: i64,
    answer: Result<InitiatedPayment, ProviderError>,
) -> Result<Verdict, JobError> {
    let mut tx = lease.begin(&ctx.db).await?;
    let error = match answer {
        Ok(initiated) => {
            payments::attempt_ended(&mut tx, attempt, AttemptOutcome::Accepted, Some(201)).await?;
            return accepted(ctx, lease, tx, payment, initiated).await;
        }
        Err(error) => error,
    };
    let ended = match error.class() {
        Class::Transient => AttemptOutcome::Transient,
        Class::NotSent | Class::CircuitOpen => AttemptOutcome::NotSent,
        Class::Ambiguous => AttemptOutcome::Ambiguous,
        Class::Refused | Class::Expired | Class::Limited => AttemptOutcome::Refused,
    };
    payments::attempt_ended(&mut tx, attempt, ended, None).await?;
    let refused = |reason| payment.state.on_refused(reason);
    let refusal = match error.class() {
        Class::Transient if lease.is_last_attempt() => {
            return review(
                ctx,
                lease,
                tx,
                payment,
                "retries_spent",
                "the bank failed on every attempt",
            )
            .await;
        }
        Class::Transient => {
            let used = usize::try_from(lease.attempts_used()).unwrap_or(1).saturating_sub(1);
            let delay = RETRY_AFTER[used.min(RETRY_AFTER.len() - 1)];
            return Ok(lease.finish(tx, Outcome::Again(backoff::jittered(delay))).await?.into());
        }
        Class::NotSent | Class::CircuitOpen => {
            return Ok(lease
                .finish(tx, Outcome::Wait(backoff::jittered(WAIT_UNSENT)))
                .await?
                .into());
        }
        Class::Ambiguous => return review(ctx, lease, tx, payment, "ambiguous", "the bank may have the payment").await,
        Class::Limited => refused(FailureReason::RateLimited),
        Class::Expired => refused(FailureReason::ConsentExpired),
        Class::Refused => refused(FailureReason::Refused),
    };
    warn!(payment.id = %payment.id, "the bank refused payment {}: {error}", payment.id);
    payment_moves::apply(ctx, &mut tx, lease.request_id(), payment, refusal).await?;
    finish(ctx, lease, tx, payment, Outcome::Done).await
}

/// The bank has the payment: its id and link are stored with the first poll, in one transaction.
async fn accepted(
    ctx: &Context,
    lease: &Lease,
    mut tx: Tx,
    payment: &Payment,
    initiated: InitiatedPayment,
) -> Result<Verdict, JobError> {
    let link = match &initiated.sca {
        ScaLink::Redirect(link) => Some(link.as_str()),
        ScaLink::Untrusted | ScaLink::StartAuthorisation | ScaLink::None => {
            error!(target: "alert", payment_id = %payment.id, "the bank gave no usable link for {}", payment.id);
            None
        }
    };
    let patience = ctx.settings.payments.sca_timeout;
    payments::initiated(&mut tx, payment.id, &initiated.payment_id, link, patience).await?;
    let options = EnqueueOptions {
        delay: Duration::from_secs(1),
        ..EnqueueOptions::default()
    };
    enqueue_with(&mut tx, &PollPayment { payment: payment.id }, options).await?;
    if let Some(code) = &initiated.status {
        let transition = payment.state.on_bank_code(code, &ctx.provisional());
        // The row has just taken its payment id, which made it one version newer.
        let current = payment.one_version_later();
        payment_moves::apply(ctx, &mut tx, lease.request_id(), &current, transition).await?;
    }
    info!(payment.id = %payment.id, "payment {} is at the bank and waits for the person's approval", payment.id);
    finish(ctx, lease, tx, payment, Outcome::Done).await
}

/// Money may have moved and we cannot know: the row stays `processing` and a person looks at it. `label` is the metric's.
async fn review(
    ctx: &Context,
    lease: &Lease,
    mut tx: Tx,
    payment: &Payment,
    label: &'static str,
    why: &'static str,
) -> Result<Verdict, JobError> {
    payment_moves::review(ctx, &mut tx, lease.request_id(), payment, label, why).await?;
    finish(ctx, lease, tx, payment, Outcome::GiveUp(why.into())).await
}

async fn finish(
    ctx: &Context,
    lease: &Lease,
    tx: Tx,
    payment: &Payment,
    outcome: Outcome,
) -> Result<Verdict, JobError> {
    let recorded = lease.finish(tx, outcome).await?;
    ctx.tell_waiters(payment.id.uuid()).await;
    Ok(recorded.into())
}
