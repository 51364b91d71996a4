//! What an operator may see and do. Each change is one statement, so that the caller's transaction can hold its audit row.

use std::time::Duration;

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use super::{JobId, Lane, enqueue::millis, sql};
use crate::storage::{StorageError, Tx};

/// A job as a list shows it. It holds ids only, as its payload does.
#[derive(Debug, Clone, Serialize, Object)]
pub struct JobSummary {
    /// The row's number.
    pub id: JobId,
    /// What it is.
    pub kind: String,
    /// The lane's name.
    pub lane: String,
    /// `ready`, `running`, `done`, `dead`, or `untold`: dead, and what follows from that could not be written yet.
    pub state: String,
    /// Attempts used; claims that only waited are not counted.
    pub attempts: i32,
    /// Attempts it may use.
    pub max_attempts: i32,
    /// When it may start, or last could.
    pub run_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// What the last failure was.
    pub last_error: Option<String>,
}

/// Jobs with the columns of a [`JobSummary`], which are written here alone. A reader says which jobs, and what else it wants of them.
macro_rules! select_jobs {
    ($(with ($($with:tt)+),)? $(also $column:literal,)? $which:literal, $($parameter:expr),+ $(,)?) => {
        sqlx::query!(
            $($($with)+ +)? r#" SELECT j.id AS "id!", j.kind AS "kind!", coalesce(l.name, j.lane::text) AS "lane!",
                      CASE WHEN j.untold IS NULL THEN j.state ELSE 'untold' END AS "state!", j.attempt - j.unused AS "attempts!",
                      j.max_attempts AS "max_attempts!", j.run_at AS "run_at!", j.finished_at, j.last_error"#
                $(+ ", " + $column)? + " FROM jobs j LEFT JOIN lanes l USING (lane) " + $which,
            $($parameter),+
        )
    };
}
pub(super) use select_jobs;

/// The summary of a row of [`select_jobs`].
macro_rules! summary {
    ($row:ident) => {
        JobSummary {
            id: $row.id,
            kind: $row.kind,
            lane: $row.lane,
            state: $row.state,
            attempts: $row.attempts,
            max_attempts: $row.max_attempts,
            run_at: $row.run_at,
            finished_at: $row.finished_at,
            last_error: $row.last_error,
        }
    };
}
pub(super) use summary;

/// A job with its history.
#[derive(Debug, Clone, Serialize, Object)]
pub struct JobDetail {
    /// The row.
    #[serde(flatten)]
    #[oai(flatten)]
    pub summary: JobSummary,
    /// Why what follows from its death could not be written; it is tried again at `run_at`.
    pub untold: Option<String>,
    /// The ids it works on.
    pub payload: Value,
    /// At most one row of its kind has this key.
    pub unique_key: Option<String>,
    /// The request that caused it.
    pub request_id: Option<Uuid>,
    /// When it was enqueued.
    pub created_at: DateTime<Utc>,
    /// When it is of no use any more.
    pub expires_at: Option<DateTime<Utc>>,
    /// The process that runs it.
    pub owner: Option<Uuid>,
    /// Until when that process has it.
    pub lease_until: Option<DateTime<Utc>>,
    /// Its failures, oldest first.
    pub failures: Vec<Failure>,
}

/// A failed attempt.
#[derive(Debug, Clone, Serialize, Object)]
#[oai(rename = "FailedAttempt")]
pub struct Failure {
    /// The number of the claim.
    pub attempt: i32,
    /// The process that had claimed it; absent for a job that came too late.
    pub owner: Option<Uuid>,
    /// `again` or `dead`.
    pub result: String,
    /// When it was claimed; absent for a job that came too late.
    pub started_at: Option<DateTime<Utc>>,
    /// When it failed.
    pub ended_at: DateTime<Utc>,
    /// Why.
    pub error: Option<String>,
}

/// One job with its history.
pub async fn show(db: &PgPool, id: JobId) -> Result<Option<JobDetail>, StorageError> {
    let row = select_jobs!(
        also "j.untold, j.payload, j.unique_key, j.request_id, j.created_at, j.expires_at, j.owner, j.lease_until",
        "WHERE j.id = $1",
        id
    )
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let failures = sqlx::query_as!(
        Failure,
        "SELECT attempt, owner, result, started_at, ended_at, error FROM job_attempts WHERE job_id = $1 ORDER BY attempt",
        id
    )
    .fetch_all(db)
    .await?;
    Ok(Some(JobDetail {
        summary: summary!(row),
        untold: row.untold,
        payload: row.payload,
        unique_key: row.unique_key,
        request_id: row.request_id,
        created_at: row.created_at,
        expires_at: row.expires_at,
        owner: row.owner,
        lease_until: row.lease_until,
        failures,
    }))
}

/// What a job is before an operator changes it.
#[derive(Debug)]
pub struct Before {
    /// Its kind.
    pub kind: String,
    /// `ready`, `running`, `done`, `dead` or `untold`.
    pub state: String,
    /// Attempts used.
    pub attempts: i32,
}

/// What the job is, locked; `None`: there is no such job.
pub async fn before(tx: &mut Tx, id: JobId) -> Result<Option<Before>, StorageError> {
    Ok(sqlx::query_as!(
        Before,
        r#"SELECT kind, CASE WHEN untold IS NULL THEN state ELSE 'untold' END AS "state!", attempt - unused AS "attempts!"
             FROM jobs WHERE id = $1 FOR NO KEY UPDATE"#,
        id
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// Lets a dead job run again, with all its attempts, or a waiting one at once. False: it is neither. What is safe to
/// repeat is the handler's matter: a payment that may have left is not sent again however often its job runs.
pub async fn retry(tx: &mut Tx, id: JobId) -> Result<bool, StorageError> {
    sql::retry(tx, id).await
}

/// Deletes a dead job and its history. False: it is not dead, or what follows from its death is not written yet, and only
/// the job knows.
pub async fn discard(tx: &mut Tx, id: JobId) -> Result<bool, StorageError> {
    sql::discard(tx, id).await
}

/// Lets a waiting job end as one whose time has passed: a worker makes it dead within moments, with all that follows from
/// that. False: it does not wait.
pub async fn cancel(tx: &mut Tx, id: JobId) -> Result<bool, StorageError> {
    sql::cancel(tx, id).await
}

/// Locks a lane, so that it stays as it is read until the end of the transaction.
pub async fn lock_lane(tx: &mut Tx, lane: Lane) -> Result<(), StorageError> {
    sqlx::query!("SELECT lane FROM lanes WHERE lane = $1 FOR NO KEY UPDATE", lane.id())
        .fetch_optional(&mut **tx)
        .await?;
    Ok(())
}

/// Why a lane is paused.
#[derive(Debug, Clone, Copy)]
pub struct Pause<'a> {
    /// Who wants it.
    pub by: &'a str,
    /// Why.
    pub because: &'a str,
    /// For how long; `None`: until somebody resumes it.
    pub lasting: Option<Duration>,
}

/// Stops claims from a lane; one that is paused may be given another end. False: it is paused until somebody resumes it, and
/// shall be, or is closed. Running jobs are not touched.
pub async fn pause(tx: &mut Tx, lane: Lane, pause: Pause<'_>) -> Result<bool, StorageError> {
    let changed = sqlx::query!(
        "UPDATE lanes SET paused = true, paused_by = $2, paused_because = $3,
                paused_until = clock_timestamp() + $4::bigint * interval '1 ms'
          WHERE lane = $1 AND closed_at IS NULL AND NOT (paused AND paused_until IS NULL AND $4::bigint IS NULL)",
        lane.id(),
        pause.by,
        pause.because,
        pause.lasting.map(millis),
    )
    .execute(&mut **tx)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Lets claims go on. False: they do, or the lane is closed.
pub async fn resume(tx: &mut Tx, lane: Lane) -> Result<bool, StorageError> {
    let changed = sqlx::query!(
        "UPDATE lanes SET paused = false, paused_until = NULL, paused_by = NULL, paused_because = NULL
          WHERE lane = $1 AND paused AND closed_at IS NULL",
        lane.id(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Lets claims go on where a pause has had its time. Which lanes those are.
pub async fn resume_ended(tx: &mut Tx) -> Result<Vec<Lane>, StorageError> {
    let resumed = sqlx::query_scalar!(
        "UPDATE lanes SET paused = false, paused_until = NULL, paused_by = NULL, paused_because = NULL
          WHERE paused AND closed_at IS NULL AND paused_until <= clock_timestamp() RETURNING lane"
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(resumed.into_iter().filter_map(Lane::from_id).collect())
}

/// Closes a lane: nothing is claimed from it, the API takes on no new work for it, and [`resume`] does not end that. One that is
/// closed is so from now on: a backup may have been made while it was, and since when is older then than what was done after it.
pub async fn close(tx: &mut Tx, lane: Lane) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE lanes SET paused = true, paused_until = NULL, closed_at = clock_timestamp() WHERE lane = $1",
        lane.id()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// For how long the lane has been closed; `None`: it is not. Locks it.
pub async fn closed_for(tx: &mut Tx, lane: Lane) -> Result<Option<Duration>, StorageError> {
    let seconds = sqlx::query_scalar!(
        "SELECT extract(epoch FROM clock_timestamp() - closed_at)::float8 FROM lanes WHERE lane = $1 FOR UPDATE",
        lane.id()
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()))
}

/// Opens a closed lane, and lets claims go on.
pub async fn reopen(tx: &mut Tx, lane: Lane) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE lanes SET paused = false, paused_by = NULL, paused_because = NULL, closed_at = NULL WHERE lane = $1",
        lane.id()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends what waits or runs under this key: it is of no use any more, and its death would be none.
pub async fn end(tx: &mut Tx, kind: &str, unique_key: &str) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE jobs SET state = 'done', finished_at = clock_timestamp(), owner = NULL, lease_until = NULL
          WHERE kind = $1 AND unique_key = $2 AND state IN ('ready', 'running')",
        kind,
        unique_key
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
