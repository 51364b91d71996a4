//! Reads one balance without its owner: one of the four reads of an account in 24 hours.

use std::sync::Arc;

use drop_common::{
    domain::account::BACKGROUND_INTERVAL,
    queue::{Handler, JobError, Lease, Outcome, Verdict, payloads::SyncBalance},
    storage::{accounts, balance_reads::Why, schedule},
};
use tracing::info;

use super::balance_read::{self, Asked};
use crate::context::Context;

impl Handler<Context> for SyncBalance {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        // By now the account may have been planned anew: of two jobs only the younger reads.
        if schedule::now(&ctx.db).await? - self.slot >= BACKGROUND_INTERVAL {
            return Ok(Outcome::Done.into());
        }
        let asked = balance_read::ask(&ctx, &lease, self.account, None, Why::Planned).await?;
        let mut tx = lease.begin(&ctx.db).await?;
        match asked {
            Asked::Answered(answered) => {
                answered.record(&mut tx, &lease).await?;
            }
            Asked::Full(until) => {
                info!(account.id = %self.account, "{} has used its unattended reads", self.account);
                accounts::sync_at(&mut tx, self.account, until).await?;
            }
            // Whoever reads it now serves the plan too; an attempt of this very job that died has used its place.
            Asked::Busy | Asked::NotLive => {}
        }
        // Never again at once: the next plan is six hours away, whatever came of this read.
        Ok(lease.finish(tx, Outcome::Done).await?.into())
    }
}
