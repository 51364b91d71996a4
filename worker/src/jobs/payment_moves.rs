//! One way to move a payment: the row, its audit entry and its notification, in the caller's transaction.

use drop_common::{
    domain::{
        bank_status::BankStatus,
        payment_status::{FailureReason, PaymentStatus, Transition},
    },
    metrics::PISP_PAYMENT_FAILURES,
    storage::{
        StorageError, Tx,
        audit::{self, Actor, Entry},
        notifications::{self, Message},
        payments::{self, Payment},
    },
};
use serde_json::json;
use tracing::{error, info};
use uuid::Uuid;

use crate::context::Context;

/// Writes what the domain decided. False: nothing changed, or somebody else moved the payment first.
pub(super) async fn apply(
    ctx: &Context,
    tx: &mut Tx,
    request_id: Option<Uuid>,
    payment: &Payment,
    transition: Transition,
) -> Result<bool, StorageError> {
    if let Some(alert) = transition.alert {
        error!(target: "alert", payment_id = %payment.id, "payment {}: {}", payment.id, alert.as_str());
    }
    if !transition.changed || !payments::set_state(tx, payment, &transition.state).await? {
        return Ok(false);
    }
    let state = transition.state;
    let detail = json!({
        "from": payment.state.status.as_str(),
        "to": state.status.as_str(),
        "reason": state.reason.map(FailureReason::as_str),
        "bank_status": state.bank_status.map(BankStatus::as_str),
        "bank_final": state.bank_final,
    });
    audit(tx, request_id, payment, "payment.moved", detail).await?;
    if transition.status_changed {
        tell(tx, payment, state.status).await?;
        if state.status == PaymentStatus::Failed {
            ctx.metrics.count(&PISP_PAYMENT_FAILURES, &[label(state.reason)]);
        }
        info!(payment.id = %payment.id, "payment {} is {}", payment.id, state.status.as_str());
    }
    Ok(true)
}

/// One audit row about a payment.
pub(super) async fn audit(
    tx: &mut Tx,
    request_id: Option<Uuid>,
    payment: &Payment,
    action: &str,
    detail: serde_json::Value,
) -> Result<(), StorageError> {
    let entry = Entry {
        actor: Actor::Worker,
        user: Some(payment.user),
        action,
        object: payment.id.to_string(),
        detail,
        request_id,
    };
    audit::record(tx, entry).await
}

/// Money may have moved and we cannot know, or the bank does not settle it: the row stays as it is and a person looks at
/// it. `label` is the metric's.
pub(super) async fn review(
    ctx: &Context,
    tx: &mut Tx,
    request_id: Option<Uuid>,
    payment: &Payment,
    label: &'static str,
    why: &str,
) -> Result<(), StorageError> {
    if payments::needs_review(tx, payment.id).await? {
        audit(tx, request_id, payment, "payment.needs_review", json!({ "why": why })).await?;
        error!(target: "alert", payment_id = %payment.id, "payment {} needs review: {why}", payment.id);
        ctx.metrics.count(&PISP_PAYMENT_FAILURES, &[label]);
    }
    Ok(())
}

/// The label of the metric, from operations' closed list.
fn label(reason: Option<FailureReason>) -> &'static str {
    match reason {
        Some(FailureReason::NotSent | FailureReason::KycRequired) => "not_sent",
        Some(FailureReason::ScaTimeout) => "sca_timeout",
        Some(
            FailureReason::BankRejected
            | FailureReason::RateLimited
            | FailureReason::Refused
            | FailureReason::ConsentExpired,
        )
        | None => "rejected",
    }
}

/// One notification for each status that the person sees.
async fn tell(tx: &mut Tx, payment: &Payment, status: PaymentStatus) -> Result<(), StorageError> {
    let (title, body) = match status {
        PaymentStatus::Processing => return Ok(()),
        PaymentStatus::Completed => ("Betalingen er fullført", ""),
        PaymentStatus::Cancelled => ("Betalingen er avbrutt", ""),
        PaymentStatus::Failed if payment.payment_id.is_some() => (
            "Betalingen er ikke bekreftet",
            "Ikke betal på nytt før vi har hørt fra banken.",
        ),
        PaymentStatus::Failed => ("Betalingen ble ikke gjennomført", "Prøv igjen."),
    };
    let subject = format!("{}:{}", payment.id, status.as_str());
    let message = Message {
        user: payment.user,
        kind: "payment",
        title,
        body,
        subject,
    };
    notifications::tell(tx, message).await
}
