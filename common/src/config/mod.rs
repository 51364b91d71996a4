//! Everything a process is told from outside, checked whole at start.
//!
//! Each field says its variable, unit and default. Every variable has a `…_FILE` variant for a
//! mounted secret. A problem is reported by the variable's name and the rule, never by its value.

mod aisp;
mod api;
mod bankid;
mod bankid_credentials;
mod bankid_discovery;
mod client_certificate;
mod database;
mod environment;
mod keys;
mod neonomics;
mod network;
mod operators;
mod payment_products;
mod payments;
mod profile;
mod reader;
mod sessions;
mod sumsub;
mod telemetry;
mod worker;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

pub use aisp::AispConfig;
pub use api::ApiConfig;
pub use bankid::BankIdConfig;
pub use bankid_credentials::{BankIdClientKey, BankIdCredentials};
pub use bankid_discovery::{BankIdDiscovery, BankIdEndpoint};
pub use client_certificate::{ClientCertificateConfig, PemSource};
pub use database::DatabaseConfig;
use database::PoolDefaults;
pub use environment::Environment;
pub use keys::{EncryptionKey, FormerPepper, KeysConfig};
pub use neonomics::{BbanWire, ConsentHeader, NeonomicsConfig, Retry5xx};
pub use network::{Network, NotANetwork};
pub use operators::{OperatorRole, OperatorToken, OperatorsConfig, is_operator_name};
pub use payment_products::{PaymentProducts, ProductRule};
pub use payments::PaymentsConfig;
pub use profile::Profile;
use reader::Reader;
pub use reader::{ConfigError, Problem};
pub(crate) use reader::{authority, is_loopback_http};
pub use sessions::SessionConfig;
pub use sumsub::{SumsubAuth, SumsubConfig, WebhookConfig};
pub use telemetry::{SentryConfig, TelemetryConfig};
pub use worker::WorkerConfig;

/// What the API process needs. It holds no provider's secret except the webhook's.
#[derive(Debug)]
pub struct ApiSettings {
    /// Which rules apply.
    pub profile: Profile,
    /// Logs and reports. They have begun before this is read; it is here so that its problems are told with the others.
    pub telemetry: TelemetryConfig,
    /// Where the rows live.
    pub database: DatabaseConfig,
    /// Listeners and waiting.
    pub api: ApiConfig,
    /// Our own keys.
    pub keys: KeysConfig,
    /// How long sessions live.
    pub sessions: SessionConfig,
    /// Where a login is sent.
    pub bankid: BankIdConfig,
    /// Who may post webhooks.
    pub webhook: WebhookConfig,
    /// Limits of payments.
    pub payments: PaymentsConfig,
    /// Reading accounts.
    pub aisp: AispConfig,
}

/// What the worker process needs.
#[derive(Debug)]
pub struct WorkerSettings {
    /// Which rules apply.
    pub profile: Profile,
    /// Logs and reports. They have begun before this is read; it is here so that its problems are told with the others.
    pub telemetry: TelemetryConfig,
    /// Where the rows live.
    pub database: DatabaseConfig,
    /// Listener and draining.
    pub worker: WorkerConfig,
    /// Who may see the operators' page.
    pub operators: OperatorsConfig,
    /// Our own keys.
    pub keys: KeysConfig,
    /// Where codes are exchanged and tokens checked.
    pub bankid: BankIdConfig,
    /// What proves us to BankID.
    pub bankid_credentials: BankIdCredentials,
    /// Open banking.
    pub neonomics: NeonomicsConfig,
    /// Identity verification.
    pub sumsub: SumsubConfig,
    /// Limits of payments.
    pub payments: PaymentsConfig,
    /// Reading accounts.
    pub aisp: AispConfig,
}

impl ApiSettings {
    /// Reads and checks everything; the error lists every problem.
    pub fn read(environment: &Environment) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(environment);
        let settings = Self::read_with(&mut reader);
        reader.finish(settings)
    }

    fn read_with(reader: &mut Reader<'_>) -> Self {
        let api = ApiConfig::read(reader);
        Self {
            profile: reader.profile,
            telemetry: TelemetryConfig::read(reader),
            database: DatabaseConfig::read(reader, PoolDefaults::API),
            keys: KeysConfig::read(reader),
            sessions: SessionConfig::read(reader),
            bankid: BankIdConfig::read(reader, &api.public_url),
            webhook: WebhookConfig::read(reader),
            payments: PaymentsConfig::read(reader),
            aisp: AispConfig::read(reader),
            api,
        }
    }
}

impl WorkerSettings {
    /// Reads and checks everything; the error lists every problem.
    pub fn read(environment: &Environment) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(environment);
        let settings = Self::read_with(&mut reader);
        reader.finish(settings)
    }

    fn read_with(reader: &mut Reader<'_>) -> Self {
        let worker = WorkerConfig::read(reader);
        Self {
            profile: reader.profile,
            telemetry: TelemetryConfig::read(reader),
            database: DatabaseConfig::read(reader, PoolDefaults::worker(worker.lanes.values().sum())),
            operators: OperatorsConfig::read(reader),
            keys: KeysConfig::read(reader),
            bankid: BankIdConfig::read(reader, &worker.public_url),
            bankid_credentials: BankIdCredentials::read(reader),
            neonomics: NeonomicsConfig::read(reader),
            sumsub: SumsubConfig::read(reader),
            payments: PaymentsConfig::read(reader),
            aisp: AispConfig::read(reader),
            worker,
        }
    }
}

/// The name of every variable that either process reads, `…_FILE` variants left out. For the test
/// that compares them with the example file.
pub fn variables() -> BTreeSet<String> {
    // A previous key makes its id be asked for as well.
    let environment = Environment::default().with("DROP_ENCRYPTION_KEY_PREVIOUS", "x");
    let mut reader = Reader::new(&environment);
    let _stand_ins = (
        ApiSettings::read_with(&mut reader),
        WorkerSettings::read_with(&mut reader),
    );
    reader.asked
}
