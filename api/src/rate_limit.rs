//! Limits per caller: a true sliding window in the database, one for all processes.

use std::time::Duration;

use drop_common::{
    metrics::{Metrics, RATE_LIMITED},
    resilience::limits::{self, Limit},
};
use sqlx::PgPool;

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
/// Redeeming an app's login, per address: the callback's numbers in a window of its own, for the two belong to one login
/// and come from one address.
pub const BANKID_REDEEM: RateLimit = RateLimit {
    name: "bankid.redeem",
    requests: 10,
    window: Duration::from_mins(1),
};

impl RateLimit {
    /// Takes one request of `caller` (an address's bucket or a user's id) into account; 429 `rate_limited` with
    /// `Retry-After` when the window is full. A refused request does not count.
    pub async fn take(&self, pool: &PgPool, metrics: &Metrics, caller: &str) -> Result<(), ApiError> {
        let key = format!("{}:{caller}", self.name);
        match limits::hit(pool, &key, self.requests, self.window).await? {
            Limit::Allowed => Ok(()),
            Limit::RetryAfter(seconds) => {
                metrics.count(&RATE_LIMITED, &[self.name]);
                Err(ApiError::retry_after(
                    Code::RateLimited,
                    u32::try_from(seconds).unwrap_or(u32::MAX),
                ))
            }
        }
    }
}
