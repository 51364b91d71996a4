//! Payments that a person must look at: what happened to them, and what the person found out at the bank.

use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use clap::Subcommand;
use drop_common::{
    config::{Environment, PaymentsConfig},
    domain::{bank_status::BankStatus, ids::PaymentId, money::Amount},
    metrics::{Metrics, Process, REVISION},
    queue::{
        EnqueueOptions, enqueue_anew,
        payloads::{InitiatePayment, PollPayment},
    },
    storage::{
        Tx,
        audit::{self, Actor, Entry},
        payments::{self, Locked, Payment},
        row_changes,
    },
};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{By, Output, print};
use crate::jobs::payment_moves::{self, Mover};

/// What is done with payments.
#[derive(Debug, Subcommand)]
pub enum PaymentsVerb {
    /// List the payments that wait for a person, the oldest first.
    List(Output),
    /// Show what happened to a payment.
    Show {
        /// The transaction, `tx_…`.
        id: PaymentId,
        #[command(flatten)]
        output: Output,
    },
    /// End a payment's review with the bank's final word, or with the certainty that it never got there.
    Settle {
        /// The transaction, `tx_…`.
        id: PaymentId,
        /// The bank's final code: ACSC, ACCC, RJCT or CANC.
        #[arg(long, value_parser = final_code, conflicts_with = "never_arrived", required_unless_present = "never_arrived")]
        bank_status: Option<BankStatus>,
        /// The bank has no such payment and will not get one.
        #[arg(long)]
        never_arrived: bool,
        #[command(flatten)]
        by: By,
    },
    /// The bank has the payment under this id and has not ended it: ask it until it does.
    Track {
        /// The transaction, `tx_…`.
        id: PaymentId,
        /// The bank's id of it.
        #[arg(long)]
        payment_id: String,
        #[command(flatten)]
        by: By,
    },
    /// The bank failed on every attempt and has no such payment: send it again, under the same X-Request-ID.
    Retry {
        /// The transaction, `tx_…`.
        id: PaymentId,
        #[command(flatten)]
        by: By,
    },
}

fn final_code(word: &str) -> Result<BankStatus, String> {
    let wanted = || "the final codes are ACSC, ACCC, RJCT and CANC".to_owned();
    let code: BankStatus = word.parse().map_err(|_| wanted())?;
    match code.group() {
        drop_common::domain::bank_status::Group::Final(_) => Ok(code),
        _ => Err(wanted()),
    }
}

pub(super) async fn operate(environment: &Environment, db: &PgPool, verb: PaymentsVerb) -> anyhow::Result<()> {
    match verb {
        PaymentsVerb::List(output) => print::payments(&payments::in_review(db).await?, output.json),
        PaymentsVerb::Show { id, output } => show(db, id, &output).await,
        PaymentsVerb::Settle {
            id, bank_status, by, ..
        } => settle(db, id, bank_status, &by).await,
        PaymentsVerb::Track { id, payment_id, by } => track(db, id, &payment_id, &by).await,
        PaymentsVerb::Retry { id, by } => retry(db, &PaymentsConfig::alone(environment)?, id, &by).await,
    }
}

async fn show(db: &PgPool, id: PaymentId, output: &Output) -> anyhow::Result<()> {
    let history = payments::history(db, id).await?;
    ensure!(!history.is_empty(), "there is no payment {id}");
    print::history(&history, output.json)
}

/// The domain decides what a final word does to the payment, whoever brings it.
async fn settle(db: &PgPool, id: PaymentId, code: Option<BankStatus>, by: &By) -> anyhow::Result<()> {
    let (mut tx, payment) = under_review(db, id).await?;
    let transition = match code {
        Some(code) => payment.state.on_bank_code(code.as_str(), &[]),
        None => payment.state.on_not_sent(),
    };
    let known_there = code.is_none() && payment.payment_id.is_some();
    if known_there || !transition.state.bank_final {
        bail!("the bank is known to have payment {id}: give its final code; nothing was changed");
    }
    let metrics = Arc::new(Metrics::new(Process::Worker, env!("CARGO_PKG_VERSION"), REVISION)?);
    let mover = Mover {
        metrics: &metrics,
        actor: Actor::Operator,
        request_id: None,
    };
    let mut after = payment_moves::apply(&mover, &mut tx, &payment, transition).await?;
    payments::reviewed(&mut tx, id).await?;
    let found = json!({ "bank_status": code.map(BankStatus::as_str), "never_arrived": code.is_none() });
    record(&mut tx, &payment, by, "payment.settled", found).await?;
    after.raise();
    tx.commit().await?;
    after.say();
    row_changes::tell(db, id.uuid()).await?;
    print::changed(1, "payment.settled");
    Ok(())
}

async fn track(db: &PgPool, id: PaymentId, payment_id: &str, by: &By) -> anyhow::Result<()> {
    ensure!(
        !payment_id.is_empty() && payment_id.len() <= 255,
        "that is no id of a payment"
    );
    let (mut tx, payment) = under_review(db, id).await?;
    match payments::found_at_bank(&mut tx, id, payment_id).await {
        Ok(true) => {}
        Ok(false) => bail!("the bank has payment {id} under another id; nothing was changed"),
        Err(error) if error.violates(payments::ONE_PAYMENT_OF_AN_ID) => {
            bail!("another payment has that id; nothing was changed")
        }
        // Its text names the kind of the failure and quotes no row.
        Err(error) => bail!("that could not be written: {error}; nothing was changed"),
    }
    enqueue_anew(&mut tx, &PollPayment { payment: id }, EnqueueOptions::default()).await?;
    record(
        &mut tx,
        &payment,
        by,
        "payment.tracked",
        json!({ "payment_id": payment_id }),
    )
    .await?;
    tx.commit().await?;
    row_changes::tell(db, id.uuid()).await?;
    print::changed(1, "payment.tracked");
    Ok(())
}

/// What follows is what follows a new order: at most four attempts within the time for that, and every check before each. It
/// counts towards the limit of the day on which it is sent. What is held for it has been since it was asked for.
async fn retry(db: &PgPool, config: &PaymentsConfig, id: PaymentId, by: &By) -> anyhow::Result<()> {
    let (mut tx, payment) = under_review(db, id).await?;
    let currency = payment.currency.parse()?;
    let limits = config
        .limits_in(currency)
        .context("payments are not made in its currency")?;
    let paid_today = payments::paid_today_beside(&mut tx, &payment).await?;
    if let Err(limit) = limits.check(Amount::new(payment.amount, currency), paid_today) {
        bail!("payment {id} cannot be sent today: {limit}; nothing was changed");
    }
    if !payments::may_be_sent_again(&mut tx, id, payments::SEND_WITHIN).await? {
        bail!("payment {id} is with the bank, may be, or is not wanted any more; nothing was changed");
    }
    let options = EnqueueOptions {
        expires_in: Some(payments::SEND_WITHIN),
        ..EnqueueOptions::default()
    };
    enqueue_anew(&mut tx, &InitiatePayment { payment: id }, options).await?;
    let under = json!({ "x_request_id": payment.idempotency_key });
    record(&mut tx, &payment, by, "payment.retried", under).await?;
    tx.commit().await?;
    row_changes::tell(db, id.uuid()).await?;
    print::changed(1, "payment.retried");
    Ok(())
}

/// Locks a payment that waits for a person; any other is left alone.
async fn under_review(db: &PgPool, id: PaymentId) -> anyhow::Result<(Tx, Payment)> {
    let mut tx = db.begin().await?;
    let locked = payments::lock(&mut tx, id).await?;
    let Locked { payment, .. } = locked.with_context(|| format!("there is no payment {id}"))?;
    if !payment.needs_review || payment.state.bank_final {
        bail!("payment {id} does not wait for a person; nothing was changed");
    }
    Ok((tx, payment))
}

async fn record(tx: &mut Tx, payment: &Payment, by: &By, action: &str, found: Value) -> anyhow::Result<()> {
    let entry = Entry {
        actor: Actor::Operator,
        user: Some(payment.user),
        action,
        object: payment.id.to_string(),
        detail: json!({ "operator": by.operator, "reason": by.reason, "found": found }),
        request_id: None,
    };
    Ok(audit::record(tx, entry).await?)
}
