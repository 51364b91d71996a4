//! Hands one notification to the sender. What it tells of was committed long before, and a delivery that fails changes
//! nothing of it.

use std::{sync::Arc, time::Duration};

use drop_common::{
    queue::{Handler, JobError, Lease, Outcome, Verdict, payloads::DeliverNotification},
    resilience::backoff::half_jitter,
    storage::notifications,
};
use tracing::warn;

use crate::{context::Context, sender::Outgoing};

/// The pause after the first failure; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_hours(4);

impl Handler<Context> for DeliverNotification {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let Some(waiting) = notifications::undelivered(&ctx.db, self.notification).await? else {
            return Ok(Outcome::Done.into());
        };
        let outgoing = Outgoing {
            id: waiting.id,
            user: waiting.user,
            kind: waiting.kind,
            title: waiting.title,
            body: waiting.body,
        };
        if let Err(error) = ctx.sender.send(&outgoing).await {
            warn!(notification.id = %outgoing.id, "{error}");
            let failures = u32::try_from(lease.attempts_used()).unwrap_or(u32::MAX);
            let pause = half_jitter(FIRST_PAUSE, failures.saturating_sub(1), LONGEST_PAUSE);
            return Ok(Outcome::Again(pause).into());
        }
        let mut tx = lease.begin(&ctx.db).await?;
        notifications::delivered(&mut tx, self.notification).await?;
        Ok(lease.finish(tx, Outcome::Done).await?.into())
    }
}
