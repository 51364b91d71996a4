//! The queue in numbers, for gauges: read from the tables, so the same on every worker.

use poem_openapi::Object;
use serde::Serialize;
use sqlx::PgExecutor;

use super::Lane;
use crate::storage::StorageError;

/// Seconds since the oldest transaction began that still needs old row versions; 0 without one. As long as it lasts, what
/// each job leaves behind cannot be cleaned up, and claims read ever more of it.
pub async fn oldest_snapshot_age(db: impl PgExecutor<'_>) -> Result<f64, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT coalesce(greatest(0, extract(epoch FROM clock_timestamp() - least(
                    (SELECT min(xact_start) FROM pg_stat_activity
                      WHERE backend_xmin IS NOT NULL AND backend_type <> 'autovacuum worker'),
                    (SELECT min(prepared) FROM pg_prepared_xacts)))), 0)::float8 AS "age!""#
    )
    .fetch_one(db)
    .await?)
}

/// One lane as it is now.
#[derive(Debug, Clone, Serialize, Object)]
pub struct LaneReading {
    /// The lane.
    pub lane: Lane,
    /// Nothing is claimed from it: paused, throttled, or its circuit is open.
    pub blocked: bool,
    /// Seconds of age above which the API sheds; `None`: it never does.
    pub ready_age_limit: Option<f64>,
    /// Jobs that could run now.
    pub ready: i64,
    /// Jobs that wait for their time.
    pub scheduled: i64,
    /// Jobs under a lease.
    pub running: i64,
    /// Jobs that an operator must decide on.
    pub dead: i64,
    /// Dead jobs besides, from whose death nothing has followed yet: their hook fails.
    pub untold: i64,
    /// Seconds since the oldest ready job could have run; 0 without one.
    pub oldest_ready_age: f64,
}

/// Every lane this build knows. A subquery per state, because `state IN (…)` cannot use the partial indexes.
pub async fn lanes(db: impl PgExecutor<'_>) -> Result<Vec<LaneReading>, StorageError> {
    let rows = sqlx::query!(
        r#"SELECT l.lane, coalesce(b.open, false) OR l.paused OR coalesce(l.throttled_until > now(), false) AS "blocked!",
                  extract(epoch FROM l.max_ready_age)::float8 AS ready_age_limit,
                  (SELECT count(*) FROM jobs WHERE lane = l.lane AND state = 'ready' AND run_at <= now()) AS "ready!",
                  (SELECT count(*) FROM jobs WHERE lane = l.lane AND state = 'ready' AND run_at >  now()) AS "scheduled!",
                  (SELECT count(*) FROM jobs WHERE lane = l.lane AND state = 'running') AS "running!",
                  (SELECT count(*) FROM jobs WHERE lane = l.lane AND state = 'dead')
                    - (SELECT count(*) FROM jobs WHERE lane = l.lane AND untold IS NOT NULL) AS "dead!",
                  (SELECT count(*) FROM jobs WHERE lane = l.lane AND untold IS NOT NULL) AS "untold!",
                  coalesce(greatest(0, extract(epoch FROM now() - (SELECT min(run_at) FROM jobs
                    WHERE lane = l.lane AND state = 'ready'))), 0)::float8 AS "oldest_ready_age!"
             FROM lanes l LEFT JOIN breaker b ON b.key = l.breaker_key"#
    )
    .fetch_all(db)
    .await?;
    let known = rows.into_iter().filter_map(|row| {
        Some(LaneReading {
            lane: Lane::from_id(row.lane)?, // a newer release may have added a lane
            blocked: row.blocked,
            ready_age_limit: row.ready_age_limit,
            ready: row.ready,
            scheduled: row.scheduled,
            running: row.running,
            dead: row.dead,
            untold: row.untold,
            oldest_ready_age: row.oldest_ready_age,
        })
    });
    Ok(known.collect())
}
