//! What the operations share.

use std::{sync::Arc, time::Duration};

use drop_common::{
    clock::Clock,
    config::ApiSettings,
    domain::{ids::UserId, login::LoginFailure},
    keyring::Keyring,
    metrics::{BANKID_LOGIN_ERRORS, LOGINS, Metrics, SUMSUB_WEBHOOK_FAILURES},
    queue::Wake,
    session_token::SessionTokens,
    storage::{self, StorageError, Tx},
};
use sqlx::PgPool;

use crate::{client_address::TrustedProxies, error::ApiError, wait::RowWaiters};

/// What the operations share; cheap to clone.
#[derive(Clone)]
pub struct State(Arc<Shared>);

/// The parts of [`State`].
pub struct Shared {
    /// The database.
    pub db: PgPool,
    /// Encrypts columns.
    pub keys: Keyring,
    /// The present.
    pub clock: Clock,
    /// Signals workers after a commit.
    pub wake: Wake,
    /// Requests that wait for a row.
    pub waiters: RowWaiters,
    /// Issues access tokens.
    pub tokens: Arc<SessionTokens>,
    /// Counters and histograms of this process.
    pub metrics: Arc<Metrics>,
    /// Whose forwarded addresses are believed.
    pub proxies: TrustedProxies,
    /// The configuration.
    pub settings: ApiSettings,
}

impl State {
    /// Shares the parts.
    pub fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// Begins a unit of work about one person, in which no other person's rows can be seen.
    pub async fn begin_for(&self, user: UserId) -> Result<Tx, StorageError> {
        storage::begin_for(&self.db, user).await
    }

    /// Counts the end of a login, and the error it ended in; a cancel and a minor are none.
    pub fn count_refused_login(&self, failure: LoginFailure) {
        self.metrics.count(&LOGINS, &[failure.code()]);
        if failure.counts_as_error() {
            self.metrics.count(&BANKID_LOGIN_ERRORS, &[failure.code()]);
        }
    }

    /// Counts a login that ended before its row could say so.
    pub fn count_lost_login(&self, reason: &'static str) {
        self.metrics.count(&BANKID_LOGIN_ERRORS, &[reason]);
    }

    /// Counts a login that its address's limit refused; a database that did not answer is none.
    pub fn count_limited_login(&self, refused: &ApiError) {
        if matches!(refused, ApiError::TooMany(..)) {
            self.count_lost_login("rate_limited");
        }
    }

    /// Counts a webhook that was not taken.
    pub fn count_webhook_failure(&self, reason: &'static str) {
        self.metrics.count(&SUMSUB_WEBHOOK_FAILURES, &[reason]);
    }

    /// Whether browsers reach this service by HTTPS; only the local profile is reached otherwise.
    pub fn is_https(&self) -> bool {
        self.settings.api.public_url.starts_with("https:")
    }

    /// The longest a request waits for its job.
    pub fn longest_wait(&self) -> Duration {
        self.settings.api.wait
    }
}

impl std::ops::Deref for State {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}
