//! Takes back the jobs of workers that died, ends the ones whose time has passed, and draws the consequences of deaths that
//! could not be drawn: any worker does it, every second. The attempt budget holds here too.

use std::{future::Future, time::Duration};

use super::{
    AfterCommit, JobId, Lane, Outcome,
    claim::Claimer,
    record::{Ack, Deaths, record},
    sql,
    supervise::Pauses,
};
use crate::{
    resilience::backoff::between,
    storage::{StorageError, patiently},
};

/// Sweeps for ever.
pub(super) async fn rescue_forever(claimer: Claimer) {
    let mut pauses = Pauses::default();
    loop {
        let pause = match sweep(&claimer).await {
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

/// Takes back jobs whose lease has run out, ends waiting jobs that came too late, those in a lane that nobody claims from
/// too, and tries the hooks again that have failed. Up to 100 of each.
pub(super) async fn sweep(claimer: &Claimer) -> Result<(), StorageError> {
    one_by_one_if_need_be(claimer, rescue, sql::abandoned(&claimer.db)).await?;
    one_by_one_if_need_be(claimer, expire, sql::late(&claimer.db)).await?;
    tell(claimer).await
}

/// After a batch was refused its jobs are taken one by one, so that the one at fault does not hold up the others; and that
/// one without its hook.
async fn one_by_one_if_need_be(
    claimer: &Claimer,
    end: impl AsyncFn(&Claimer, Option<JobId>, Deaths<'_>) -> Result<(), StorageError>,
    all: impl Future<Output = Result<Vec<JobId>, StorageError>>,
) -> Result<(), StorageError> {
    let told = Deaths::Told(&*claimer.hooks);
    match patiently(end(claimer, None, told)).await {
        Err(error) if !error.is_transient() => {}
        swept => return swept,
    }
    for job in patiently(all).await? {
        if let Err(error) = patiently(end(claimer, Some(job), told)).await {
            tracing::error!(%error, job.id = job, "the end of the expired job {job} cannot be recorded");
            if let Err(error) = patiently(end(claimer, Some(job), Deaths::Untold(&error))).await
                && error.is_transient()
            {
                return Err(error);
            }
        }
    }
    Ok(())
}

async fn rescue(claimer: &Claimer, only: Option<JobId>, deaths: Deaths<'_>) -> Result<(), StorageError> {
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
    let (_, after) = record(&mut tx, &acks, deaths).await?;
    tx.commit().await?;
    after.say();
    for lane in expired.iter().filter_map(|row| Lane::from_id(row.lane)) {
        claimer.watch.rescued(lane);
    }
    tracing::warn!(jobs = acks.len(), "jobs whose lease had expired were taken back");
    Ok(())
}

async fn expire(claimer: &Claimer, only: Option<JobId>, deaths: Deaths<'_>) -> Result<(), StorageError> {
    let mut tx = claimer.db.begin().await?;
    let mut after = AfterCommit::default();
    for job in sql::expire(&mut tx, only, deaths.untold().as_deref()).await? {
        after.extend(deaths.tell(&mut tx, job).await?);
    }
    tx.commit().await?;
    after.say();
    Ok(())
}

/// A minute after each failure, until it works or somebody runs the job again.
async fn tell(claimer: &Claimer) -> Result<(), StorageError> {
    for job in patiently(sql::untold(&claimer.db)).await? {
        if let Err(error) = patiently(tell_one(claimer, job)).await {
            tracing::error!(%error, job.id = job, "what follows from the death of job {job} cannot be written yet");
            patiently(sql::tell_later(&claimer.db, job, &error.to_string())).await?;
        }
    }
    Ok(())
}

async fn tell_one(claimer: &Claimer, job: JobId) -> Result<(), StorageError> {
    let mut tx = claimer.db.begin().await?;
    let Some(dead) = sql::tell(&mut tx, job).await? else {
        return Ok(());
    };
    let after = Deaths::Told(&*claimer.hooks).tell(&mut tx, dead).await?;
    tx.commit().await?;
    after.say();
    Ok(())
}
