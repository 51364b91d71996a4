//! Limits per caller: a true sliding window in the database, one for all processes.

use std::time::Duration;

use drop_common::{
    metrics::RATE_LIMITED,
    resilience::limits::{self, Limit},
    storage::StorageError,
};
use poem::Request;

use crate::{
    client_address,
    error::{ApiError, Code},
    session::Session,
    state::State,
};

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
/// Coming back from the bank that a payment was approved at, per address. Many people may share one at their carrier, each
/// of whom comes back once for each payment.
pub const PAYMENT_CALLBACK: RateLimit = RateLimit {
    name: "payment.callback",
    requests: 120,
    window: Duration::from_mins(1),
};

/// Coming back from a bank with a consent, per address: many people may share one at their carrier, and each comes back once.
pub const CONSENT_CALLBACK: RateLimit = RateLimit {
    name: "consent.callback",
    requests: 60,
    window: Duration::from_mins(1),
};
/// Refreshing and ending sessions by a refresh token, per address. Whoever asks is not known before the database was asked,
/// and many people may share an address at their carrier, each of whom refreshes every ten minutes.
pub const SESSION_TOKENS: RateLimit = RateLimit {
    name: "address",
    requests: 120,
    window: Duration::from_mins(1),
};
/// Refreshing balances, per user: in a window of its own, so that an app which refreshes too often keeps nobody from paying.
pub const REFRESHES: RateLimit = RateLimit {
    name: "refresh",
    requests: 120,
    window: Duration::from_mins(1),
};
/// Paying, taking a payment back, linking a bank and ending sessions, per user: far above what a person does, and below what
/// a program can.
pub const WRITES: RateLimit = RateLimit {
    name: "user",
    requests: 120,
    window: Duration::from_mins(1),
};

impl RateLimit {
    /// Takes one request of the caller's address into account; 429 `rate_limited` with `Retry-After` when the window is
    /// full. A refused request does not count.
    pub async fn take_from_address(&self, state: &State, request: &Request) -> Result<(), ApiError> {
        let caller = state.proxies.client_of(request).ok_or(ApiError::of(Code::Internal))?;
        self.take(state, &client_address::bucket(caller)).await
    }

    /// The same of a user's, wherever they are. What changes something takes a [`Writer`](crate::writer::Writer) for it.
    pub async fn take_from_user(&self, state: &State, session: Session) -> Result<(), ApiError> {
        self.take(state, &session.user.to_string()).await
    }

    async fn take(&self, state: &State, caller: &str) -> Result<(), ApiError> {
        let key = self.key(caller);
        let mut db = state.db.acquire().await.map_err(StorageError::from)?;
        match limits::hit(&mut db, &key, self.requests, self.window).await? {
            Limit::Allowed => Ok(()),
            Limit::RetryAfter(seconds) => {
                state.metrics.count(&RATE_LIMITED, &[self.name]);
                Err(ApiError::rate_limited(seconds))
            }
        }
    }

    /// The caller's row.
    pub(crate) fn key(&self, caller: &str) -> String {
        format!("{}:{caller}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_introductions_table_has_the_limits() {
        let logins = [BANKID_INITIATE, BANKID_CALLBACK, BANKID_REDEEM];
        assert!(logins.iter().all(|limit| limit.requests == logins[0].requests));
        let others = [PAYMENT_CALLBACK, CONSENT_CALLBACK, SESSION_TOKENS, REFRESHES, WRITES];
        assert!(logins.iter().chain(&others).all(|limit| limit.window.as_secs() == 60));
        let expected = [
            "| what | at most in 60 s |".to_owned(),
            "|---|---|".to_owned(),
            format!(
                "| starting a login; coming back from BankID; redeeming an app's login | {} each, from one address |",
                logins[0].requests
            ),
            format!(
                "| coming back from a bank | {} with a consent and {} with a payment, from one address |",
                CONSENT_CALLBACK.requests, PAYMENT_CALLBACK.requests
            ),
            format!(
                "| refreshing a session and logging out, together | {} from one address |",
                SESSION_TOKENS.requests
            ),
            format!("| refreshing balances | {} of one user |", REFRESHES.requests),
            format!(
                "| everything else that changes something, together, but for marking notifications as read | {} of one user |",
                WRITES.requests
            ),
        ];
        let (_, limits) = include_str!("openapi/introduction.md").split_once("## Limits").unwrap();
        let (limits, _) = limits.split_once("## ").unwrap();
        let table: Vec<&str> = limits.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(table, expected);
    }

    #[test]
    fn every_label_of_the_metric_is_a_limit_that_counts() {
        let limits = [
            BANKID_INITIATE,
            BANKID_CALLBACK,
            BANKID_REDEEM,
            PAYMENT_CALLBACK,
            CONSENT_CALLBACK,
            REFRESHES,
            WRITES,
            SESSION_TOKENS,
        ];
        assert_eq!(RATE_LIMITED.series(), limits.map(|limit| vec![limit.name]));
    }
}
