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
    JobId, Lane, Lease, Outcome,
    lease::Facts,
    record::{Ack, DeadHooks, record},
    watch::Watch,
};
use crate::{
    resilience::breaker::{BreakerKey, probe_in, release_in},
    storage::{StorageError, Tx},
};

/// One claimed row. The permit is the worker's slot, given back when this is dropped: after the outcome is recorded.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) lease: Lease,
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
}

impl Claimer {
    /// Claims up to `free` ready jobs of a lane, oldest first. An open breaker, a pause or a throttled lane: none.
    pub(super) async fn claim(&self, lane: Lane, free: usize) -> Result<Vec<Claim>, StorageError> {
        let asked_at = Instant::now();
        // `now()` can use the index and is fresh, because this is a transaction of one statement.
        let rows = sqlx::query_as!(
            Row,
            r#"UPDATE jobs j SET state = 'running', attempt = j.attempt + 1, owner = $3,
                      claimed_at = clock_timestamp(), lease_until = clock_timestamp() + l.lease
                 FROM lanes l LEFT JOIN breaker b ON b.key = l.breaker_key
                WHERE l.lane = j.lane AND j.id = ANY (ARRAY(
                  SELECT p.id FROM unnest($1::smallint[], $2::int[]) AS w (lane, n)
                    JOIN lanes lw USING (lane) LEFT JOIN breaker bw ON bw.key = lw.breaker_key
                    CROSS JOIN LATERAL (SELECT id FROM jobs WHERE lane = w.lane AND state = 'ready' AND run_at <= now()
                                         ORDER BY run_at, id LIMIT w.n FOR UPDATE SKIP LOCKED) p
                   WHERE w.n > 0 AND NOT lw.paused AND coalesce(lw.throttled_until <= now(), true) AND NOT coalesce(bw.open, false)))
               RETURNING j.id, j.attempt, j.attempt - j.unused AS "used!", j.max_attempts, j.lane, j.kind, j.payload,
                         j.request_id, b.epoch AS "epoch?", (extract(epoch FROM l.lease) * 1000)::bigint AS "lease_ms!",
                         (extract(epoch FROM clock_timestamp() - j.run_at) * 1000)::bigint AS "waited_ms!""#,
            &[lane.id()],
            &[i32::try_from(free).unwrap_or(i32::MAX)],
            self.owner,
        )
        .fetch_all(&self.db)
        .await?;
        let mut claims: Vec<Claim> = rows.into_iter().map(|row| self.claimed(row, None, asked_at)).collect();
        claims.sort_by_key(|claim| claim.lease.job()); // the statement returns them unordered
        Ok(claims)
    }

    /// Takes the probe of a half-open breaker together with one job of its lanes, reads before payments. Without a job
    /// the probe was never taken.
    pub(super) async fn claim_probe(&self, key: BreakerKey) -> Result<Option<Claim>, StorageError> {
        let asked_at = Instant::now();
        let mut tx: Tx = self.db.begin().await?;
        let Some(probe) = probe_in(&mut tx, key).await? else {
            return Ok(None);
        };
        let row = sqlx::query_as!(
            Row,
            r#"UPDATE jobs j SET state = 'running', attempt = j.attempt + 1, owner = $2,
                      claimed_at = clock_timestamp(), lease_until = clock_timestamp() + l.lease
                 FROM lanes l
                WHERE l.lane = j.lane AND j.id = (
                  SELECT p.id FROM lanes lw CROSS JOIN LATERAL (
                      SELECT id FROM jobs WHERE lane = lw.lane AND state = 'ready' AND run_at <= now()
                       ORDER BY run_at, id LIMIT 1 FOR UPDATE SKIP LOCKED) p
                   WHERE lw.breaker_key = $1 AND lw.lane = ANY ($3::smallint[]) AND lw.probe_rank IS NOT NULL AND NOT lw.paused AND coalesce(lw.throttled_until <= now(), true)
                   ORDER BY lw.probe_rank LIMIT 1)
               RETURNING j.id, j.attempt, j.attempt - j.unused AS "used!", j.max_attempts, j.lane, j.kind, j.payload,
                         j.request_id, (SELECT epoch FROM breaker WHERE key = $1) AS "epoch?",
                         (extract(epoch FROM l.lease) * 1000)::bigint AS "lease_ms!",
                         (extract(epoch FROM clock_timestamp() - j.run_at) * 1000)::bigint AS "waited_ms!""#,
            key.as_str(),
            self.owner,
            &Lane::ALL.map(Lane::id), // a newer release may have added a lane
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(None) }; // rolled back
        tx.commit().await?;
        Ok(Some(self.claimed(row, Some(probe.id), asked_at)))
    }

    /// Returns claims that never started: as if they had not been made, except for the attempt number.
    pub(super) async fn give_back(&self, claims: &[Claim]) -> Result<(), StorageError> {
        if claims.is_empty() {
            return Ok(());
        }
        let acks: Vec<Ack> = claims
            .iter()
            .map(|claim| claim.lease.ack(Outcome::Wait(Duration::ZERO), None))
            .collect();
        let mut tx = self.db.begin().await?;
        let (_, nothing_died) = record(&mut tx, &acks, &*self.hooks).await?;
        for claim in claims {
            if let (Some(probe), Some(key)) = (claim.lease.probe(), claim.lease.lane().breaker()) {
                release_in(&mut *tx, key, probe).await?;
            }
        }
        tx.commit().await?;
        nothing_died.say();
        Ok(())
    }

    fn claimed(&self, row: Row, probe: Option<Uuid>, asked_at: Instant) -> Claim {
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

struct Row {
    id: JobId,
    attempt: i32,
    used: i32,
    max_attempts: i32,
    lane: i16,
    kind: String,
    payload: Value,
    request_id: Option<Uuid>,
    epoch: Option<i64>,
    lease_ms: i64,
    waited_ms: i64,
}
