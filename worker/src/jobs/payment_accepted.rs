//! The bank has the payment: what is stored of its answer, and who is told where that cannot be or may be half of the truth.

use std::time::Duration;

use drop_common::{
    alerts,
    domain::{
        bank_status::BankStatus,
        ids::PaymentId,
        payment_status::{PaymentAlert, PaymentState},
    },
    failpoint,
    providers::neonomics::{InitiatedPayment, ScaLink},
    queue::{
        EnqueueOptions, JobError, Lane, Lease, NewJob, Outcome, Verdict, enqueue_with,
        payloads::{PollPayment, StartAuthorisation},
    },
    storage::{
        notifications::{self, Message},
        payments::{self, Initiated, Payment},
    },
};
use serde_json::json;
use tracing::info;
use uuid::Uuid;

use super::payment_moves::Moving;
use crate::context::Context;

/// The bank has the payment: its id and link are stored with the first poll, in one statement where there is nothing more to
/// say of it, else in one transaction. Its person waits for that alone; that this job is done is recorded afterwards, with
/// others. Should it be run again, it finds nothing to do.
pub(super) async fn accepted(
    ctx: &Context,
    lease: &Lease,
    payment: &Payment,
    attempt: i64,
    initiated: &InitiatedPayment,
) -> Result<Verdict, JobError> {
    if !accepted_at_once(ctx, lease, payment, attempt, initiated).await? {
        accepted_with_more(ctx, lease, payment.id, attempt, initiated).await?;
    }
    info!(payment.id = %payment.id, "payment {} is at the bank and waits for the person's approval", payment.id);
    ctx.tell_waiters(payment.id.uuid()).await;
    failpoint!("pay.recorded");
    if initiated.sca == ScaLink::StartAuthorisation {
        ctx.wake.signal(Lane::PaymentSend);
    }
    Ok(Outcome::Done.into())
}

/// A link, and nothing else to tell: so it is with nearly every payment. False, with nothing written, where it is not so, the
/// payment has changed since it was sent, or the lease is over.
async fn accepted_at_once(
    ctx: &Context,
    lease: &Lease,
    payment: &Payment,
    attempt: i64,
    initiated: &InitiatedPayment,
) -> Result<bool, JobError> {
    let ScaLink::Redirect(link) = &initiated.sca else {
        return Ok(false);
    };
    let word = only_a_word(ctx, payment.state, initiated.status.as_deref());
    let is_plain = !payment.was_sent_again() && word.is_some() == initiated.status.is_some();
    if !is_plain {
        return Ok(false);
    }
    failpoint!("pay.result");
    let taken = payments::Taken {
        attempt,
        payment_id: &initiated.payment_id,
        sca_redirect: Some(link.as_str()),
        sca_timeout: ctx.settings.payments.sca_timeout,
        authorise: false,
        bank_status: word,
        request_id: lease.request_id(),
        poll: &first_poll(lease, payment.id)?,
    };
    Ok(payments::initiated(&ctx.db, Some(lease), payment, taken)
        .await?
        .is_some())
}

/// The first look at it, once the bank has had a moment.
fn first_poll(lease: &Lease, payment: PaymentId) -> Result<NewJob, JobError> {
    let options = EnqueueOptions {
        delay: Duration::from_secs(1),
        ..EnqueueOptions::caused_by(lease.request_id())
    };
    Ok(NewJob::of(&PollPayment { payment }, options)?)
}

async fn accepted_with_more(
    ctx: &Context,
    lease: &Lease,
    id: PaymentId,
    attempt: i64,
    initiated: &InitiatedPayment,
) -> Result<(), JobError> {
    let mut moving = Moving::begin(ctx, lease, id).await?;
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
    let word = only_a_word(ctx, moving.payment.state, initiated.status.as_deref());
    let taken = payments::Taken {
        attempt,
        payment_id: &initiated.payment_id,
        sca_redirect: link,
        sca_timeout: patience,
        authorise,
        bank_status: word,
        request_id: lease.request_id(),
        poll: &first_poll(lease, id)?,
    };
    let stored = payments::initiated(&mut *moving.tx, None, &moving.payment, taken).await?;
    let Initiated { version, failed_before } =
        stored.ok_or_else(|| JobError::Failed("the payment has changed under its lock".into()))?;
    if let Some(version) = version {
        moving.payment.payment_id = Some(initiated.payment_id.clone());
        moving.payment.state.bank_status = word.or(moving.payment.state.bank_status);
        moving.payment.version = version;
        if failed_before {
            after_a_failure(ctx, &mut moving, &initiated.payment_id).await?;
        }
    }
    if authorise {
        let options = EnqueueOptions::caused_by(lease.request_id());
        enqueue_with(&mut moving.tx, &StartAuthorisation { payment: id }, options).await?;
    }
    if let Some(code) = &initiated.status {
        moving.hear(Some(code)).await?;
    }
    if link.is_some() {
        tell_of_the_link(&mut moving).await?;
    }
    failpoint!("pay.result");
    moving.commit().await
}

/// The bank's word, where taking it changes nothing else about the payment.
fn only_a_word(ctx: &Context, now: PaymentState, word: Option<&str>) -> Option<BankStatus> {
    let next = now.on_bank_code(word?, &ctx.provisional()).state;
    let alone = PaymentState {
        bank_status: next.bank_status,
        ..now
    };
    // An order that was accepted with a change is to be read, which `set_state` sees to.
    let is_alone = next == alone && next.bank_status != Some(BankStatus::AcceptedWithChange);
    is_alone.then_some(next.bank_status).flatten()
}

/// The link is there. Whoever asked for the payment waits for it; but operations had this one sent again, later. Nobody need
/// come where the bank wants no approval any more.
pub(super) async fn tell_of_the_link(moving: &mut Moving<'_>) -> Result<(), JobError> {
    let payment = &moving.payment;
    let is_awaited = payment.state.is_processing() && payment.state.is_early();
    if !payment.was_sent_again() || !is_awaited {
        return Ok(());
    }
    let message = Message {
        user: payment.user,
        kind: "payment",
        title: "Betalingen venter på deg",
        body: "Den er sendt til banken på nytt. Godkjenn den der nå.",
        subject: format!("{}:approve", payment.id),
    };
    Ok(notifications::tell(&mut moving.tx, message).await?)
}

/// An earlier attempt was answered with 500, 502 or 503, and a bank that does not deduplicate may have made a payment of
/// that one too. Nobody has its link, so nobody can approve it; whether it is there, only the bank can say, and operations
/// are told what to ask it for.
async fn after_a_failure(ctx: &Context, moving: &mut Moving<'_>, payment_id: &str) -> Result<(), JobError> {
    let request_id = moving.payment.idempotency_key;
    if ctx.settings.neonomics.dedupe_proven {
        return Ok(());
    }
    let word = PaymentAlert::AcceptedAfterFailure.as_str();
    moving.alert(format!("{word}: X-Request-ID {request_id}, paymentId {payment_id}"));
    let detail = json!({ "x_request_id": request_id, "payment_id": payment_id });
    moving.audit("payment.accepted_after_failure", detail).await
}

/// The bank's id of a payment while only this process knows it. Dropped before it is stored, it is told to operations: also
/// where the handler is cancelled, at the end of its lease or of the process. Whoever takes the job over knows no more than
/// that an attempt has no outcome; a person can go on with what is said here. Cut off while it is being stored, it may be told
/// although it was.
pub(super) struct OnlyHere {
    id: PaymentId,
    request_id: Uuid,
    payment_id: String,
    is_stored: bool,
}

impl OnlyHere {
    pub(super) fn new(payment: &Payment, initiated: &InitiatedPayment) -> Self {
        Self {
            id: payment.id,
            request_id: payment.idempotency_key,
            payment_id: initiated.payment_id.clone(),
            is_stored: false,
        }
    }

    /// It was to be recorded, and this came of it.
    pub(super) async fn recorded<T>(mut self, ctx: &Context, came: &Result<T, JobError>) {
        self.is_stored = match came {
            Ok(_) => true,
            // Of a commit whose answer was lost it is known only afterwards that it was done.
            Err(JobError::LeaseLost) => {
                let now = payments::find(&ctx.db, self.id).await.ok().flatten();
                now.and_then(|now| now.payment_id).as_ref() == Some(&self.payment_id)
            }
            Err(JobError::Storage(_) | JobError::Failed(_)) => false,
        };
    }
}

impl Drop for OnlyHere {
    fn drop(&mut self) {
        if !self.is_stored {
            let (
                word,
                Self {
                    id,
                    request_id,
                    payment_id,
                    ..
                },
            ) = (PaymentAlert::NotRecorded.as_str(), self);
            alerts::raise(
                &alerts::PAYMENT,
                format_args!("{id}, {word}: X-Request-ID {request_id}, paymentId {payment_id}"),
            );
        }
    }
}
