//! Asks the bank how a payment is doing, until the bank's last word. Safe to run any number of times.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use drop_common::{
    domain::{payment_schedule::next_poll, payment_status::PaymentStatus},
    providers::neonomics::CallContext,
    queue::{Handler, JobError, Lease, Outcome, Verdict, payloads::PollPayment},
    resilience::{backoff, breaker::BreakerKey},
    storage::{
        Tx,
        payments::{self, Payment},
        schedule,
    },
};
use serde_json::json;
use tracing::{error, warn};
use uuid::Uuid;

use super::payment_moves;
use crate::context::Context;

impl Handler<Context> for PollPayment {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let Some(payment) = payments::find(&ctx.db, self.payment).await? else {
            return Ok(Outcome::GiveUp("the payment is gone".into()).into());
        };
        let (false, Some(at_bank)) = (payment.state.bank_final, payment.payment_id.as_deref()) else {
            return Ok(Outcome::Done.into());
        };
        let call = || CallContext {
            request_id: Uuid::new_v4(),
            correlation_id: lease.request_id(),
            psu: None,
            now: ctx.clock.now(),
            not_after: Some(lease.deadline()),
        };
        let answer = ctx.neonomics.payment_status(&payment.product, at_bank, &call()).await;
        ctx.report(&lease, BreakerKey::NeonomicsPisp, answer.as_ref().err())
            .await;
        let now = schedule::now(&ctx.db).await?;
        let transition = match &answer {
            Ok(Some(code)) => Some(payment.state.on_bank_code(code, &ctx.provisional())),
            Ok(None) => None,
            // A failed look decides nothing about somebody's money: polling outlives scattered errors.
            Err(failed) if failed.status() == Some(404) => {
                error!(target: "alert", payment_id = %payment.id, "the bank does not know payment {}", payment.id);
                None
            }
            Err(failed) => {
                warn!(payment.id = %payment.id, "the bank did not say how {} is doing: {failed}", payment.id);
                None
            }
        };
        let early = transition.map_or(payment.state.is_early(), |transition| transition.state.is_early());
        let overdue = payment.sca_deadline.is_some_and(|deadline| deadline <= now);
        let timed_out =
            early && overdue && payment.callback_at.is_none() && payment.state.status == PaymentStatus::Processing;
        // The order at the bank is withdrawn first, so that "failed" is rarely followed by a payment.
        let withdrawn = timed_out
            && ctx
                .neonomics
                .cancel_payment(&payment.product, at_bank, &call())
                .await
                .is_ok();

        let mut tx = lease.begin(&ctx.db).await?;
        let transition = if timed_out {
            Some(payment.state.on_sca_timeout())
        } else {
            transition
        };
        let mut over = false;
        if let Some(transition) = transition {
            payment_moves::apply(&ctx, &mut tx, lease.request_id(), &payment, transition).await?;
            over = transition.state.bank_final;
        }
        if timed_out {
            let detail = json!({ "withdrawn": withdrawn });
            payment_moves::audit(&mut tx, lease.request_id(), &payment, "payment.sca_timeout", detail).await?;
        }
        let outcome = if over {
            Outcome::Done
        } else {
            next(&ctx, &mut tx, &lease, &payment, now, answer.is_err()).await?
        };
        let recorded = lease.finish(tx, outcome).await?;
        ctx.tell_waiters(payment.id.uuid()).await;
        Ok(recorded.into())
    }
}

/// When to ask again; after seven days a person does.
async fn next(
    ctx: &Context,
    tx: &mut Tx,
    lease: &Lease,
    payment: &Payment,
    now: DateTime<Utc>,
    failed: bool,
) -> Result<Outcome, JobError> {
    let Some(gap) = next_poll(now - payment.created_at) else {
        payment_moves::review(
            ctx,
            tx,
            lease.request_id(),
            payment,
            "ambiguous",
            "not final after seven days",
        )
        .await?;
        return Ok(Outcome::GiveUp("not final after seven days".into()));
    };
    let gap = gap.to_std().unwrap_or(Duration::from_secs(1));
    let gap = if failed {
        backoff::jittered(gap.max(Duration::from_secs(5)))
    } else {
        gap
    };
    Ok(Outcome::Wait(gap))
}
