//! Deletes what has had its time: done jobs, expired logins and sessions, tokens that
//! nobody took, old balance reads, idle rate limits, old cron slots, old transitions of circuits, orders that were forgotten long
//! ago, alerts that nobody raises any more, workers that are not heard of any more, and operators' sign-outs.

use std::sync::Arc;

use drop_common::{
    queue::{self, Handler, JobError, Lease, Outcome, Verdict, payloads::PruneJobs, processes},
    resilience::{breaker_hand, limits},
    storage::{alert_turns, balance_reads, logins, operators, payments, schedule, sdk_tokens, sessions},
};
use tracing::info;

use crate::context::Context;

impl Handler<Context> for PruneJobs {
    async fn run(self, ctx: Arc<Context>, _lease: Lease) -> Result<Verdict, JobError> {
        let logins = logins::prune(&ctx.db).await?;
        let sessions = sessions::prune(&ctx.db).await?;
        let tokens = sdk_tokens::prune(&ctx.db).await?;
        let limits = limits::sweep(&ctx.db).await?;
        let slots = schedule::prune(&ctx.db).await?;
        let reads = balance_reads::prune(&ctx.db).await?;
        let orders = payments::prune_forgotten(&ctx.db).await?;
        let alerts = alert_turns::prune(&ctx.db).await?;
        let transitions = breaker_hand::prune(&ctx.db).await?;
        let workers = processes::prune(&ctx.db).await?;
        let sign_outs = operators::prune(&ctx.db).await?;
        let jobs = queue::prune(&ctx.db).await?;
        info!(
            jobs,
            logins,
            sessions,
            tokens,
            reads,
            orders,
            limits,
            slots,
            alerts,
            transitions,
            workers,
            sign_outs,
            "deleted what had had its time"
        );
        Ok(Outcome::Done.into())
    }
}
