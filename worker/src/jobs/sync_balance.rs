//! Reads one balance without its owner: one of the four reads of an account in 24 hours.

use std::{sync::Arc, time::Duration};

use drop_common::{
    domain::{account::BACKGROUND_INTERVAL, ids::AccountId},
    queue::{AfterCommit, Handler, JobError, Lease, Outcome, Verdict, payloads::SyncBalance},
    resilience::backoff,
    storage::{accounts, balance_reads::Why, schedule},
};
use tracing::info;

use super::balance_read::{self, Asked};
use crate::{context::Context, recording};

/// The planned reads of a bank that was cut off come back spread over this.
const SPREAD: Duration = Duration::from_mins(15);

impl Handler<Context> for SyncBalance {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        // By now the account may have been planned anew: of two jobs only the younger reads.
        if schedule::now(&ctx.db).await? - self.planned_at >= BACKGROUND_INTERVAL {
            return Ok(Outcome::Done.into());
        }
        let asked = balance_read::ask(&ctx, &lease, self.account, None, Why::Planned).await?;
        let (verdict, after) = recording::record(&lease, || write(&ctx, &lease, self.account, &asked)).await?;
        after.say();
        Ok(verdict)
    }
}

/// Never again at once: the next plan is hours away, whatever came of this read. One that could not leave yet is planned anew.
async fn write(
    ctx: &Context,
    lease: &Lease,
    account: AccountId,
    asked: &Asked,
) -> Result<(Verdict, AfterCommit), JobError> {
    let mut tx = lease.begin(&ctx.db).await?;
    let mut after = AfterCommit::default();
    match asked {
        Asked::Answered(answered) => after = answered.record(&mut tx, lease).await?.after,
        Asked::Full(until) => {
            info!(account.id = %account, "{account} has used its unattended reads, or its bank wants a pause");
            accounts::sync_at(&mut tx, account, *until).await?;
        }
        // They leave the lane to the accounts of other banks. Not all at once: one of them probes, the others would wait again.
        Asked::CutOff(wait) => {
            let at = schedule::now(&ctx.db).await? + backoff::between(*wait, *wait + SPREAD);
            accounts::sync_at(&mut tx, account, at).await?;
        }
        // Whoever reads it now serves the plan too; an attempt of this very job that died has used its place.
        Asked::Busy | Asked::NotLive => {}
    }
    let recorded = lease.finish(tx, Outcome::Done).await?;
    Ok((recorded.into(), after))
}
