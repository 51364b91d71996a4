//! The circuit breaker: one row per provider and operation, shared by all processes.
//!
//! Three failures within 60 s open it for 60 s; then one probe decides. Half-open is derived, never stored. Each
//! transition raises the epoch, so that a report about a call of an earlier epoch changes nothing.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use super::limits::interval;
use crate::storage::{self, StorageError, Tx};

/// How long a probe may take before another process may probe: the call's deadline of 35 s and 10 s more.
pub const PROBE_LEASE: Duration = Duration::from_secs(45);

/// A breaker that is half-open for this long has no job that could probe.
const IDLE: Duration = Duration::from_secs(5);

/// What may fail on its own. Payments and account reads are never shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakerKey {
    /// Payment initiation and status at Neonomics.
    NeonomicsPisp,
    /// Consents, accounts and balances at Neonomics.
    NeonomicsAisp,
    /// Sumsub's API.
    SumsubApi,
}

impl BreakerKey {
    /// Every key: one row of `breaker` each.
    pub const ALL: [Self; 3] = [Self::NeonomicsPisp, Self::NeonomicsAisp, Self::SumsubApi];

    /// The key as stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NeonomicsPisp => "neonomics/pisp",
            Self::NeonomicsAisp => "neonomics/aisp",
            Self::SumsubApi => "sumsub/api",
        }
    }
}

impl AsRef<str> for BreakerKey {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// A breaker as it is now.
#[derive(Debug, Clone)]
pub struct State {
    /// Raised at every transition; a report carries the epoch its call started in.
    pub epoch: i64,
    /// Calls are refused, except for the one probe.
    pub open: bool,
    /// The next probe is allowed after this long; zero when half-open or closed.
    pub retry_in: Duration,
    /// When this outage began; survives failed probes.
    pub opened_at: Option<DateTime<Utc>>,
    /// How long ago it closed: the slow start counts from there.
    pub closed_for: Option<Duration>,
    /// The probe under way.
    pub probe: Option<Uuid>,
}

impl State {
    /// Whether a call holding this probe (`None`: an ordinary call) may go out.
    pub fn lets_through(&self, probe: Option<Uuid>) -> bool {
        !self.open || (probe.is_some() && probe == self.probe)
    }
}

/// What the report of a failure found or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// It is open now.
    pub open: bool,
    /// This very report opened it, or kept it open because it was the probe's.
    pub opened: bool,
}

/// Under which a call is made: what its report must fit to.
#[derive(Debug, Clone, Copy)]
pub struct Ticket {
    /// The epoch it started in.
    pub epoch: i64,
    /// The probe that it is.
    pub probe: Option<Uuid>,
}

/// The right to make the one call that decides.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// Names the probe in `fail`, `release` and `close`.
    pub id: Uuid,
    /// The epoch it started in.
    pub epoch: i64,
}

/// The breakers of all providers.
#[derive(Debug, Clone)]
pub struct Breaker {
    pub(super) db: PgPool,
}

impl Breaker {
    /// Over the shared rows.
    pub fn new(db: PgPool) -> Self {
        Self { db }
    }

    /// Reports a failure seen `age` ago, of a call that started in `epoch` (and held `probe`).
    pub async fn fail(
        &self,
        key: impl AsRef<str>,
        epoch: i64,
        probe: Option<Uuid>,
        age: Duration,
    ) -> Result<Failed, StorageError> {
        // The row is locked before the function is called, so whatever moves the epoch in between is the function.
        Ok(sqlx::query_as!(
            Failed,
            r#"SELECT (b).open AS "open!", (b).epoch <> before.epoch AS "opened!"
                 FROM (SELECT key, epoch FROM breaker WHERE key = $1 FOR UPDATE) before,
                      LATERAL breaker_fail(before.key, $2, $3::uuid, $4) b"#,
            key.as_ref(),
            epoch,
            probe as Option<Uuid>,
            interval(age),
        )
        .fetch_one(&self.db)
        .await?)
    }

    /// Takes the probe of a half-open breaker; `None`: closed, still open, or somebody else probes.
    pub async fn probe(&self, key: impl AsRef<str>) -> Result<Option<Probe>, StorageError> {
        let mut tx = storage::begin(&self.db).await?;
        let probe = probe_in(&mut tx, key.as_ref()).await?;
        tx.commit().await?;
        Ok(probe)
    }

    /// Takes the probe of a breaker that no job has probed for five seconds since it may be, so that whoever takes it
    /// makes a call of their own; `None`: there is none to take.
    pub async fn idle_probe(&self, key: BreakerKey) -> Result<Option<Probe>, StorageError> {
        let id = Uuid::new_v4();
        let epoch = sqlx::query_scalar!(
            r#"SELECT probed.epoch AS "epoch!" FROM breaker b CROSS JOIN LATERAL breaker_probe(b.key, $2, $3) probed
                WHERE b.key = $1 AND b.open AND b.retry_at <= clock_timestamp() - $4::interval"#,
            key.as_str(),
            id,
            interval(PROBE_LEASE),
            interval(IDLE),
        )
        .fetch_optional(&self.db)
        .await?;
        Ok(epoch.map(|epoch| Probe { id, epoch }))
    }

    /// Gives a probe back that made no call. Somebody else's, or one already decided, is left alone.
    pub async fn release(&self, key: impl AsRef<str>, probe: Uuid) -> Result<(), StorageError> {
        release_in(&self.db, key.as_ref(), probe).await
    }

    /// Closes the breaker: the probe was answered, with whatever status. Returns whether this probe did it.
    pub async fn close(&self, key: impl AsRef<str>, probe: Uuid) -> Result<bool, StorageError> {
        let closed = sqlx::query!(
            r#"SELECT (b).open AS "open" FROM breaker_close($1, $2) b"#,
            key.as_ref(),
            probe
        )
        .fetch_optional(&self.db)
        .await?;
        Ok(closed.is_some())
    }

    /// The breaker as it is now.
    pub async fn state(&self, key: impl AsRef<str>) -> Result<State, StorageError> {
        state_in(&self.db, key).await
    }
}

/// The breaker as a job's `sending` transaction (`&mut *tx`) sees it: read again right before the call.
pub async fn state_in(db: impl PgExecutor<'_>, key: impl AsRef<str>) -> Result<State, StorageError> {
    Ok(find(db, key.as_ref()).await?.ok_or(sqlx::Error::RowNotFound)?)
}

pub(super) async fn find(db: impl PgExecutor<'_>, key: &str) -> Result<Option<State>, StorageError> {
    let row = sqlx::query!(
        r#"SELECT epoch, open, opened_at, probe_id,
                  coalesce(greatest(0, extract(epoch FROM retry_at - clock_timestamp()) * 1000)::bigint, 0) AS "retry_in_ms!",
                  (extract(epoch FROM clock_timestamp() - closed_at) * 1000)::bigint AS closed_for_ms
             FROM breaker WHERE key = $1"#,
        key,
    )
    .fetch_optional(db)
    .await?;
    let millis = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    Ok(row.map(|row| State {
        epoch: row.epoch,
        open: row.open,
        retry_in: millis(row.retry_in_ms),
        opened_at: row.opened_at,
        closed_for: row.closed_for_ms.map(millis),
        probe: row.probe_id,
    }))
}

/// A breaker in numbers, for gauges; with it those of the single banks, whichever is worst.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Which one.
    pub key: BreakerKey,
    /// Calls are refused, except for the one probe.
    pub open: bool,
    /// Open, and a probe may go out.
    pub half_open: bool,
    /// Seconds since this outage began; 0 while closed.
    pub open_seconds: f64,
    /// When it began.
    pub opened_at: Option<DateTime<Utc>>,
}

/// Every breaker this build knows.
pub async fn readings(db: impl PgExecutor<'_>) -> Result<Vec<Reading>, StorageError> {
    let rows = sqlx::query!(
        r#"SELECT concat_ws('/', split_part(key, '/', 1), split_part(key, '/', 2)) AS "key!", bool_or(open) AS "open!",
                  bool_or(open) AND bool_and(NOT open OR retry_at <= clock_timestamp()) AS "half_open!",
                  coalesce(greatest(0, max(extract(epoch FROM clock_timestamp() - opened_at))), 0)::float8 AS "open_seconds!",
                  min(opened_at) AS opened_at
             FROM breaker GROUP BY 1"#
    )
    .fetch_all(db)
    .await?;
    let known = rows.into_iter().filter_map(|row| {
        Some(Reading {
            key: BreakerKey::ALL.into_iter().find(|key| key.as_str() == row.key)?,
            open: row.open,
            half_open: row.half_open,
            open_seconds: row.open_seconds,
            opened_at: row.opened_at,
        })
    });
    Ok(known.collect())
}

/// Takes the probe inside the caller's transaction: rolled back, it was never taken.
pub(crate) async fn probe_in(tx: &mut Tx, key: &str) -> Result<Option<Probe>, StorageError> {
    let id = Uuid::new_v4();
    let epoch = sqlx::query_scalar!(
        r#"SELECT epoch AS "epoch!" FROM breaker_probe($1, $2, $3)"#,
        key,
        id,
        interval(PROBE_LEASE),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(epoch.map(|epoch| Probe { id, epoch }))
}

/// Gives a probe back inside the caller's transaction.
pub(crate) async fn release_in(db: impl PgExecutor<'_>, key: &str, probe: Uuid) -> Result<(), StorageError> {
    sqlx::query!(r#"SELECT epoch AS "epoch" FROM breaker_release($1, $2)"#, key, probe)
        .fetch_optional(db)
        .await?;
    Ok(())
}
