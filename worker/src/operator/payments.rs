//! Payments that a person must look at: what happened to them, and what the person found out at the bank.

use std::sync::Arc;

use anyhow::Context as _;
use clap::Subcommand;
use drop_common::{
    config::{Environment, PaymentsConfig},
    domain::{
        bank_status::BankStatus,
        ids::{PaymentId, UserId},
    },
    metrics::{Metrics, Process, REVISION},
    storage::payments,
};
use sqlx::PgPool;

use super::{By, Output, actions, answers, print};

/// What is done with payments.
#[derive(Debug, Subcommand)]
pub enum PaymentsVerb {
    /// List the payments that wait for a person, the oldest first.
    List {
        /// Only payments behind this one: the last one of the list before.
        #[arg(long)]
        after: Option<PaymentId>,
        /// At most so many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=1000))]
        limit: i64,
        #[command(flatten)]
        output: Output,
    },
    /// List all payments, the newest first.
    Newest {
        /// Only those of this person, `usr_…`.
        #[arg(long)]
        user: Option<UserId>,
        /// Only payments older than this one: the last one of the list before.
        #[arg(long)]
        before: Option<PaymentId>,
        /// At most so many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=1000))]
        limit: i64,
        #[command(flatten)]
        output: Output,
    },
    /// Show how a payment stands, and all that is known to have happened to it.
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
        PaymentsVerb::List { after, limit, output } => {
            print::payments(&payments::in_review(db, after, limit).await?, output.json)
        }
        PaymentsVerb::Newest {
            user,
            before,
            limit,
            output,
        } => print::newest(&payments::newest(db, user, before, limit).await?, output.json),
        PaymentsVerb::Show { id, output } => {
            let told = answers::payment_story(db, id).await?;
            print::payment(&told.with_context(|| format!("there is no payment {id}"))?, output.json)
        }
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
