//! What the jobs share.

use std::sync::Arc;

use drop_common::{
    clock::Clock, config::WorkerSettings, domain::national_id::Accepted, keyring::Keyring, metrics::Metrics,
    providers::bankid::BankId,
};
use secrecy::ExposeSecret;
use sqlx::PgPool;
use uuid::Uuid;

/// What the jobs share.
pub struct Context {
    /// The database.
    pub db: PgPool,
    /// Encrypts columns.
    pub keys: Keyring,
    /// The present.
    pub clock: Clock,
    /// Counters and histograms of this process.
    pub metrics: Arc<Metrics>,
    /// BankID.
    pub bankid: BankId,
    /// Which kinds of national ids are accepted.
    pub accepted_ids: Accepted,
    /// The configuration.
    pub settings: WorkerSettings,
}

impl Context {
    pub(crate) fn pepper(&self) -> Option<&[u8]> {
        self.settings
            .keys
            .national_id_pepper
            .as_ref()
            .map(|pepper| pepper.expose_secret().as_bytes())
    }

    /// Wakes requests that wait for the row. After the commit, and only a hint: the API reads the row on a timer too.
    pub(crate) async fn tell_waiters(&self, row: Uuid) {
        let told = sqlx::query!("SELECT pg_notify('row', $1) AS sent", row.to_string())
            .fetch_one(&self.db)
            .await;
        if let Err(error) = told {
            tracing::debug!(error = %drop_common::storage::StorageError::from(error), "waiters were not woken; they poll");
        }
    }
}
