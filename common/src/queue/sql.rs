//! Every statement that moves a job from state to state, in the order of the states' picture in the module above. What
//! people and gauges read is in `operate` and `gauges`; whether a lane takes more is in `pressure`.

use std::time::Duration;

use serde_json::Value;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::{JobId, Lane, NewJob};
use crate::{resilience::breaker::BreakerKey, storage::StorageError};

/// `None`: the kind and key are there already. A function in the database does it, for statements that enqueue beside what
/// makes the job necessary ([`NewJob`]).
pub(super) async fn enqueue(db: impl PgExecutor<'_>, new: NewJob) -> Result<Option<JobId>, StorageError> {
    Ok(sqlx::query_scalar!(
        "SELECT jobs_enqueue($1, $2, $3, $4, $5, $6, $7, $8)",
        new.lane.id(),
        new.kind,
        new.unique_key,
        new.payload,
        new.max_attempts,
        new.expires_in_ms,
        new.request_id,
        new.delay_ms,
    )
    .fetch_one(db)
    .await?)
}

/// What an enqueue of many jobs of one kind writes, one place each per job.
pub(super) struct NewJobs {
    pub(super) lane: Lane,
    pub(super) kind: &'static str,
    pub(super) max_attempts: i32,
    pub(super) unique_keys: Vec<Option<String>>,
    pub(super) payloads: Vec<Value>,
    pub(super) delays_ms: Vec<i64>,
}

/// How many were new.
pub(super) async fn enqueue_many(db: impl PgExecutor<'_>, new: NewJobs) -> Result<u64, StorageError> {
    let inserted = sqlx::query!(
        "INSERT INTO jobs (lane, kind, unique_key, payload, max_attempts, run_at)
         SELECT $1, $2, n.unique_key, n.payload, $3, clock_timestamp() + n.delay_ms * interval '1 ms'
           FROM unnest($4::text[], $5::jsonb[], $6::bigint[]) AS n (unique_key, payload, delay_ms)
         ON CONFLICT (kind, unique_key) DO NOTHING",
        new.lane.id(),
        new.kind,
        new.max_attempts,
        &new.unique_keys as &[Option<String>],
        &new.payloads,
        &new.delays_ms,
    )
    .execute(db)
    .await?;
    Ok(inserted.rows_affected())
}

/// A finished row gives its key up; it keeps its history. What its death meant, if nobody was told, is its successor's now.
pub(super) async fn release_key(db: impl PgExecutor<'_>, kind: &str, key: &str) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE jobs SET unique_key = NULL, untold = NULL WHERE kind = $1 AND unique_key = $2 AND state IN ('done', 'dead')",
        kind,
        key
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A function in the database does it, since the API's role may not update jobs.
pub(super) async fn hasten(db: impl PgExecutor<'_>, kind: &str, key: &str) -> Result<bool, StorageError> {
    Ok(
        sqlx::query_scalar!(r#"SELECT jobs_hasten($1, $2) AS "hastened!""#, kind, key)
            .fetch_one(db)
            .await?,
    )
}

/// The same, but not before `spacing` has passed since it last began.
pub(super) async fn hasten_spaced(
    db: impl PgExecutor<'_>,
    kind: &str,
    key: &str,
    spacing: Duration,
) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT jobs_hasten_spaced($1, $2, make_interval(secs => $3)) AS "hastened!""#,
        kind,
        key,
        spacing.as_secs_f64(),
    )
    .fetch_one(db)
    .await?)
}

/// A claimed row.
pub(super) struct Claimed {
    pub(super) id: JobId,
    pub(super) attempt: i32,
    pub(super) used: i32,
    pub(super) max_attempts: i32,
    pub(super) lane: i16,
    pub(super) kind: String,
    pub(super) payload: Value,
    pub(super) request_id: Option<Uuid>,
    pub(super) epoch: Option<i64>,
    pub(super) lease_ms: i64,
    pub(super) waited_ms: i64,
}

/// Up to `free` ready jobs, unordered. `now()` can use the index and is fresh, for this is a transaction of one statement.
pub(super) async fn claim(
    db: impl PgExecutor<'_>,
    lane: Lane,
    free: usize,
    owner: Uuid,
) -> Result<Vec<Claimed>, StorageError> {
    Ok(sqlx::query_as!(
        Claimed,
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
        owner,
    )
    .fetch_all(db)
    .await?)
}

/// The one job that goes with a probe, from the lanes that may probe: reads before payments.
pub(super) async fn claim_with_probe(
    db: &mut PgConnection,
    key: BreakerKey,
    owner: Uuid,
) -> Result<Option<Claimed>, StorageError> {
    Ok(sqlx::query_as!(
        Claimed,
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
        owner,
        &Lane::ALL.map(Lane::id), // a newer release may have added a lane
    )
    .fetch_optional(db)
    .await?)
}

/// Returns claims that never started: as if they had not been made, except for the attempt number.
pub(super) async fn give_back(db: &mut PgConnection, jobs: &[JobId], attempts: &[i32]) -> Result<(), StorageError> {
    sqlx::query!(
        "WITH mine AS MATERIALIZED (
           SELECT j.id FROM unnest($1::bigint[], $2::int[]) AS a (id, attempt)
             JOIN jobs j ON a.id = j.id AND a.attempt = j.attempt AND j.state = 'running'
            ORDER BY j.id FOR NO KEY UPDATE OF j
         )
         UPDATE jobs j SET state = 'ready', owner = NULL, lease_until = NULL, unused = j.unused + 1
           FROM mine m WHERE j.id = m.id",
        jobs,
        attempts,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The first statement of a job's domain transaction; false: the lease is lost. It holds the row until the commit. Three
/// statements have it as a part: that which takes a login's secrets (`storage::logins::take_secrets`), that which locks a
/// payment for a job (`storage::payments::lock_for`), and that which writes that the bank has one (`storage::payments::initiated`).
pub(super) async fn fence(db: &mut PgConnection, job: JobId, attempt: i32) -> Result<bool, StorageError> {
    let held = sqlx::query_scalar!(
        r#"SELECT 1 AS "held!" FROM jobs
                WHERE id = $1 AND attempt = $2 AND state = 'running' AND lease_until > clock_timestamp() FOR NO KEY UPDATE"#,
        job,
        attempt,
    )
    .fetch_optional(db)
    .await?;
    Ok(held.is_some())
}

/// The columns of a batch of outcomes, one place each per job.
pub(super) struct Outcomes {
    pub(super) jobs: Vec<JobId>,
    pub(super) attempts: Vec<i32>,
    /// `done`, `again`, `wait` or `dead`.
    pub(super) words: Vec<String>,
    pub(super) delays_ms: Vec<i64>,
    pub(super) errors: Vec<Option<String>>,
}

/// A row whose outcome was written.
pub(super) struct Ended {
    pub(super) id: JobId,
    pub(super) kind: String,
    pub(super) state: String,
    pub(super) payload: Value,
    pub(super) last_error: Option<String>,
}

/// Writes outcomes, those of lost leases excepted. Locked in id order, so that two batches cannot deadlock. `untold`: why
/// the hooks of those that die with this have not been run.
pub(super) async fn record(
    db: &mut PgConnection,
    batch: &Outcomes,
    untold: Option<&str>,
) -> Result<Vec<Ended>, StorageError> {
    Ok(sqlx::query_as!(
        Ended,
        r#"WITH mine AS MATERIALIZED (
             SELECT j.id, j.attempt, j.owner, j.claimed_at, a.delay_ms, a.error,
                    CASE WHEN a.outcome = 'again' AND j.attempt - j.unused >= j.max_attempts THEN 'dead' ELSE a.outcome END AS result
               FROM unnest($1::bigint[], $2::int[], $3::text[], $4::bigint[], $5::text[]) AS a (id, attempt, outcome, delay_ms, error)
               JOIN jobs j ON a.id = j.id AND a.attempt = j.attempt AND j.state = 'running'
              ORDER BY j.id FOR NO KEY UPDATE OF j
           ), history AS (
             INSERT INTO job_attempts (job_id, attempt, owner, result, started_at, error)
             SELECT id, attempt, owner, result, claimed_at, error FROM mine WHERE result IN ('again','dead')
           )
           UPDATE jobs j SET owner = NULL, lease_until = NULL, last_error = coalesce(m.error, j.last_error),
               state       = CASE WHEN m.result IN ('done','dead') THEN m.result ELSE 'ready' END,
               finished_at = CASE WHEN m.result IN ('done','dead') THEN clock_timestamp() END,
               run_at      = CASE WHEN m.result IN ('again','wait') THEN clock_timestamp() + m.delay_ms * interval '1 ms'
                                  WHEN m.result = 'dead' AND $6::text IS NOT NULL THEN clock_timestamp() + interval '1 min'
                                  ELSE j.run_at END,
               unused      = j.unused + (m.result = 'wait')::int,
               untold      = CASE WHEN m.result = 'dead' THEN $6::text END
             FROM mine m WHERE j.id = m.id RETURNING j.id, j.kind, j.state, j.payload, j.last_error"#,
        &batch.jobs,
        &batch.attempts,
        &batch.words,
        &batch.delays_ms,
        &batch.errors as &[Option<String>],
        untold,
    )
    .fetch_all(db)
    .await?)
}

/// Renews leases and returns whose. A row locked by its own domain transaction is skipped, not waited for; one past its
/// longest run is left to end.
pub(super) async fn renew(db: &mut PgConnection, jobs: &[JobId], attempts: &[i32]) -> Result<Vec<JobId>, StorageError> {
    Ok(sqlx::query_scalar!(
        "WITH mine AS MATERIALIZED (
           SELECT j.id, l.lease FROM unnest($1::bigint[], $2::int[]) AS a (id, attempt)
             JOIN jobs j ON a.id = j.id AND a.attempt = j.attempt AND j.state = 'running'
             JOIN lanes l ON l.lane = j.lane AND j.claimed_at + l.max_run > clock_timestamp()
            ORDER BY j.id FOR NO KEY UPDATE OF j SKIP LOCKED
         )
         UPDATE jobs j SET lease_until = clock_timestamp() + m.lease FROM mine m WHERE j.id = m.id RETURNING j.id",
        jobs,
        attempts,
    )
    .fetch_all(db)
    .await?)
}

/// A running job whose lease has run out.
pub(super) struct Abandoned {
    pub(super) id: JobId,
    pub(super) attempt: i32,
    pub(super) lane: i16,
}

/// Locks up to 100 of them, or one.
pub(super) async fn lock_abandoned(db: &mut PgConnection, only: Option<JobId>) -> Result<Vec<Abandoned>, StorageError> {
    Ok(sqlx::query_as!(
        Abandoned,
        "SELECT id, attempt, lane FROM jobs
          WHERE state = 'running' AND lease_until < clock_timestamp() AND ($1::bigint IS NULL OR id = $1)
          ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED",
        only,
    )
    .fetch_all(db)
    .await?)
}

/// A job that should have ended.
pub(super) struct Overdue {
    pub(super) id: JobId,
    /// For so long that it is not tried any more as it should be.
    pub(super) long: bool,
}

/// Which they are.
pub(super) async fn abandoned(db: impl PgExecutor<'_>) -> Result<Vec<Overdue>, StorageError> {
    Ok(sqlx::query_as!(
        Overdue,
        r#"SELECT id, lease_until < clock_timestamp() - interval '1 min' AS "long!"
             FROM jobs WHERE state = 'running' AND lease_until < clock_timestamp() ORDER BY id LIMIT 1000"#
    )
    .fetch_all(db)
    .await?)
}

/// Makes up to 100 waiting jobs dead whose time has passed, or one. `untold`: as in `record`.
pub(super) async fn expire(
    db: &mut PgConnection,
    only: Option<JobId>,
    untold: Option<&str>,
) -> Result<Vec<Ended>, StorageError> {
    Ok(sqlx::query_as!(
        Ended,
        "WITH late AS MATERIALIZED (
           SELECT id, attempt FROM jobs WHERE state = 'ready' AND expires_at <= now() AND ($1::bigint IS NULL OR id = $1)
            ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED
         ), history AS (
           INSERT INTO job_attempts (job_id, attempt, result, error)
           SELECT id, attempt, 'dead', 'expired' FROM late ON CONFLICT DO NOTHING
         )
         UPDATE jobs j SET state = 'dead', finished_at = clock_timestamp(), last_error = 'expired', untold = $2::text,
                run_at = CASE WHEN $2::text IS NULL THEN j.run_at ELSE clock_timestamp() + interval '1 min' END
           FROM late WHERE j.id = late.id RETURNING j.id, j.kind, j.state, j.payload, j.last_error",
        only,
        untold,
    )
    .fetch_all(db)
    .await?)
}

/// Which they are.
pub(super) async fn late(db: impl PgExecutor<'_>) -> Result<Vec<Overdue>, StorageError> {
    Ok(sqlx::query_as!(
        Overdue,
        r#"SELECT id, expires_at < now() - interval '1 min' AS "long!"
             FROM jobs WHERE state = 'ready' AND expires_at <= now() ORDER BY id LIMIT 1000"#
    )
    .fetch_all(db)
    .await?)
}

/// Dead jobs whose hook is to be tried again, up to 100.
pub(super) async fn untold(db: impl PgExecutor<'_>) -> Result<Vec<JobId>, StorageError> {
    Ok(sqlx::query_scalar!(
        "SELECT id FROM jobs WHERE untold IS NOT NULL AND run_at <= clock_timestamp() ORDER BY run_at LIMIT 100"
    )
    .fetch_all(db)
    .await?)
}

/// The hook of this one runs in the same transaction. `None`: somebody else's does.
pub(super) async fn tell(db: &mut PgConnection, job: JobId) -> Result<Option<Ended>, StorageError> {
    Ok(sqlx::query_as!(
        Ended,
        "UPDATE jobs SET untold = NULL
          WHERE id = (SELECT id FROM jobs WHERE id = $1 AND untold IS NOT NULL FOR UPDATE SKIP LOCKED)
         RETURNING id, kind, state, payload, last_error",
        job,
    )
    .fetch_optional(db)
    .await?)
}

/// It failed again, with this.
pub(super) async fn tell_later(db: impl PgExecutor<'_>, job: JobId, why: &str) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE jobs SET untold = $2, run_at = clock_timestamp() + interval '1 min' WHERE id = $1 AND untold IS NOT NULL",
        job,
        why,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Makes a dead job ready with all its attempts, and one that waits for its time ready now; false: it is neither.
pub(super) async fn retry(db: &mut PgConnection, job: JobId) -> Result<bool, StorageError> {
    // `attempt` is the fence and never falls; what was used up is written off as unused.
    let retried = sqlx::query!(
        "UPDATE jobs SET state = 'ready', run_at = clock_timestamp(), finished_at = NULL, untold = NULL,
                unused = CASE state WHEN 'dead' THEN attempt ELSE unused END,
                expires_at = CASE state WHEN 'dead' THEN NULL ELSE expires_at END
          WHERE id = $1 AND (state = 'dead' OR state = 'ready' AND run_at > clock_timestamp())",
        job,
    )
    .execute(db)
    .await?;
    Ok(retried.rows_affected() == 1)
}

/// Ends the time of a waiting job; false: it does not wait. The sweep that makes late jobs dead does the rest.
pub(super) async fn cancel(db: &mut PgConnection, job: JobId) -> Result<bool, StorageError> {
    let cancelled = sqlx::query!(
        "UPDATE jobs SET expires_at = clock_timestamp() WHERE id = $1 AND state = 'ready'",
        job
    )
    .execute(db)
    .await?;
    Ok(cancelled.rows_affected() == 1)
}

/// Deletes a dead job; false: it is not dead, or untold.
pub(super) async fn discard(db: &mut PgConnection, job: JobId) -> Result<bool, StorageError> {
    let discarded = sqlx::query!(
        "DELETE FROM jobs WHERE id = $1 AND state = 'dead' AND untold IS NULL",
        job
    )
    .execute(db)
    .await?;
    Ok(discarded.rows_affected() == 1)
}

/// Deletes up to 5,000 jobs that were done more than 7 days ago. Returns how many.
pub(super) async fn prune(db: impl PgExecutor<'_>) -> Result<u64, StorageError> {
    let deleted = sqlx::query!(
        "DELETE FROM jobs WHERE id = ANY (ARRAY(
               SELECT id FROM jobs WHERE state = 'done' AND finished_at < clock_timestamp() - interval '7 days'
                ORDER BY finished_at LIMIT 5000 FOR UPDATE SKIP LOCKED))"
    )
    .execute(db)
    .await?;
    Ok(deleted.rows_affected())
}
