//! Gives every notification that waits for its delivery a job that delivers it.

use std::sync::Arc;

use drop_common::{
    queue::{
        EnqueueOptions, Handler, Job as _, JobError, Lease, Outcome, Verdict, enqueue_anew,
        payloads::{DeliverNotification, SweepOutbox},
    },
    storage::notifications,
};
use tracing::warn;

use crate::context::Context;

/// At most so many in one run; the next one goes on.
const BATCH: i64 = 500;

impl Handler<Context> for SweepOutbox {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let mut tx = lease.begin(&ctx.db).await?;
        let stranded = notifications::stranded(&mut tx, DeliverNotification::KIND, BATCH).await?;
        for &notification in &stranded {
            enqueue_anew(
                &mut tx,
                &DeliverNotification { notification },
                EnqueueOptions::default(),
            )
            .await?;
        }
        let recorded = lease.finish(tx, Outcome::Done).await?;
        if !stranded.is_empty() {
            warn!("{} notifications had no job that delivers them", stranded.len());
        }
        Ok(recorded.into())
    }
}
