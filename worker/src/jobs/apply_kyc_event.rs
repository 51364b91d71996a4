//! Applies one accepted Sumsub event, once, by the rule of event-time order.

use std::{sync::Arc, time::Duration};

use drop_common::{
    metrics::SUMSUB_WEBHOOK_FAILURES,
    queue::{AfterCommit, Handler, JobError, Lease, Outcome, Verdict, payloads::ApplyKycEvent},
    storage::{StorageError, Tx},
};

use super::kyc_moves;
use crate::context::Context;

impl Handler<Context> for ApplyKycEvent {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let mut tx = lease.begin(&ctx.db).await?;
        let settlement = kyc_moves::settle(&ctx, &mut tx, self.event, lease.request_id()).await?;
        let outcome = if settlement.goes_on {
            Outcome::Wait(Duration::ZERO)
        } else {
            Outcome::Done
        };
        let recorded = lease.finish(tx, outcome).await?;
        settlement.tell(&ctx);
        Ok(recorded.into())
    }

    /// The event stays in the inbox, for a person to apply.
    async fn on_dead(&self, context: &Context, _tx: &mut Tx, _error: &str) -> Result<AfterCommit, StorageError> {
        let (metrics, mut after) = (Arc::clone(&context.metrics), AfterCommit::default());
        after.add(move || metrics.count(&SUMSUB_WEBHOOK_FAILURES, &["apply"]));
        Ok(after)
    }
}
