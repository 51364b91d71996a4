//! Takes back the jobs of workers that died: any worker does it, every second. The attempt budget holds here too.

use std::time::Duration;

use super::{
    JobId, Lane, Outcome,
    claim::Claimer,
    record::{Ack, record},
    supervise::Pauses,
};
use crate::{resilience::backoff::between, storage::StorageError};

/// Rescues for ever.
pub(super) async fn rescue_forever(claimer: Claimer) {
    let mut pauses = Pauses::default();
    loop {
        let pause = match rescue(&claimer).await {
            Ok(()) => {
                pauses.reset();
                between(Duration::from_millis(900), Duration::from_millis(1100))
            }
            Err(error) => {
                tracing::warn!(%error, "expired jobs could not be rescued yet");
                pauses.next()
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Rescues what has expired, up to 100 jobs; one that cannot be recorded does not hold up the others.
pub(super) async fn rescue(claimer: &Claimer) -> Result<(), StorageError> {
    match rescue_batch(claimer, None).await {
        Err(error) if !error.is_transient() => {
            let expired: Vec<JobId> = sqlx::query_scalar!(
                "SELECT id FROM jobs WHERE state = 'running' AND lease_until < clock_timestamp() ORDER BY id LIMIT 1000"
            )
            .fetch_all(&claimer.db)
            .await?;
            for job in expired {
                if let Err(error) = rescue_batch(claimer, Some(job)).await {
                    tracing::error!(%error, job.id = job, "the expired job {job} cannot be rescued");
                }
            }
            Ok(())
        }
        other => other,
    }
}

async fn rescue_batch(claimer: &Claimer, only: Option<JobId>) -> Result<(), StorageError> {
    let mut tx = claimer.db.begin().await?;
    let expired = sqlx::query!(
        "SELECT id, attempt, lane FROM jobs
          WHERE state = 'running' AND lease_until < clock_timestamp() AND ($1::bigint IS NULL OR id = $1)
          ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED",
        only,
    )
    .fetch_all(&mut *tx)
    .await?;
    if expired.is_empty() {
        return Ok(());
    }
    let acks: Vec<Ack> = expired
        .iter()
        .map(|row| Ack {
            job: row.id,
            attempt: row.attempt,
            outcome: Outcome::Again(between(Duration::ZERO, Duration::from_secs(1))),
            error: Some("lease expired".to_owned()),
        })
        .collect();
    record(&mut tx, &acks, &*claimer.hooks).await?;
    tx.commit().await?;
    for lane in expired.iter().filter_map(|row| Lane::from_id(row.lane)) {
        claimer.watch.rescued(lane);
    }
    tracing::warn!(jobs = acks.len(), "jobs whose lease had expired were taken back");
    Ok(())
}
