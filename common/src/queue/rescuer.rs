//! Takes back the jobs of workers that died, and ends the ones whose time has passed: any worker does it, every second.
//! The attempt budget holds here too.

use std::time::Duration;

use super::{
    AfterCommit, JobId, Lane, Outcome,
    claim::Claimer,
    record::{Ack, record},
    sql,
    supervise::Pauses,
};
use crate::{
    resilience::backoff::between,
    storage::{StorageError, patiently},
};

/// Rescues and expires for ever.
pub(super) async fn rescue_forever(claimer: Claimer) {
    let mut pauses = Pauses::default();
    loop {
        let swept = match rescue(&claimer).await {
            Ok(()) => expire(&claimer).await,
            failed @ Err(_) => failed,
        };
        let pause = match swept {
            Ok(()) => {
                pauses.reset();
                between(Duration::from_millis(900), Duration::from_millis(1100))
            }
            Err(error) => {
                tracing::warn!(%error, "expired leases and jobs could not be swept yet");
                pauses.next()
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Takes back jobs whose lease has run out, up to 100.
pub(super) async fn rescue(claimer: &Claimer) -> Result<(), StorageError> {
    match patiently(rescue_batch(claimer, None)).await {
        Err(error) if !error.is_transient() => {
            for job in patiently(sql::abandoned(&claimer.db)).await? {
                report(job, patiently(rescue_batch(claimer, Some(job))).await);
            }
            Ok(())
        }
        rescued => rescued,
    }
}

/// Ends waiting jobs that came too late: those in a lane that nobody claims from, too. Up to 100 at a time.
pub(super) async fn expire(claimer: &Claimer) -> Result<(), StorageError> {
    match patiently(expire_batch(claimer, None)).await {
        Err(error) if !error.is_transient() => {
            for job in patiently(sql::late(&claimer.db)).await? {
                report(job, patiently(expire_batch(claimer, Some(job))).await);
            }
            Ok(())
        }
        expired => expired,
    }
}

/// After a batch was refused its jobs are taken one by one, so that the one at fault does not hold up the others.
fn report(job: JobId, swept: Result<(), StorageError>) {
    if let Err(error) = swept {
        tracing::error!(%error, job.id = job, "the end of the expired job {job} cannot be recorded");
    }
}

async fn rescue_batch(claimer: &Claimer, only: Option<JobId>) -> Result<(), StorageError> {
    let mut tx = claimer.db.begin().await?;
    let expired = sql::lock_abandoned(&mut tx, only).await?;
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
    let (_, after) = record(&mut tx, &acks, &*claimer.hooks).await?;
    tx.commit().await?;
    after.say();
    for lane in expired.iter().filter_map(|row| Lane::from_id(row.lane)) {
        claimer.watch.rescued(lane);
    }
    tracing::warn!(jobs = acks.len(), "jobs whose lease had expired were taken back");
    Ok(())
}

async fn expire_batch(claimer: &Claimer, only: Option<JobId>) -> Result<(), StorageError> {
    let mut tx = claimer.db.begin().await?;
    let expired = sql::expire(&mut tx, only).await?;
    let mut after = AfterCommit::default();
    for job in expired {
        tracing::error!(job.id, job.kind, "job {} ({}) came too late", job.id, job.kind);
        let dead = claimer.hooks.on_dead(&mut tx, &job.kind, job.payload, "expired");
        after.extend(dead.await?);
    }
    tx.commit().await?;
    after.say();
    Ok(())
}
