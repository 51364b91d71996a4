//! Takes back the jobs of workers that died, ends the ones whose time has passed, and draws the consequences of deaths that
//! could not be drawn: any worker does it, every second. The attempt budget holds here too.

use std::{future::Future, time::Duration};

use super::{
    AfterCommit, JobId, Lane, Outcome,
    claim::Claimer,
    record::{Ack, Deaths, record},
    sql::{self, Overdue},
    supervise::Pauses,
};
use crate::{
    resilience::backoff::between,
    storage::{self, StorageError, Tx, patiently},
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

/// After a batch has failed its jobs are taken one by one, so that the one at fault does not hold up the others; and that
/// one without its hook, at once if it can never work, or when it has not for a minute.
async fn one_by_one_if_need_be(
    claimer: &Claimer,
    end: impl AsyncFn(&Claimer, Option<JobId>, Deaths<'_>) -> Result<(), StorageError>,
    overdue: impl Future<Output = Result<Vec<Overdue>, StorageError>>,
) -> Result<(), StorageError> {
    let told = Deaths::Told(&*claimer.hooks);
    if patiently(end(claimer, None, told)).await.is_ok() {
        return Ok(());
    }
    for Overdue { id, long } in patiently(overdue).await? {
        let Err(mut error) = patiently(end(claimer, Some(id), told)).await else {
            continue;
        };
        if !error.is_transient() || long && !error.is_away() {
            tracing::error!(%error, job.id = id, "the end of the expired job {id} cannot be recorded as it should be");
            match patiently(end(claimer, Some(id), Deaths::Untold(&error))).await {
                Ok(()) => continue,
                Err(again) => error = again,
            }
        }
        if error.is_away() {
            return Err(error);
        }
        tracing::warn!(%error, job.id = id, "the end of the expired job {id} cannot be recorded yet");
    }
    Ok(())
}

async fn rescue(claimer: &Claimer, only: Option<JobId>, deaths: Deaths<'_>) -> Result<(), StorageError> {
    let mut tx = storage::begin(&claimer.db).await?;
    let rescued = rescue_in(&mut tx, only, deaths).await;
    let Some((lanes, after)) = end_of(tx, rescued).await? else {
        return Ok(());
    };
    after.say();
    tracing::warn!(jobs = lanes.len(), "jobs whose lease had expired were taken back");
    for lane in lanes.into_iter().filter_map(Lane::from_id) {
        claimer.watch.rescued(lane);
    }
    Ok(())
}

async fn rescue_in(
    tx: &mut Tx,
    only: Option<JobId>,
    deaths: Deaths<'_>,
) -> Result<Option<(Vec<i16>, AfterCommit)>, StorageError> {
    let expired = sql::lock_abandoned(tx, only).await?;
    if expired.is_empty() {
        return Ok(None);
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
    let (_, after) = record(tx, &acks, deaths).await?;
    Ok(Some((expired.into_iter().map(|row| row.lane).collect(), after)))
}

async fn expire(claimer: &Claimer, only: Option<JobId>, deaths: Deaths<'_>) -> Result<(), StorageError> {
    let mut tx = storage::begin(&claimer.db).await?;
    let expired = expire_in(&mut tx, only, deaths).await;
    end_of(tx, expired).await?.say();
    Ok(())
}

async fn expire_in(tx: &mut Tx, only: Option<JobId>, deaths: Deaths<'_>) -> Result<AfterCommit, StorageError> {
    let mut after = AfterCommit::default();
    for job in sql::expire(tx, only, deaths.untold().as_deref()).await? {
        after.extend(deaths.tell(tx, job).await?);
    }
    Ok(after)
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
    let mut tx = storage::begin(&claimer.db).await?;
    let Some(dead) = sql::tell(&mut tx, job).await? else {
        return Ok(());
    };
    let told = Deaths::Told(&*claimer.hooks).tell(&mut tx, dead).await;
    end_of(tx, told).await?.say();
    Ok(())
}

/// Commits, or rolls back before anything else is tried: a transaction that is merely dropped still holds its rows for a
/// moment, and who skips locked rows would find none to try again.
async fn end_of<T>(tx: Tx, done: Result<T, StorageError>) -> Result<T, StorageError> {
    match done {
        Ok(done) => tx.commit().await.map(|()| done).map_err(StorageError::from),
        Err(error) => {
            let _gone = tx.rollback().await; // with its connection, if that failed
            Err(error)
        }
    }
}
