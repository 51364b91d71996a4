//! Plans the unattended reads of one slot: one job for each account that is due, under a consent that still lasts.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use drop_common::{
    queue::{
        Handler, JobError, Lease, Outcome, Verdict, enqueue_many,
        payloads::{PlanBalanceSyncs, SyncBalance},
    },
    resilience::backoff,
    storage::{accounts, schedule},
};
use tracing::info;

use super::consent_days;
use crate::context::Context;

/// How many accounts one transaction plans.
const BATCH: i64 = 500;
/// A slot older than this plans nothing: later slots have come, and the reads it planned would count as outdated.
const OUTDATED: TimeDelta = TimeDelta::hours(1);
/// On average the reads of a plan are this far apart.
const SPACING: Duration = Duration::from_millis(50);
/// The reads of a plan begin before the next plan comes.
const LONGEST_SPREAD: Duration = Duration::from_mins(4);

impl Handler<Context> for PlanBalanceSyncs {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        if schedule::now(&ctx.db).await? - self.slot > OUTDATED {
            return Ok(Outcome::Done.into());
        }
        consent_days::keep(&ctx, &lease).await?;
        let mut planned = 0;
        loop {
            let mut tx = lease.begin(&ctx.db).await?;
            let due = accounts::take_due(&mut tx, BATCH).await?;
            planned += due.len();
            let spread = SPACING
                .saturating_mul(u32::try_from(planned).unwrap_or(u32::MAX))
                .min(LONGEST_SPREAD);
            let reads: Vec<_> = due
                .iter()
                .map(|&account| {
                    let read = SyncBalance {
                        account,
                        slot: self.slot,
                    };
                    (read, backoff::between(Duration::ZERO, spread))
                })
                .collect();
            enqueue_many(&mut tx, &reads).await?;
            if due.is_empty() {
                if planned > 0 {
                    info!("planned {planned} unattended balance reads");
                }
                return Ok(lease.finish(tx, Outcome::Done).await?.into());
            }
            tx.commit().await?;
        }
    }
}
