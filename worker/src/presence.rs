//! Tells that this process is there and how it serves its lanes, and hears whether it shall be quiet.

use std::{sync::Arc, time::Duration};

use drop_common::{
    queue::{Watch as _, processes},
    storage::patiently,
};
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::queue_metrics::QueueMetrics;

/// How soon an operator's wish is heard, at most.
const TOLD_EVERY: Duration = Duration::from_secs(5);
/// The end of the process waits no longer for this.
const LAST_WORD: Duration = Duration::from_secs(2);

/// Until `stop`: then nobody need wonder where it went. While the database is away, it goes on as it was told last.
pub(crate) async fn keep_telling(db: PgPool, queue: Arc<QueueMetrics>, stop: CancellationToken) {
    let mut ticks = interval(TOLD_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let forever = async {
        loop {
            ticks.tick().await;
            let Some(owner) = queue.owner() else { continue };
            match patiently(processes::is_here(&db, owner, &queue.loads(), queue.is_quiet())).await {
                Ok(quiet) => queue.set_quiet(quiet),
                Err(error) => tracing::warn!(%error, "nobody could be told that this worker is there"),
            }
        }
    };
    let _stopped = stop.run_until_cancelled(forever).await;
    if let Some(owner) = queue.owner()
        && !matches!(timeout(LAST_WORD, processes::has_left(&db, owner)).await, Ok(Ok(())))
    {
        tracing::warn!("nobody could be told that this worker has left");
    }
}
