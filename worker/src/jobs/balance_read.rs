//! One read of a balance, whoever wants it: entered into the ledger and committed, made, and its outcome written.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use drop_common::{
    alerts,
    domain::{
        account::{self, ReportedBalance},
        ids::AccountId,
        money::{Amount, Currency},
    },
    metrics::{BALANCE_READS, Metrics},
    providers::{
        Class, ProviderError,
        neonomics::{Balance, CallContext, Psu},
    },
    queue::{AfterCommit, JobError, Lease},
    resilience::breaker::BreakerKey,
    storage::{
        Tx, accounts,
        audit::Actor,
        balance_reads::{self, Begun, LIMITED, ToRead, Why},
    },
};
use secrecy::ExposeSecret;
use tracing::warn;
use uuid::Uuid;

use super::consent_moves;
use crate::context::Context;

/// How long an account is left alone after too many reads, where the bank names no time.
const BACK_OFF: Duration = Duration::from_hours(24);
/// The longest pause that a bank can ask for.
const LONGEST_BACK_OFF: Duration = Duration::from_hours(7 * 24);

/// What became of the wish to read.
pub(super) enum Asked {
    /// The bank was asked; the outcome is to be recorded.
    Answered(Answered),
    /// The account is not linked, or its consent is not live.
    NotLive,
    /// Another read of the account is under way.
    Busy,
    /// Nothing was sent; an unattended read may leave at this time.
    Full(DateTime<Utc>),
}

/// A call that was made.
pub(super) struct Answered {
    read: ToRead,
    attended: bool,
    answer: Result<Vec<Balance>, ProviderError>,
    metrics: Arc<Metrics>,
}

/// A read whose outcome is written.
pub(super) struct Recorded {
    /// The cache is fresh.
    pub(super) fresh: bool,
    /// What is counted once that is committed.
    pub(super) after: AfterCommit,
}

/// Reads the balance. With a person it is attended; `otherwise` says what it is without one.
pub(super) async fn ask(
    ctx: &Context,
    lease: &Lease,
    account: AccountId,
    psu: Option<Psu>,
    otherwise: Why,
) -> Result<Asked, JobError> {
    // Banks count by the address: where ours is not sent, nobody is there.
    let psu = psu.filter(|psu| psu.ip.is_ipv4() || ctx.settings.neonomics.send_ip_v6);
    let why = if psu.is_some() { Why::OwnerIsThere } else { otherwise };
    let mut tx = lease.begin(&ctx.db).await?;
    let read = match balance_reads::begin(&mut tx, &ctx.keys, account, why).await? {
        Begun::Read(read) => *read,
        Begun::NotLive => return Ok(Asked::NotLive),
        Begun::Busy => return Ok(Asked::Busy),
        Begun::Full(until) => return Ok(Asked::Full(until)),
    };
    tx.commit().await?;
    if lease.has_ended() {
        return Err(JobError::LeaseLost);
    }
    let call = CallContext {
        request_id: Uuid::new_v4(),
        correlation_id: lease.request_id(),
        psu,
        now: ctx.clock.now(),
        not_after: Some(lease.deadline()),
    };
    let answer = ctx
        .neonomics
        .balances(&read.resource_id, read.consent_id.expose_secret(), &call)
        .await;
    ctx.report(lease, BreakerKey::NeonomicsAisp, answer.as_ref().err())
        .await;
    Ok(Asked::Answered(Answered {
        read,
        attended: why == Why::OwnerIsThere,
        answer,
        metrics: Arc::clone(&ctx.metrics),
    }))
}

impl Answered {
    /// Writes the outcome: the new balance, or that there is none.
    pub(super) async fn record(self, tx: &mut Tx, lease: &Lease) -> Result<Recorded, JobError> {
        let Self {
            read,
            attended,
            answer,
            metrics,
        } = self;
        let outcome = match answer {
            Ok(balances) => {
                if let Some(balance) = shown(&balances, &read.currency) {
                    store(tx, &read, balance).await?;
                    "read"
                } else {
                    accounts::read_failed(tx, read.account).await?;
                    "no_balance"
                }
            }
            Err(error) => {
                failed(tx, lease, &read, &error).await?;
                match error.class() {
                    Class::Limited => LIMITED,
                    class => class.as_str(),
                }
            }
        };
        balance_reads::end(tx, read.entry, outcome).await?;
        let mut after = AfterCommit::default();
        after.add(move || {
            let attended = if attended { "true" } else { "false" };
            metrics.count(&BALANCE_READS, &[outcome, attended]);
        });
        Ok(Recorded {
            fresh: outcome == "read",
            after,
        })
    }
}

async fn store(tx: &mut Tx, read: &ToRead, balance: ReportedBalance) -> Result<(), JobError> {
    let cached = accounts::Balance {
        amount: balance.amount.minor,
        balance_type: balance.kind.as_str(),
        at: balance.changed_at,
    };
    Ok(accounts::store_balance(tx, read.account, cached, read.started_at).await?)
}

/// The cache stays. Asking again at once would only use up the reads that are left.
async fn failed(tx: &mut Tx, lease: &Lease, read: &ToRead, error: &ProviderError) -> Result<(), JobError> {
    warn!(account.id = %read.account, "the balance of {} was not read: {error}", read.account);
    if error.needs_ops() {
        alerts::raise(&alerts::BANK_REFUSES_US, format_args!("{}, {error}", read.account));
    }
    match error.class() {
        Class::Expired => return consent_moves::bury(tx, lease, Actor::Provider, read.consent, error.code()).await,
        Class::Limited => {
            let pause = error.retry_after().unwrap_or(BACK_OFF).min(LONGEST_BACK_OFF);
            accounts::back_off(tx, read.account, pause).await?;
        }
        Class::NotSent | Class::Transient | Class::Refused | Class::CircuitOpen | Class::Ambiguous => {}
    }
    Ok(accounts::read_failed(tx, read.account).await?)
}

/// The entry to show; what cannot be read exactly is left out, never rounded. `None` keeps the cache.
fn shown(balances: &[Balance], currency: &str) -> Option<ReportedBalance> {
    let readable = balances.iter().filter_map(|balance| {
        let currency: Currency = balance.currency.parse().ok()?;
        Some(ReportedBalance {
            kind: balance.kind.parse().ok()?,
            amount: Amount::parse(&balance.amount, currency).ok()?,
            credit_limit_included: balance.credit_limit_included.unwrap_or(false),
            changed_at: balance
                .last_change
                .as_deref()
                .and_then(|at| DateTime::parse_from_rfc3339(at).ok())
                .map(|at| at.with_timezone(&Utc)),
        })
    });
    account::select(&readable.collect::<Vec<_>>(), currency.parse().ok()?)
}
