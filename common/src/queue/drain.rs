//! The queue driven by hand, for tests: the same claims, handlers and records, one job at a time.

use std::sync::Arc;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::{Lane, Registry, rescuer::sweep, workers::engine};
use crate::{resilience::breaker::BreakerKey, storage::StorageError};

/// Runs every job that is ready, those that become ready meanwhile included, until none is. Returns how many ran.
/// Leases are not renewed: a single job stays well within its own.
pub async fn drain<C: Send + Sync + 'static>(
    db: &PgPool,
    registry: Registry<C>,
    context: Arc<C>,
) -> Result<usize, StorageError> {
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let (engine, _acker) = engine(registry, context, db, &stop);
    let mut ran = 0;
    loop {
        sweep(&engine.claimer).await?;
        let before = ran;
        for lane in Lane::ALL {
            for claim in engine.claimer.claim(lane, 1).await? {
                engine.run(claim).await;
                ran += 1;
            }
        }
        for key in BreakerKey::ALL {
            if let Some(claim) = engine.claimer.claim_probe(key).await? {
                engine.run(claim).await;
                ran += 1;
            }
        }
        if ran == before {
            return Ok(ran);
        }
    }
}
