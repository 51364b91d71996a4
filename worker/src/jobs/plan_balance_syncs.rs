//! Plans the unattended reads of one slot: one job for each account that is due, under a consent that still lasts.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use drop_common::{
    queue::{
        Handler, Job, JobError, Lease, Outcome, Verdict, enqueue_many,
        payloads::{PlanBalanceSyncs, SyncBalance},
    },
    resilience::backoff,
    storage::{accounts, schedule},
};
use tracing::info;

use super::consent_days;
use crate::context::Context;

/// How many accounts one run plans.
const BATCH: usize = 500;
/// On average the reads are this far apart, so that very many accounts that are due at once, after an outage say, are in
/// nobody's way. It is some 60 reads a second, or 1.3 million accounts four times a day.
const SPACING: Duration = Duration::from_millis(15);
/// A slot older than this plans nothing: later slots have come, and the reads it planned would count as outdated.
const OUTDATED: TimeDelta = TimeDelta::hours(1);

impl Handler<Context> for PlanBalanceSyncs {
    /// Plans a batch and comes back when its reads have begun. What is left when the next slot has come is that one's: of two
    /// plans only the younger goes on.
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let planned_at = schedule::now(&ctx.db).await?;
        if planned_at - self.slot > OUTDATED {
            return Ok(Outcome::Done.into());
        }
        consent_days::keep(&ctx, &lease).await?;
        let mut tx = lease.begin(&ctx.db).await?;
        let due = accounts::take_due(&mut tx, BATCH).await?;
        let spread = SPACING.saturating_mul(u32::try_from(due.len()).unwrap_or(u32::MAX));
        let reads: Vec<_> = due
            .iter()
            .map(|&account| {
                let read = SyncBalance { account, planned_at };
                (read, backoff::between(Duration::ZERO, spread))
            })
            .collect();
        let planned = enqueue_many(&mut tx, &reads).await?;
        let goes_on = due.len() == BATCH && !schedule::is_taken_after(&mut tx, Self::KIND, self.slot).await?;
        let outcome = if goes_on { Outcome::Wait(spread) } else { Outcome::Done };
        let recorded = lease.finish(tx, outcome).await?;
        if planned > 0 {
            info!("planned {planned} unattended balance reads");
        }
        Ok(recorded.into())
    }
}
