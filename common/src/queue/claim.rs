//! Taking jobs: a batch of a lane, or the one probe of a half-open breaker.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use sqlx::PgPool;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use super::{
    JobId, Lane, Lease,
    lease::Facts,
    record::DeadHooks,
    renewer::{Held, Leases},
    sql::{self, Claimed},
    watch::Watch,
};
use crate::{
    resilience::breaker::{BreakerKey, probe_in, release_in},
    storage::{self, StorageError, Tx},
};

/// One claimed row. The permit is the worker's slot, given back when this is dropped: after the outcome is recorded.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) lease: Lease,
    /// From the claim on: a batch may wait longer for its handlers than a lease lasts, where they block the threads.
    pub(super) held: Held,
    pub(super) kind: String,
    pub(super) payload: Value,
    /// From the moment it could run to the claim.
    pub(super) waited: Duration,
    pub(super) slot: Option<OwnedSemaphorePermit>,
}

/// The process as a claimer.
#[derive(Clone)]
pub(super) struct Claimer {
    pub(super) db: PgPool,
    /// New at every process start: a restarted worker never holds what its predecessor held.
    pub(super) owner: Uuid,
    pub(super) hooks: Arc<dyn DeadHooks>,
    pub(super) watch: Arc<dyn Watch>,
    pub(super) leases: Leases,
}

impl Claimer {
    /// Claims up to `free` ready jobs of a lane, oldest first. An open breaker, a pause or a throttled lane: none.
    pub(super) async fn claim(&self, lane: Lane, free: usize) -> Result<Vec<Claim>, StorageError> {
        let asked_at = Instant::now();
        let rows = sql::claim(&self.db, lane, free, self.owner).await?;
        let mut claims: Vec<Claim> = rows.into_iter().map(|row| self.claimed(row, None, asked_at)).collect();
        claims.sort_by_key(|claim| claim.lease.job()); // the statement returns them unordered
        Ok(claims)
    }

    /// Takes the probe of a half-open breaker together with one job of its lanes, reads before payments. Without a job
    /// the probe was never taken.
    pub(super) async fn claim_probe(&self, key: BreakerKey) -> Result<Option<Claim>, StorageError> {
        let asked_at = Instant::now();
        let mut tx: Tx = storage::begin(&self.db).await?;
        let Some(probe) = probe_in(&mut tx, key.as_str()).await? else {
            return Ok(None);
        };
        let row = sql::claim_with_probe(&mut tx, key, self.owner).await?;
        let Some(row) = row else { return Ok(None) }; // rolled back
        tx.commit().await?;
        Ok(Some(self.claimed(row, Some(probe.id), asked_at)))
    }

    /// Returns claims that never started.
    pub(super) async fn give_back(&self, claims: &[Claim]) -> Result<(), StorageError> {
        let jobs: Vec<JobId> = claims.iter().map(|claim| claim.lease.job()).collect();
        let attempts: Vec<i32> = claims.iter().map(|claim| claim.lease.attempt()).collect();
        let mut tx = storage::begin(&self.db).await?;
        sql::give_back(&mut tx, &jobs, &attempts).await?;
        for claim in claims {
            if let (Some(probe), Some(key)) = (claim.lease.probe(), claim.lease.lane().breaker()) {
                release_in(&mut *tx, key.as_str(), probe).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    fn claimed(&self, row: Claimed, probe: Option<Uuid>, asked_at: Instant) -> Claim {
        let facts = Facts {
            job: row.id,
            attempt: row.attempt,
            used: row.used,
            max_attempts: row.max_attempts,
            lane: Lane::from_id(row.lane).expect("only lanes that this build names are claimed"),
            request_id: row.request_id,
            epoch: row.epoch,
            probe,
            length: millis(row.lease_ms),
        };
        let lease = Lease::new(facts, asked_at, Arc::clone(&self.hooks));
        Claim {
            held: self.leases.hold(&lease),
            lease,
            kind: row.kind,
            payload: row.payload,
            waited: millis(row.waited_ms),
            slot: None,
        }
    }
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
