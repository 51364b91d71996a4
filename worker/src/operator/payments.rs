//! Payments that a person must look at: what happened to them, and what the person found out at the bank.

use std::sync::Arc;

use anyhow::ensure;
use clap::Subcommand;
use drop_common::{
    config::{Environment, PaymentsConfig},
    domain::{bank_status::BankStatus, ids::PaymentId},
    metrics::{Metrics, Process, REVISION},
    storage::payments,
};
use sqlx::PgPool;

use super::{By, Output, actions, print};

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

pub(super) fn final_code(word: &str) -> Result<BankStatus, String> {
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
        } => {
            let metrics = Arc::new(Metrics::new(Process::Worker, env!("CARGO_PKG_VERSION"), REVISION)?);
            actions::payments::settle(db, &metrics, id, bank_status, &by).await?;
            print::changed(1, "payment.settled");
            Ok(())
        }
        PaymentsVerb::Track { id, payment_id, by } => {
            let config = PaymentsConfig::alone(environment)?;
            actions::payments::track(db, &config, id, &payment_id, &by).await?;
            print::changed(1, "payment.tracked");
            Ok(())
        }
        PaymentsVerb::Retry { id, by } => {
            actions::payments::retry(db, &PaymentsConfig::alone(environment)?, id, &by).await?;
            print::changed(1, "payment.retried");
            Ok(())
        }
    }
}

async fn show(db: &PgPool, id: PaymentId, output: &Output) -> anyhow::Result<()> {
    let history = payments::history(db, id).await?;
    ensure!(!history.is_empty(), "there is no payment {id}");
    print::history(&history, output.json)
}
