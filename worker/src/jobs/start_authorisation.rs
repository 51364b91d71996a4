//! Starts the approval of a payment at a bank that wants a call of its own for that. It is made once, and committed before
//! it leaves: a second start could be the end of the link that the person already follows.

use std::{sync::Arc, time::Duration};

use drop_common::{
    domain::bank_order::Authorisation,
    failpoint,
    providers::{
        Class, ProviderError,
        neonomics::{Redirects, ScaLink},
    },
    queue::{AfterCommit, Handler, JobError, Lease, Outcome, Verdict, payloads::StartAuthorisation},
    resilience::{backoff, breaker::BreakerKey},
    storage::{
        StorageError, Tx,
        payments::{self, Payment, Wire},
    },
};
use serde_json::json;
use uuid::Uuid;

use super::{
    intent::Intent,
    payment_accepted::tell_of_the_link,
    payment_moves::{self, Moving},
    payment_order::{call, redirect},
};
use crate::{context::Context, recording};

/// How long a start that did not leave waits: somebody is waiting for the link.
const WAIT_UNSENT: Duration = Duration::from_secs(2);

impl Handler<Context> for StartAuthorisation {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let ran = start(&ctx, &lease, &self).await;
        recording::wait_out(&lease, WAIT_UNSENT, ran)
    }

    /// However it died, there will be no link: the time for approval ends the payment.
    async fn on_dead(&self, _ctx: &Context, tx: &mut Tx, error: &str) -> Result<AfterCommit, StorageError> {
        let Some(locked) = payments::lock(tx, self.payment).await? else {
            return Ok(AfterCommit::default());
        };
        match locked.payment.authorisation {
            Some(Authorisation::Wanted | Authorisation::Starting) => {}
            Some(Authorisation::Started | Authorisation::Failed) | None => return Ok(AfterCommit::default()),
        }
        payments::set_authorisation(tx, self.payment, Authorisation::Failed).await?;
        Ok(payment_moves::told(
            self.payment,
            &format!("its approval was not started: {error}"),
        ))
    }
}

async fn start(ctx: &Context, lease: &Lease, job: &StartAuthorisation) -> Result<Verdict, JobError> {
    failpoint!("authorise.claimed");
    let Some(payment) = payments::find(&ctx.db, job.payment).await? else {
        return Ok(Outcome::GiveUp("the payment is gone".into()).into());
    };
    let wire = payments::wire(&ctx.db, &ctx.keys, &payment).await?;
    let mut moving = Moving::begin(ctx, lease, job.payment).await?;
    match moving.payment.authorisation {
        Some(Authorisation::Wanted) => {}
        Some(Authorisation::Starting) => return fail(moving, "the start of its approval was cut short").await,
        Some(Authorisation::Started | Authorisation::Failed) | None => return moving.finish(Outcome::Done).await,
    }
    let in_time = moving
        .payment
        .sca_deadline
        .is_some_and(|deadline| moving.now < deadline);
    if !moving.payment.state.is_processing() || !in_time {
        payments::set_authorisation(&mut moving.tx, job.payment, Authorisation::Failed).await?;
        return moving.finish(Outcome::Done).await;
    }
    if let Some(wait) = moving.circuit_is_open().await? {
        return moving.finish(Outcome::Wait(wait)).await;
    }
    payments::set_authorisation(&mut moving.tx, job.payment, Authorisation::Starting).await?;
    failpoint!("authorise.written");
    Intent::Authorisation.commit(ctx, lease, moving).await?;
    failpoint!("authorise.sending");

    let answer = ask(ctx, lease, &payment, &wire).await;
    failpoint!("authorise.response_read");
    ctx.report(lease, BreakerKey::NeonomicsPisp, answer.as_ref().err())
        .await;
    recording::record(lease, || record(ctx, lease, &payment, &answer)).await
}

async fn ask(ctx: &Context, lease: &Lease, payment: &Payment, wire: &Wire) -> Result<ScaLink, ProviderError> {
    let back = redirect(ctx, payment, wire);
    let redirects = Redirects {
        success: &back,
        failure: Some(&back),
    };
    let request_id = Uuid::new_v5(&payment.idempotency_key, b"authorisation");
    let at_bank = payment.payment_id.as_deref().unwrap_or_default();
    ctx.neonomics
        .start_authorisation(
            &payment.product,
            at_bank,
            redirects,
            &call(ctx, lease, payment, request_id),
        )
        .await
}

async fn record(
    ctx: &Context,
    lease: &Lease,
    payment: &Payment,
    answer: &Result<ScaLink, ProviderError>,
) -> Result<Verdict, JobError> {
    let mut moving = Moving::begin(ctx, lease, payment.id).await?;
    match answer {
        Ok(ScaLink::Redirect(link)) => {
            let patience = ctx.settings.payments.sca_timeout;
            payments::authorised(&mut moving.tx, payment.id, link.as_str(), patience).await?;
            moving.audit("payment.authorisation_started", json!({})).await?;
            tell_of_the_link(&mut moving).await?;
            failpoint!("authorise.result");
            moving.finish(Outcome::Done).await
        }
        Ok(ScaLink::Untrusted | ScaLink::StartAuthorisation | ScaLink::None) => {
            fail(moving, "the bank gave no usable link").await
        }
        // Provably nothing has arrived, so this was not the one start.
        Err(error) if matches!(error.class(), Class::NotSent | Class::CircuitOpen) => {
            if error.needs_ops() {
                moving.alert(format!("the bank refuses our own standing: {error}"));
            }
            payments::set_authorisation(&mut moving.tx, payment.id, Authorisation::Wanted).await?;
            moving.finish(Outcome::Wait(backoff::jittered(WAIT_UNSENT))).await
        }
        Err(error) => fail(moving, &format!("its approval could not be started: {error}")).await,
    }
}

/// There is no link: operations are told, and the time for approval ends the payment.
async fn fail(mut moving: Moving<'_>, why: &str) -> Result<Verdict, JobError> {
    payments::set_authorisation(&mut moving.tx, moving.payment.id, Authorisation::Failed).await?;
    moving.alert(why.to_owned());
    moving.finish(Outcome::Done).await
}
