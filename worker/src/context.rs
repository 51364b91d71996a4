//! What the jobs share.

use std::{sync::Arc, time::Duration};

use drop_common::{
    alerts::Quiet,
    clock::Clock,
    config::WorkerSettings,
    domain::{
        bank_status::BankStatus,
        national_id::{Accepted, Synthetic},
    },
    keyring::Keyring,
    metrics::{CIRCUIT_TRANSITIONS, Metrics, PISP_CIRCUIT_OPEN},
    providers::{
        ProviderError, ProviderMetrics, SharedObserver,
        bankid::BankId,
        neonomics::{Neonomics, Psu},
        sumsub::Sumsub,
    },
    queue::{Lease, Wake},
    resilience::breaker::{Breaker, BreakerKey, Ticket},
    storage::{StorageError, row_changes},
};
use sqlx::PgPool;
use uuid::Uuid;

use crate::sender::{Log, Sender};

/// How long what is wrong with our own standing is not said again: shorter than the quiet period of people, which thus decides alone.
const QUIET: Duration = Duration::from_mins(1);

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
    /// Sumsub.
    pub sumsub: Sumsub,
    /// Open banking.
    pub neonomics: Neonomics,
    /// The circuit breakers.
    pub breaker: Breaker,
    /// Signals workers when a job has enqueued another.
    pub wake: Wake,
    /// Brings notifications to people.
    pub sender: Arc<dyn Sender>,
    /// Alerts about our own standing at the banks.
    pub standing: Quiet,
    /// Which kinds of national ids are accepted.
    pub accepted_ids: Accepted,
    /// The configuration.
    pub settings: WorkerSettings,
}

impl Context {
    /// From the settings; nothing is connected yet.
    pub fn new(
        settings: WorkerSettings,
        db: PgPool,
        clock: Clock,
        metrics: Arc<Metrics>,
        wake: Wake,
    ) -> anyhow::Result<Self> {
        let calls: SharedObserver = Arc::new(ProviderMetrics(Arc::clone(&metrics)));
        Ok(Self {
            keys: Keyring::from_config(&settings.keys)?,
            clock,
            metrics,
            bankid: BankId::new(
                settings.bankid.clone(),
                settings.bankid_credentials.clone(),
                Arc::clone(&calls),
            )?,
            neonomics: Neonomics::new(settings.neonomics.clone(), Arc::clone(&calls))?,
            sumsub: Sumsub::new(settings.sumsub.clone(), calls)?,
            breaker: Breaker::new(db.clone()),
            wake,
            sender: Arc::new(Log),
            standing: Quiet::new(QUIET),
            accepted_ids: accepted_ids(&settings),
            db,
            settings,
        })
    }

    /// With another way of bringing notifications to people.
    #[must_use]
    pub fn with_sender(self, sender: Arc<dyn Sender>) -> Self {
        Self { sender, ..self }
    }

    /// The person who is there, for the bank; without their address nobody is.
    #[expect(clippy::unused_self, reason = "reads as a question to the context")]
    pub(crate) fn psu(&self, address: Option<&str>) -> Option<Psu> {
        let ip = address?.parse().ok()?;
        Some(Psu {
            ip,
            user_agent: None,
            accept_language: None,
        })
    }

    /// The bank's words that show `completed` before they are final (`PISP_PROVISIONAL_COMPLETED`).
    pub(crate) fn provisional(&self) -> Vec<BankStatus> {
        self.settings
            .neonomics
            .provisional_completed
            .iter()
            .filter_map(|word| word.parse().ok())
            .collect()
    }

    /// Tells the lane's breaker how a call went.
    pub async fn report(&self, lease: &Lease, key: BreakerKey, error: Option<&ProviderError>) {
        let ticket = Ticket {
            epoch: lease.epoch().unwrap_or_default(),
            probe: lease.probe(),
        };
        if let Err(error) = self.tell_circuit(key, key, ticket, error).await {
            tracing::warn!(%error, breaker = key.as_str(), "the breaker was not told how a call went");
        }
    }

    /// Tells a circuit how a call went: a failure counts, an answer to a probe closes. Successes write nothing. Counted as
    /// one of `key`, whichever of its banks it is.
    pub(crate) async fn tell_circuit(
        &self,
        circuit: impl AsRef<str>,
        key: BreakerKey,
        ticket: Ticket,
        error: Option<&ProviderError>,
    ) -> Result<(), StorageError> {
        match (error, ticket.probe) {
            (Some(error), probe) if error.counts_for_breaker() => {
                let failed = self.breaker.fail(circuit, ticket.epoch, probe, Duration::ZERO).await?;
                if failed.opened {
                    self.count_transition(key, "open");
                }
                // The gauge is read from the row every ten seconds; who opens the circuit need not wait for that.
                if failed.open && key == BreakerKey::NeonomicsPisp {
                    self.metrics.set(&PISP_CIRCUIT_OPEN, &[], 1.0);
                }
            }
            // A probe that made no call learnt nothing; it is given back when the job ends.
            (Some(error), Some(_)) if error.was_not_made() => {}
            (_, Some(probe)) => {
                if self.breaker.close(circuit, probe).await? {
                    self.count_transition(key, "closed");
                }
            }
            (_, None) => {}
        }
        Ok(())
    }

    /// A circuit went `open` or `closed`.
    pub(crate) fn count_transition(&self, key: BreakerKey, to: &'static str) {
        self.metrics.count(&CIRCUIT_TRANSITIONS, &[key.as_str(), to]);
    }

    /// Wakes requests that wait for the row. After the commit, and only a hint: the API reads the row on a timer too.
    pub(crate) async fn tell_waiters(&self, row: Uuid) {
        if let Err(error) = row_changes::tell(&self.db, row).await {
            tracing::debug!(%error, "waiters were not woken; they poll");
        }
    }
}

/// Synthetic ranges by configuration; help numbers outside production only: they prove no identity.
fn accepted_ids(settings: &WorkerSettings) -> Accepted {
    let named = |range: &str| settings.bankid.synthetic_ids.iter().any(|name| name == range);
    Accepted {
        synthetic: Synthetic {
            tenor: named("tenor"),
            dolly: named("dolly"),
            synt_pop: named("syntpop"),
        },
        help: !settings.profile.is_production(),
        relaxed_2032: settings.bankid.relaxed_2032,
    }
}

#[cfg(test)]
mod tests {
    use drop_common::config::Environment;

    use super::*;

    /// A complete environment, with or without what only tests have.
    fn settings(profile: &str, changes: &[(&str, &str)]) -> WorkerSettings {
        let complete = [
            ("DROP_PROFILE", profile),
            ("DATABASE_URL", "postgres://drop@db.internal/drop?sslmode=verify-full"),
            ("DROP_PUBLIC_URL", "https://getdrop.no"),
            (
                "DROP_SESSION_KEY",
                "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g",
            ),
            ("DROP_ENCRYPTION_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
            ("NATIONAL_ID_PEPPER", "test-pepper-not-for-production-0"),
            ("BANKID_ISSUER", "https://bankid.example"),
            ("BANKID_CLIENT_ID", "drop"),
            ("BANKID_CLIENT_SECRET", "bankid-secret"),
            ("NEONOMICS_BASE_URL", "https://neonomics.example"),
            ("NEONOMICS_CLIENT_ID", "drop"),
            ("NEONOMICS_CLIENT_SECRET", "neonomics-secret"),
            ("SCA_HOSTS", "dnb.no"),
            ("SUMSUB_BASE_URL", "https://sumsub.example"),
            ("SUMSUB_APP_TOKEN", "sumsub-token"),
        ];
        let environment: Environment = complete.into_iter().chain(changes.iter().copied()).collect();
        WorkerSettings::read(&environment).expect("complete")
    }

    #[test]
    fn production_takes_no_synthetic_number_and_no_help_number() {
        assert_eq!(accepted_ids(&settings("production", &[])), Accepted::default());
        let relaxed = accepted_ids(&settings("production", &[("BANKID_RELAXED_2032", "true")]));
        let expected = Accepted {
            relaxed_2032: true,
            ..Accepted::default()
        };
        assert_eq!(relaxed, expected);
    }

    #[test]
    fn elsewhere_help_numbers_are_taken_and_the_series_that_are_named() {
        let named = accepted_ids(&settings("staging", &[("BANKID_SYNTHETIC_IDS", "dolly")]));
        let expected = Accepted {
            synthetic: Synthetic {
                dolly: true,
                ..Synthetic::default()
            },
            help: true,
            relaxed_2032: false,
        };
        assert_eq!(named, expected);
    }
}
