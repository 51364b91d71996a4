//! The bank has the payment: what is stored of its answer, and who is told where that cannot be or may be half of the truth.

use std::time::Duration;

use drop_common::{
    alerts,
    domain::{ids::PaymentId, payment_status::PaymentAlert},
    failpoint,
    providers::neonomics::{InitiatedPayment, ScaLink},
    queue::{
        EnqueueOptions, JobError, Lane, Lease, Outcome, Verdict, enqueue_with,
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

/// The bank has the payment: its id and link are stored with the first poll, in one transaction. Its person waits for that
/// alone; that this job is done is recorded afterwards, with others. Should it be run again, it finds nothing to do.
pub(super) async fn accepted(
    ctx: &Context,
    lease: &Lease,
    mut moving: Moving<'_>,
    attempt: i64,
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
    let word = moving.only_a_word(initiated.status.as_deref());
    let taken = payments::Taken {
        attempt,
        payment_id: &initiated.payment_id,
        sca_redirect: link,
        sca_timeout: patience,
        authorise,
        bank_status: word,
        request_id: lease.request_id(),
    };
    let Initiated { version, failed_before } = payments::initiated(&mut moving.tx, &moving.payment, taken).await?;
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
    let options = EnqueueOptions {
        delay: Duration::from_secs(1),
        ..EnqueueOptions::caused_by(lease.request_id())
    };
    enqueue_with(&mut moving.tx, &PollPayment { payment: id }, options).await?;
    if let Some(code) = &initiated.status {
        moving.hear(Some(code)).await?;
    }
    if link.is_some() {
        tell_of_the_link(&mut moving).await?;
    }
    failpoint!("pay.result");
    info!(payment.id = %id, "payment {id} is at the bank and waits for the person's approval");
    moving.commit_and_tell().await?;
    failpoint!("pay.recorded");
    if authorise {
        ctx.wake.signal(Lane::PaymentSend);
    }
    Ok(Outcome::Done.into())
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
/// that an attempt has no outcome; a person can go on with what is said here.
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
