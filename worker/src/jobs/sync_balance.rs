//! Reads one balance without its owner: one of the four reads of an account in 24 hours.

use std::sync::Arc;

use drop_common::{
    domain::account::BACKGROUND_INTERVAL,
    queue::{AfterCommit, Handler, JobError, Lease, Outcome, Verdict, payloads::SyncBalance},
    storage::{accounts, balance_reads::Why, schedule},
};
use tracing::info;

use super::balance_read::{self, Asked};
use crate::context::Context;

impl Handler<Context> for SyncBalance {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        // By now the account may have been planned anew: of two jobs only the younger reads.
        if schedule::now(&ctx.db).await? - self.planned_at >= BACKGROUND_INTERVAL {
            return Ok(Outcome::Done.into());
        }
        let asked = balance_read::ask(&ctx, &lease, self.account, None, Why::Planned).await?;
        let mut tx = lease.begin(&ctx.db).await?;
        let mut after = AfterCommit::default();
        match asked {
            Asked::Answered(answered) => after = answered.record(&mut tx, &lease).await?.after,
            Asked::Full(until) => {
                info!(account.id = %self.account, "{} has used its unattended reads", self.account);
                accounts::sync_at(&mut tx, self.account, until).await?;
            }
            // Whoever reads it now serves the plan too; an attempt of this very job that died has used its place.
            Asked::Busy | Asked::NotLive => {}
        }
        // Never again at once: the next plan is six hours away, whatever came of this read.
        let recorded = lease.finish(tx, Outcome::Done).await?;
        after.say();
        Ok(recorded.into())
    }
}
