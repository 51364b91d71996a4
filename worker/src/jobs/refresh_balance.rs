//! Reads one balance because its owner is there.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use drop_common::{
    domain::{
        account::{self, ReportedBalance},
        money::{Amount, Currency},
    },
    providers::neonomics::{Balance, CallContext},
    queue::{Handler, JobError, Lease, Outcome, Verdict, payloads::RefreshBalance},
    resilience::breaker::BreakerKey,
    storage::{StorageError, Tx, accounts, schedule},
};
use secrecy::ExposeSecret;
use tracing::warn;
use uuid::Uuid;

use crate::context::Context;

impl Handler<Context> for RefreshBalance {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let Some(read) = accounts::refresh_to_read(&ctx.db, &ctx.keys, self.refresh).await? else {
            let mut tx = lease.begin(&ctx.db).await?;
            accounts::finish_refresh(&mut tx, self.refresh, false).await?;
            return Ok(lease.finish(tx, Outcome::Done).await?.into());
        };
        let started_at = schedule::now(&ctx.db).await?;
        let call = CallContext {
            request_id: Uuid::new_v4(),
            correlation_id: lease.request_id(),
            psu: ctx.psu(read.psu_ip.as_deref()),
            now: ctx.clock.now(),
        };
        let answer = ctx
            .neonomics
            .balances(&read.resource_id, read.consent_id.expose_secret(), &call)
            .await;
        ctx.report(&lease, BreakerKey::NeonomicsAisp, answer.as_ref().err())
            .await;

        let mut tx = lease.begin(&ctx.db).await?;
        let shown = match &answer {
            Ok(balances) => shown(balances, &read.currency),
            Err(error) => {
                warn!(account.id = %read.account, "the balance of {} was not read: {error}", read.account);
                accounts::read_failed(&mut tx, read.account).await?;
                None
            }
        };
        if let Some(balance) = shown {
            let kind = balance.kind;
            let cached = accounts::Balance {
                amount: balance.amount.minor,
                balance_type: kind.as_str(),
                at: balance.changed_at,
            };
            accounts::store_balance(&mut tx, read.account, cached, started_at).await?;
        }
        accounts::finish_refresh(&mut tx, self.refresh, shown.is_some()).await?;
        let recorded = lease.finish(tx, Outcome::Done).await?;
        ctx.tell_waiters(self.refresh.uuid()).await;
        Ok(recorded.into())
    }

    async fn on_dead(&self, _context: &Context, tx: &mut Tx, _error: &str) -> Result<(), StorageError> {
        accounts::finish_refresh(tx, self.refresh, false).await
    }
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
