//! After a restore to a point in time: what happened later is forgotten here, and not at the bank. Until operations have the
//! bank's word on it, no payment is taken on and none is sent.

use std::{io, sync::Arc};

use anyhow::{Context as _, bail, ensure};
use chrono::{DateTime, Utc};
use clap::Subcommand;
use drop_common::{
    metrics::{Metrics, Process, REVISION},
    queue::{AfterCommit, Job as _, Lane, operate, payloads::InitiatePayment},
    storage::{
        Tx,
        audit::{self, Actor, Entry},
        payments::{self, ForgottenOrder},
        sessions,
    },
};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{By, print};
use crate::jobs::payment_moves::{self, Mover};

/// What is done after a restore.
#[derive(Debug, Subcommand)]
pub enum RestoredVerb {
    /// Before any process of the service runs on the restored database: no payment is taken on or sent, payments that the bank may
    /// have wait for a person, and every session is over.
    Close {
        /// The moment that was restored, as 2026-03-01T12:00:00Z.
        #[arg(long)]
        to: DateTime<Utc>,
        #[command(flatten)]
        by: By,
    },
    /// Take payments on again. Reads the orders that the bank has had since some minutes before the moment that was restored from
    /// standard input, one a line: its X-Request-ID and the bank's id of it.
    Open {
        /// The bank has had none since then: without this, an empty list is refused as one that got lost.
        #[arg(long)]
        no_orders: bool,
        #[command(flatten)]
        by: By,
    },
}

pub(super) async fn operate(db: &PgPool, verb: RestoredVerb) -> anyhow::Result<()> {
    match verb {
        RestoredVerb::Close { to, by } => close(db, to, &by).await,
        RestoredVerb::Open { no_orders, by } => {
            let orders = orders(&io::read_to_string(io::stdin())?)?;
            ensure!(
                orders.is_empty() == no_orders,
                "standard input has {} orders; where the bank has none, say --no-orders; nothing was changed",
                orders.len()
            );
            open(db, &orders, &by).await
        }
    }
}

/// All of it or nothing, and the same again when it is repeated.
async fn close(db: &PgPool, to: DateTime<Utc>, by: &By) -> anyhow::Result<()> {
    let mut tx = db.begin().await?;
    operate::close(&mut tx, Lane::PaymentSend).await?;
    let metrics = Arc::new(Metrics::new(Process::Worker, env!("CARGO_PKG_VERSION"), REVISION)?);
    let mover = Mover {
        metrics: &metrics,
        actor: Actor::Operator,
        request_id: None,
    };
    let (mut after, mut in_review) = (AfterCommit::default(), 0);
    for id in payments::not_known_at_bank(&mut tx).await? {
        // Or its person could take it back here, and somebody send it again, while the bank executes it.
        payments::may_have_left_since(&mut tx, id).await?;
        let why = "the database was restored to before its order may have left";
        after.extend(payment_moves::review(&mover, &mut tx, id, "ambiguous", why).await?);
        operate::end(&mut tx, InitiatePayment::KIND, &id.to_string()).await?;
        in_review += 1;
    }
    // Those that were ended since are alive again, and nobody knows which.
    let sessions = sessions::end_all(&mut tx).await?;
    let found = json!({ "restored_to": to, "in_review": in_review, "sessions": sessions });
    record(&mut tx, by, "restored.closed", found).await?;
    after.raise();
    tx.commit().await?;
    after.say();
    print::changed(in_review, "payment.needs_review");
    Ok(())
}

async fn open(db: &PgPool, orders: &[ForgottenOrder], by: &By) -> anyhow::Result<()> {
    let mut tx = db.begin().await?;
    match operate::closed_for(&mut tx, Lane::PaymentSend).await? {
        None => bail!("payments are not closed; nothing was changed"),
        // What leaves at the last moment and what the bank is still at is in no list of before.
        Some(closed) if closed < payments::SEND_WITHIN => {
            let left = payments::SEND_WITHIN.saturating_sub(closed).as_secs();
            bail!(
                "the bank may still be at what was sent last: ask it for its orders in {left} s; nothing was changed"
            );
        }
        Some(_) => {}
    }
    let mut forgotten = 0;
    for order in orders {
        if payments::note_forgotten(&mut tx, order).await? {
            forgotten += 1;
            print::forgotten(order);
        }
    }
    operate::reopen(&mut tx, Lane::PaymentSend).await?;
    let found = json!({ "listed": orders.len(), "forgotten": forgotten });
    record(&mut tx, by, "restored.opened", found).await?;
    tx.commit().await?;
    print::changed(forgotten, "order.forgotten");
    Ok(())
}

fn orders(list: &str) -> anyhow::Result<Vec<ForgottenOrder>> {
    let lines = list
        .lines()
        .map(str::trim)
        .enumerate()
        .filter(|(_, line)| !line.is_empty());
    lines
        .map(|(number, line)| {
            let said = || {
                format!(
                    "line {} is not an X-Request-ID and the bank's id of its order",
                    number + 1
                )
            };
            let (request_id, payment_id) = line.split_once(char::is_whitespace).with_context(said)?;
            let payment_id = payment_id.trim();
            ensure!(
                !payment_id.contains(char::is_whitespace) && payment_id.len() <= 255,
                said()
            );
            Ok(ForgottenOrder {
                request_id: request_id.parse().with_context(said)?,
                payment_id: payment_id.to_owned(),
            })
        })
        .collect()
}

async fn record(tx: &mut Tx, by: &By, action: &str, found: Value) -> anyhow::Result<()> {
    let entry = Entry {
        actor: Actor::Operator,
        user: None,
        action,
        object: Lane::PaymentSend.name().to_owned(),
        detail: json!({ "operator": by.operator, "reason": by.reason, "found": found }),
        request_id: None,
    };
    Ok(audit::record(tx, entry).await?)
}
