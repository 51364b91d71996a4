//! One read of a balance, whoever wants it: entered into the ledger and committed, made, and its outcome written.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use drop_common::{
    domain::{
        account::{self, BACKGROUND_INTERVAL, CALL_DEADLINE, ReportedBalance},
        ids::AccountId,
        money::{Amount, Currency},
    },
    metrics::{BALANCE_READS, Metrics},
    providers::{
        Class, ProviderError,
        neonomics::{Balance, CallContext, Psu},
    },
    queue::{AfterCommit, JobError, Lease},
    storage::{
        Tx, accounts,
        audit::Actor,
        balance_reads::{self, Begun, ToRead, Why},
    },
};
use secrecy::ExposeSecret;
use tracing::warn;
use uuid::Uuid;

use super::{bank_trouble, consent_moves};
use crate::{
    bank_circuit::{Admission, Pass},
    context::Context,
};

/// How long an account is left alone after too many reads, where the bank names no time.
const BACK_OFF: Duration = Duration::from_hours(24);
/// The longest pause that a bank can ask for.
const LONGEST_BACK_OFF: Duration = Duration::from_hours(7 * 24);
/// How long a read may take to leave: one that stood still is counted by the ledger as over.
const CALL_WITHIN: Duration = Duration::from_secs(CALL_DEADLINE.num_seconds().unsigned_abs());
/// When the account is read next without its owner, after a read that gave nothing: the first one and those that follow it.
/// A failure of the moment is made good sooner, or one of them would make the balance older than twelve hours; those after
/// it are not, so that an outage of hours leaves reads for its end. What the bank never saw is none of the four.
const AS_PLANNED: [TimeDelta; 2] = [BACKGROUND_INTERVAL; 2];
const AFTER_A_MISHAP: [TimeDelta; 2] = [TimeDelta::hours(1), BACKGROUND_INTERVAL];
const NEVER_LEFT: [TimeDelta; 2] = [TimeDelta::hours(1); 2];

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
    /// Nothing was sent: the bank's circuit is open. It may be asked after this long.
    CutOff(Duration),
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
    // Before the ledger: what the circuit holds back is none of the four.
    let pass = match ctx.admit_to_bank_of(account).await? {
        Admission::Go(pass) => pass,
        Admission::Wait(wait) => return Ok(Asked::CutOff(wait)),
    };
    let entered = Instant::now();
    let refused = match enter(ctx, lease, account, why).await {
        Ok(Begun::Read(read)) => return call(ctx, lease, pass, *read, psu, entered).await,
        Ok(Begun::NotLive) => Ok(Asked::NotLive),
        Ok(Begun::Busy) => Ok(Asked::Busy),
        Ok(Begun::Full(until)) => Ok(Asked::Full(until)),
        Err(error) => Err(error),
    };
    ctx.give_back(pass).await;
    refused
}

/// Enters the read into the ledger, where the lease still lasts afterwards: else another worker may make it now.
async fn enter(ctx: &Context, lease: &Lease, account: AccountId, why: Why) -> Result<Begun, JobError> {
    let mut tx = lease.begin(&ctx.db).await?;
    let begun = balance_reads::begin(&mut tx, &ctx.keys, account, why).await?;
    tx.commit().await?;
    if lease.has_ended() {
        return Err(JobError::LeaseLost);
    }
    Ok(begun)
}

/// Makes the call that is in the ledger.
async fn call(
    ctx: &Context,
    lease: &Lease,
    pass: Pass,
    read: ToRead,
    psu: Option<Psu>,
    entered: Instant,
) -> Result<Asked, JobError> {
    let attended = psu.is_some();
    let call = CallContext {
        request_id: Uuid::new_v4(),
        correlation_id: lease.request_id(),
        psu,
        now: ctx.clock.now(),
        not_after: Some(leaves_before(lease.deadline(), entered)),
    };
    let answer = ctx
        .neonomics
        .balances(&read.resource_id, read.consent_id.expose_secret(), &call)
        .await;
    ctx.report_read(lease, pass, answer.as_ref().err()).await;
    if let Err(error) = &answer {
        bank_trouble::tell_ops(ctx, read.account, error);
    }
    Ok(Asked::Answered(Answered {
        read,
        attended,
        answer,
        metrics: Arc::clone(&ctx.metrics),
    }))
}

/// The lease is renewed for as long as the job runs; the place in the ledger is kept for the call's deadline only.
fn leaves_before(lease_ends: Instant, entered: Instant) -> Instant {
    lease_ends.min(entered + CALL_WITHIN)
}

impl Answered {
    /// Writes the outcome: the new balance, or that there is none. May be tried again with another transaction.
    pub(super) async fn record(&self, tx: &mut Tx, lease: &Lease) -> Result<Recorded, JobError> {
        let (outcome, fresh) = match &self.answer {
            Ok(balances) => {
                if let Some(balance) = shown(balances, &self.read.currency) {
                    ("read", store(tx, &self.read, balance).await?)
                } else {
                    read_again(tx, &self.read, AS_PLANNED).await?;
                    ("no_balance", false)
                }
            }
            Err(error) => {
                failed(tx, lease, &self.read, error).await?;
                (error.class().as_str(), false)
            }
        };
        if self.answer.as_ref().is_err_and(ProviderError::never_left) {
            balance_reads::take_back(tx, self.read.entry).await?;
        } else {
            balance_reads::end(tx, self.read.entry, outcome).await?;
        }
        let (metrics, attended) = (Arc::clone(&self.metrics), self.attended);
        let mut after = AfterCommit::default();
        after.add(move || {
            let attended = if attended { "true" } else { "false" };
            metrics.count(&BALANCE_READS, &[outcome, attended]);
        });
        Ok(Recorded { fresh, after })
    }
}

/// Whether the cache is as new as this answer now.
async fn store(tx: &mut Tx, read: &ToRead, balance: ReportedBalance) -> Result<bool, JobError> {
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
    let again = match error.class() {
        Class::Expired if error.may_await_approval() && is_new(read) => AFTER_A_MISHAP,
        Class::Expired => return consent_moves::bury(tx, lease, Actor::Provider, read.consent, error.code()).await,
        Class::Limited if error.is_of_one_account() => {
            let pause = error.retry_after().unwrap_or(BACK_OFF).min(LONGEST_BACK_OFF);
            accounts::back_off(tx, read.account, pause).await?;
            AS_PLANNED
        }
        Class::Limited => {
            // The gateway does not say whether the bank saw it, so it counts.
            bank_trouble::slow_down(tx, lease, error).await?;
            AFTER_A_MISHAP
        }
        _ if error.never_left() => NEVER_LEFT,
        Class::NotSent | Class::Transient | Class::Ambiguous | Class::CircuitOpen => AFTER_A_MISHAP,
        Class::Refused => AS_PLANNED,
    };
    read_again(tx, read, again).await
}

/// Whether the bank may lag behind the approval that it told us of. The next read is later than that.
fn is_new(read: &ToRead) -> bool {
    read.authorised_at
        .is_some_and(|authorised_at| read.started_at - authorised_at < consent_moves::APPROVAL_LAG)
}

async fn read_again(tx: &mut Tx, read: &ToRead, [again, after_that]: [TimeDelta; 2]) -> Result<(), JobError> {
    Ok(accounts::read_failed(tx, read.account, again, after_that).await?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_leaves_while_it_counts_as_under_way_or_not_at_all() {
        let entered = Instant::now();
        let after = |seconds| entered + Duration::from_secs(seconds);
        assert_eq!(leaves_before(after(30), entered), after(30), "the lease ends first");
        assert_eq!(leaves_before(after(90), entered), after(45), "the lease was renewed");
    }
}
