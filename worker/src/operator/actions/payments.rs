//! Ending a payment's review: with the bank's word, with its id there, or by sending it again.

use std::sync::Arc;

use anyhow::Context as _;
use drop_common::{
    config::PaymentsConfig,
    domain::{bank_status::BankStatus, ids::PaymentId, money::Amount},
    metrics::Metrics,
    queue::{
        EnqueueOptions, enqueue_anew,
        payloads::{InitiatePayment, PollPayment},
    },
    storage::{
        self, Tx,
        audit::Actor,
        payments::{self, Locked, Payment},
        row_changes,
    },
};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{By, Change, record, refusal};
use crate::jobs::payment_moves::{self, Mover};

/// The domain decides what a final word does to the payment, whoever brings it.
pub(crate) async fn settle(
    db: &PgPool,
    metrics: &Arc<Metrics>,
    id: PaymentId,
    code: Option<BankStatus>,
    by: &By,
) -> anyhow::Result<()> {
    let mut tx = storage::begin(db).await?;
    let payment = under_review(&mut tx, id).await?;
    let transition = match code {
        Some(code) => payment.state.on_bank_code(code.as_str(), &[]),
        None => payment.state.on_not_sent(),
    };
    let known_there = code.is_none() && payment.payment_id.is_some();
    if known_there || !transition.state.bank_final {
        return Err(refusal(format!(
            "the bank is known to have payment {id}: give its final code"
        )));
    }
    let mover = Mover {
        metrics,
        actor: Actor::Operator,
        request_id: None,
    };
    let mut after = payment_moves::apply(&mover, &mut tx, &payment, transition).await?;
    payments::reviewed(&mut tx, id).await?;
    let found = json!({ "bank_status": code.map(BankStatus::as_str), "never_arrived": code.is_none() });
    let settled = json!({ "status": transition.state.status.as_str(), "needs_review": false });
    record(&mut tx, by, change("payment.settled", &payment, settled, &found)).await?;
    after.raise();
    tx.commit().await?;
    after.say();
    row_changes::tell(db, id.uuid()).await?;
    Ok(())
}

/// The bank has the payment under this id and has not ended it: it is asked until it does.
pub(crate) async fn track(
    db: &PgPool,
    config: &PaymentsConfig,
    id: PaymentId,
    payment_id: &str,
    by: &By,
) -> anyhow::Result<()> {
    let payment_id = payment_id.trim();
    let is_of_one_word = !payment_id
        .chars()
        .any(|letter| letter.is_whitespace() || letter.is_control());
    if payment_id.is_empty() || payment_id.len() > 255 || !is_of_one_word {
        return Err(refusal("that is no id of a payment"));
    }
    let mut tx = storage::begin(db).await?;
    track_in(&mut tx, config, id, payment_id, by).await?;
    tx.commit().await?;
    row_changes::tell(db, id.uuid()).await?;
    Ok(())
}

/// The same in a transaction of the caller's.
pub(crate) async fn track_in(
    tx: &mut Tx,
    config: &PaymentsConfig,
    id: PaymentId,
    payment_id: &str,
    by: &By,
) -> anyhow::Result<()> {
    let payment = under_review(tx, id).await?;
    match payments::found_at_bank(tx, id, payment_id, config.sca_timeout).await {
        Ok(true) => {}
        Ok(false) => return Err(refusal(format!("the bank has payment {id} under another id"))),
        Err(error) if error.violates(payments::ONE_PAYMENT_OF_AN_ID) => {
            return Err(refusal("another payment has that id"));
        }
        // Its text names the kind of the failure and quotes no row.
        Err(error) => return Err(refusal(format!("that could not be written: {error}"))),
    }
    enqueue_anew(tx, &PollPayment { payment: id }, EnqueueOptions::default()).await?;
    let found = json!({ "payment_id": payment_id });
    let tracked = json!({ "status": payment.state.status.as_str(), "needs_review": false });
    record(tx, by, change("payment.tracked", &payment, tracked, &found)).await
}

/// What follows is what follows a new order: at most four attempts within the time for that, and every check before each. It
/// counts towards the limit of the day on which it is sent. What is held for it has been since it was asked for.
pub(crate) async fn retry(db: &PgPool, config: &PaymentsConfig, id: PaymentId, by: &By) -> anyhow::Result<()> {
    let mut tx = storage::begin(db).await?;
    let payment = under_review(&mut tx, id).await?;
    let currency = payment.currency.parse()?;
    let limits = config
        .limits_in(currency)
        .context("payments are not made in its currency")?;
    let paid_today = payments::paid_today_beside(&mut tx, &payment).await?;
    if let Err(limit) = limits.check(Amount::new(payment.amount, currency), paid_today) {
        return Err(refusal(format!("payment {id} cannot be sent today: {limit}")));
    }
    if !payments::may_be_sent_again(&mut tx, id, payments::SEND_WITHIN).await? {
        return Err(refusal(format!(
            "payment {id} is with the bank, may be, or is not wanted any more"
        )));
    }
    let options = EnqueueOptions {
        expires_in: Some(payments::SEND_WITHIN),
        ..EnqueueOptions::default()
    };
    enqueue_anew(&mut tx, &InitiatePayment { payment: id }, options).await?;
    let under = json!({ "x_request_id": payment.idempotency_key });
    let retried = json!({ "status": payment.state.status.as_str(), "needs_review": false });
    record(&mut tx, by, change("payment.retried", &payment, retried, &under)).await?;
    tx.commit().await?;
    row_changes::tell(db, id.uuid()).await?;
    Ok(())
}

/// Locks a payment that waits for a person; any other is left alone.
async fn under_review(tx: &mut Tx, id: PaymentId) -> anyhow::Result<Payment> {
    let locked = payments::lock(tx, id).await?;
    let Locked { payment, .. } = locked.ok_or_else(|| refusal(format!("there is no payment {id}")))?;
    if !payment.needs_review || payment.state.bank_final {
        return Err(refusal(format!("payment {id} does not wait for a person")));
    }
    Ok(payment)
}

fn change<'a>(action: &'a str, payment: &Payment, after: Value, found: &Value) -> Change<'a> {
    let state = &payment.state;
    Change {
        action,
        object: payment.id.to_string(),
        user: Some(payment.user),
        before: json!({
            "status": state.status.as_str(),
            "bank_status": state.bank_status.map(BankStatus::as_str),
            "needs_review": payment.needs_review,
        }),
        after,
        more: json!({ "found": found }),
    }
}
