//! After a restore to a point in time: what happened later is forgotten here, and not at the bank. Until operations have the
//! bank's word on it, no payment is taken on and none is sent.

use std::{io, sync::Arc};

use anyhow::{Context as _, bail, ensure};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clap::Subcommand;
use drop_common::{
    alerts,
    config::{Environment, PaymentsConfig},
    domain::{
        account_number::AccountNumber,
        money::{Amount, Currency},
    },
    metrics::{Metrics, Process, REVISION},
    queue::{AfterCommit, Job as _, Lane, operate, payloads::InitiatePayment},
    storage::{
        self, Tx,
        audit::Actor,
        payments::{self, Here, InDoubt, OrderOfBank},
        row_changes, sessions,
    },
};
use serde_json::{Value, json};
use sqlx::PgPool;
use tracing::warn;

use super::{By, actions, print};
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
    /// Take payments on again. Reads the orders that the bank has had since the time that `close` says from standard input, one a
    /// line: its X-Request-ID, the bank's id of it, amount, currency, and the account that is paid.
    Open {
        /// The bank has had none since then: without this, an empty list is refused as one that got lost.
        #[arg(long)]
        no_orders: bool,
        #[command(flatten)]
        by: By,
    },
}

/// What left some minutes before the moment that was restored may be written here only as it was before that.
const UNDER_WAY: TimeDelta = TimeDelta::minutes(10);

pub(super) async fn operate(environment: &Environment, db: &PgPool, verb: RestoredVerb) -> anyhow::Result<()> {
    match verb {
        RestoredVerb::Close { to, by } => close(db, to, &by).await,
        RestoredVerb::Open { no_orders, by } => {
            let orders = orders(&io::read_to_string(io::stdin())?)?;
            ensure!(
                orders.is_empty() == no_orders,
                "standard input has {} orders; where the bank has none, say --no-orders; nothing was changed",
                orders.len()
            );
            open(db, &PaymentsConfig::alone(environment)?, &orders, &by).await
        }
    }
}

/// All of it or nothing, and the same again when it is repeated.
async fn close(db: &PgPool, to: DateTime<Utc>, by: &By) -> anyhow::Result<()> {
    let mut tx = storage::begin(db).await?;
    // Of a time that was closed already, no list of the bank's has told yet what an earlier restore forgot.
    let earlier = payments::restored_since(&mut tx).await?;
    let in_doubt = payments::in_doubt(&mut tx).await?;
    // Nor has it of a payment that was in doubt before: who is missing in the list is called never arrived.
    let oldest = in_doubt.iter().map(|payment| payment.created_at).min();
    let since = [earlier, oldest].into_iter().flatten().fold(to, DateTime::min) - UNDER_WAY;
    operate::close(&mut tx, Lane::PaymentSend).await?;
    let metrics = Arc::new(Metrics::new(Process::Worker, env!("CARGO_PKG_VERSION"), REVISION)?);
    let mover = Mover {
        metrics: &metrics,
        actor: Actor::Operator,
        request_id: None,
    };
    let mut after = AfterCommit::default();
    for &InDoubt { id, .. } in &in_doubt {
        // Or its person could take it back here, and somebody send it again, while the bank executes it.
        payments::may_have_left_since(&mut tx, id).await?;
        let why = "the database was restored to before its order may have left";
        after.extend(payment_moves::review(&mover, &mut tx, id, "ambiguous", why).await?);
        operate::end(&mut tx, InitiatePayment::KIND, &id.to_string()).await?;
    }
    // Those that were ended since are alive again, and nobody knows which.
    let (in_review, sessions) = (in_doubt.len(), sessions::end_all(&mut tx).await?);
    let found = json!({ "restored_to": to, "orders_since": since, "in_review": in_review, "sessions": sessions });
    note(&mut tx, by, "restored.closed", found).await?;
    after.raise();
    tx.commit().await?;
    after.say();
    print::changed(in_review, "payment.needs_review");
    let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
    print::lines(&[format!("ask the bank for every order since {since}")]);
    Ok(())
}

async fn open(db: &PgPool, config: &PaymentsConfig, orders: &[OrderOfBank], by: &By) -> anyhow::Result<()> {
    let mut tx = storage::begin(db).await?;
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
    let (mut said, mut forgotten, mut tracked, mut conflicts) = (Vec::new(), 0, Vec::new(), Vec::<String>::new());
    for order in orders {
        let OrderOfBank {
            request_id, payment_id, ..
        } = order;
        match payments::compare(&mut tx, order).await? {
            Here::Forgotten if payments::note_forgotten(&mut tx, order).await? => {
                forgotten += 1;
                said.push(format!("forgotten {request_id} {payment_id}"));
            }
            Here::Forgotten | Here::Known => {}
            Here::InDoubt(id) => {
                actions::payments::track_in(&mut tx, config, id, payment_id, by).await?;
                tracked.push(id);
                said.push(format!("tracked {id} {payment_id}"));
            }
            Here::Conflict(of, why) => {
                let of = of.map(|id| format!(", {id}")).unwrap_or_default();
                conflicts.push(format!("{request_id} {payment_id}{of}: {why}"));
            }
        }
    }
    said.extend(conflicts.iter().map(|conflict| format!("conflict {conflict}")));
    let mut not_listed = payments::in_doubt(&mut tx).await?;
    not_listed.retain(|payment| orders.iter().all(|order| order.request_id != payment.request_id));
    said.extend(not_listed.iter().map(|payment| format!("not tracked {}", payment.id)));
    operate::reopen(&mut tx, Lane::PaymentSend).await?;
    let found = json!({
        "listed": orders.len(),
        "forgotten": forgotten,
        "tracked": tracked.len(),
        "not_tracked": not_listed.len(),
        "conflicts": conflicts.len(),
        // Ids and words: what is printed is gone with its terminal.
        "said": said,
    });
    note(&mut tx, by, "restored.opened", found).await?;
    tx.commit().await?;
    print::lines(&said);
    print::changed(forgotten, "order.forgotten");
    print::changed(tracked.len(), "payment.tracked");
    print::changed(conflicts.len(), "order.conflict");
    for conflict in &conflicts {
        alerts::raise(
            &alerts::PAYMENT,
            format_args!("the bank's list after a restore contradicts what is written here: {conflict}"),
        );
    }
    for id in &tracked {
        // Whoever waits for it finds it without this too, later.
        if let Err(error) = row_changes::tell(db, id.uuid()).await {
            warn!(payment.id = %id, "who waits for payment {id} is not told of its change: {error}");
        }
    }
    Ok(())
}

/// An error names the line and quotes nothing of it.
fn orders(list: &str) -> anyhow::Result<Vec<OrderOfBank>> {
    let lines = list
        .lines()
        .map(str::trim)
        .enumerate()
        .filter(|(_, line)| !line.is_empty());
    lines
        .map(|(number, line)| {
            order(line).with_context(|| {
                format!(
                    "line {} is not an X-Request-ID, the bank's id of its order, amount, currency and account; nothing was changed",
                    number + 1
                )
            })
        })
        .collect()
}

fn order(line: &str) -> Option<OrderOfBank> {
    let words: Vec<&str> = line.split_whitespace().collect();
    // An account may be written in groups.
    let [request_id, payment_id, amount, currency, account @ ..] = words.as_slice() else {
        return None;
    };
    let account = account.concat();
    let account = AccountNumber::iban(&account).or_else(|_| AccountNumber::bban(&account));
    let currency: Currency = currency.parse().ok()?;
    (payment_id.len() <= 255).then_some(OrderOfBank {
        request_id: request_id.parse().ok()?,
        payment_id: (*payment_id).to_owned(),
        amount: Amount::parse(amount, currency).ok()?,
        creditor_account_masked: account.ok()?.masked(),
    })
}

async fn note(tx: &mut Tx, by: &By, action: &str, found: Value) -> anyhow::Result<()> {
    let lane = Lane::PaymentSend.name().to_owned();
    actions::note(tx, by, None, action, lane, json!({ "found": found })).await
}
