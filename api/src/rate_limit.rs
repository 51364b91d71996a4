//! Limits per caller: a true sliding window in the database, one for all processes.

use std::time::Duration;

use drop_common::metrics::{Metrics, RATE_LIMITED};
use sqlx::PgPool;
use sqlx::postgres::types::PgInterval;

use crate::error::{ApiError, Code};

/// So many requests in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// What is limited; also the label of `drop_rate_limited_total`.
    pub name: &'static str,
    /// Requests accepted within the window.
    pub requests: u16,
    /// The window's length.
    pub window: Duration,
}

/// BankID initiate, per address (contract: 10 per 60 s).
pub const BANKID_INITIATE: RateLimit = RateLimit {
    name: "bankid.initiate",
    requests: 10,
    window: Duration::from_mins(1),
};
/// BankID callback, per address (contract: 10 per 60 s).
pub const BANKID_CALLBACK: RateLimit = RateLimit {
    name: "bankid.callback",
    requests: 10,
    window: Duration::from_mins(1),
};

impl RateLimit {
    /// Takes one request of `caller` (an address's bucket or a user's id) into account; 429 `rate_limited` with
    /// `Retry-After` when the window is full. A refused request does not count.
    pub async fn take(&self, pool: &PgPool, metrics: &Metrics, caller: &str) -> Result<(), ApiError> {
        let key = format!("{}:{caller}", self.name);
        let window = PgInterval::try_from(self.window).expect("windows are whole microseconds");
        if accept(pool, &key, self.requests, &window).await? {
            return Ok(());
        }
        metrics.count(&RATE_LIMITED, &[self.name]);
        let seconds = seconds_left(pool, &key, &window).await?;
        Err(ApiError::retry_after(Code::RateLimited, seconds))
    }
}

/// The row's lock puts parallel requests in order: of 50 at once exactly the limit is accepted.
async fn accept(pool: &PgPool, key: &str, limit: u16, window: &PgInterval) -> Result<bool, sqlx::Error> {
    let accepted = sqlx::query!(
        r#"INSERT INTO rate_bucket AS r (key, hits) VALUES ($1, ARRAY[clock_timestamp()])
           ON CONFLICT (key) DO UPDATE
              SET hits = (r.hits || clock_timestamp())[greatest(1, cardinality(r.hits) + 2 - $2::int):]
            WHERE cardinality(r.hits) < $2::int OR r.hits[cardinality(r.hits) - $2::int + 1] <= clock_timestamp() - $3::interval
           RETURNING true AS accepted"#,
        key,
        i32::from(limit),
        window.clone() as _,
    )
    .fetch_optional(pool)
    .await?;
    Ok(accepted.is_some())
}

/// Until the oldest hit leaves the window, at least one second.
async fn seconds_left(pool: &PgPool, key: &str, window: &PgInterval) -> Result<u32, sqlx::Error> {
    let left = sqlx::query_scalar!(
        r#"SELECT greatest(1, ceil(extract(epoch FROM hits[1] + $2::interval - clock_timestamp())))::int AS "left!"
             FROM rate_bucket WHERE key = $1"#,
        key,
        window.clone() as _,
    )
    .fetch_optional(pool)
    .await?;
    Ok(left.and_then(|left| u32::try_from(left).ok()).unwrap_or(1))
}
