//! Proves, once a minute, that every open payment has a next step, and gives one to those that have none: a job row that
//! was lost or deleted, a mistake of ours, must not leave somebody's money in the air, nor their wish to take it back without
//! an answer, nor them without the link to approve it. And ends the patience for approvals
//! while the bank cannot be asked: the person is told after five minutes all the same.

use std::sync::Arc;

use drop_common::{
    domain::{
        bank_order::Authorisation,
        ids::PaymentId,
        payment_status::{Cancellation, PaymentStatus},
    },
    queue::{
        EnqueueOptions, Handler, Job as _, JobError, Lease, Outcome, Verdict, enqueue_anew,
        payloads::{CancelPayment, InitiatePayment, PollPayment, ReconcilePayments, StartAuthorisation},
    },
    storage::payments,
};
use serde_json::json;
use tracing::info;
use uuid::Uuid;

use super::payment_moves::{Moving, told};
use crate::context::Context;

/// The jobs that move a payment on until its end; those of one errand are looked for beside them.
const STEPS: [&str; 2] = [InitiatePayment::KIND, PollPayment::KIND];
/// At most so many in one run; the next one goes on.
const BATCH: i64 = 500;

impl Handler<Context> for ReconcilePayments {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        for id in payments::without_next_step(&ctx.db, &STEPS, BATCH).await? {
            unless_unreadable(id, give_next_step(&ctx, &lease, id).await)?;
        }
        for id in payments::overdue_approvals(&ctx.db, BATCH).await? {
            unless_unreadable(id, end_patience(&ctx, &lease, id).await)?;
        }
        for id in payments::unanswered_wishes(&ctx.db, CancelPayment::KIND, BATCH).await? {
            unless_unreadable(id, answer_wish(&ctx, &lease, id).await)?;
        }
        for id in payments::unstarted_approvals(&ctx.db, StartAuthorisation::KIND, BATCH).await? {
            unless_unreadable(id, start_approval(&ctx, &lease, id).await)?;
        }
        Ok(Outcome::Done.into())
    }
}

/// One payment that cannot be read, of a newer release perhaps, keeps nobody else's from its next step.
fn unless_unreadable(id: PaymentId, done: Result<(), JobError>) -> Result<(), JobError> {
    match done {
        Err(JobError::Storage(error)) if !error.is_transient() => {
            // Never committed, so it is said once in a while and not with every look.
            told(id, &format!("cannot be reconciled: {error}")).raise();
            Ok(())
        }
        done => done,
    }
}

/// What comes next follows from the row alone.
async fn give_next_step(ctx: &Context, lease: &Lease, id: PaymentId) -> Result<(), JobError> {
    let mut moving = Moving::begin(ctx, lease, id).await?;
    let payment = &moving.payment;
    if payment.state.bank_final || payment.needs_review {
        return Ok(());
    }
    let step = if payment.payment_id.is_some() {
        enqueue_anew(&mut moving.tx, &PollPayment { payment: id }, EnqueueOptions::default()).await?;
        PollPayment::KIND
    } else if payments::may_have_left(&mut moving.tx, id).await? {
        payments::attempts_are_ambiguous(&mut moving.tx, id).await?;
        moving.review("ambiguous", "no job was left for it").await?;
        "review"
    } else {
        // Sent within its time or never, also where nobody claims the job.
        let left = payment.expires_at - moving.now;
        let options = EnqueueOptions {
            expires_in: Some(left.to_std().unwrap_or_default()),
            ..EnqueueOptions::default()
        };
        enqueue_anew(&mut moving.tx, &InitiatePayment { payment: id }, options).await?;
        InitiatePayment::KIND
    };
    restored(moving, step).await
}

/// That it had lost its next step is told: something is wrong with the service.
async fn restored(mut moving: Moving<'_>, step: &'static str) -> Result<(), JobError> {
    let detail = json!({ "step": step });
    moving.audit("payment.next_step_restored", detail).await?;
    moving.alert(format!("had no next step, now: {step}"));
    moving.commit().await
}

/// Somebody wishes to take it back, and the job that would ask the bank was lost.
async fn answer_wish(ctx: &Context, lease: &Lease, id: PaymentId) -> Result<(), JobError> {
    let mut moving = Moving::begin(ctx, lease, id).await?;
    if moving.payment.cancellation != Some(Cancellation::Requested) {
        return Ok(());
    }
    let withdrawal = CancelPayment {
        payment: id,
        request: Uuid::now_v7(),
    };
    enqueue_anew(&mut moving.tx, &withdrawal, EnqueueOptions::default()).await?;
    restored(moving, CancelPayment::KIND).await
}

/// Its person waits for the link, and the job that would ask for it was lost. Whether it had asked, that job knows.
async fn start_approval(ctx: &Context, lease: &Lease, id: PaymentId) -> Result<(), JobError> {
    let mut moving = Moving::begin(ctx, lease, id).await?;
    match moving.payment.authorisation {
        Some(Authorisation::Wanted | Authorisation::Starting) => {}
        Some(Authorisation::Started | Authorisation::Failed) | None => return Ok(()),
    }
    let start = StartAuthorisation { payment: id };
    enqueue_anew(&mut moving.tx, &start, EnqueueOptions::default()).await?;
    restored(moving, StartAuthorisation::KIND).await
}

/// As the look at the end of the time would do without an answer from the bank. The order is withdrawn when the bank can
/// be asked again.
async fn end_patience(ctx: &Context, lease: &Lease, id: PaymentId) -> Result<(), JobError> {
    let mut moving = Moving::begin(ctx, lease, id).await?;
    let payment = &moving.payment;
    if payment.callback_at.is_some() || payment.state.status != PaymentStatus::Processing {
        return Ok(());
    }
    let timed_out = payment.state.on_sca_timeout();
    if !timed_out.changed {
        return Ok(());
    }
    moving.apply(timed_out).await?;
    moving
        .audit(
            "payment.sca_timeout",
            json!({ "withdrawn": false, "bank_asked": false }),
        )
        .await?;
    let withdrawal = CancelPayment {
        payment: id,
        request: Uuid::now_v7(),
    };
    enqueue_anew(&mut moving.tx, &withdrawal, EnqueueOptions::default()).await?;
    moving.commit().await?;
    info!(payment.id = %id, "payment {id} was not approved in time, and its bank cannot be asked");
    ctx.tell_waiters(id.uuid()).await;
    Ok(())
}
