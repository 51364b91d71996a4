//! Postgres: one way to connect, for every process, and the domain's SQL by noun.
//!
//! API and worker build their pools here, so that their timeouts cannot drift apart.

use std::{fmt, str::FromStr, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    ConnectOptions, PgConnection, PgPool, Postgres,
    migrate::MigrateError,
    postgres::{PgConnectOptions, PgPoolOptions},
};

pub mod accounts;
pub mod alert_turns;
pub mod aml_cases;
pub mod audit;
pub mod balance_gauges;
pub mod balance_reads;
mod begin;
pub mod consents;
pub mod erasure;
mod error_class;
pub mod gauges;
pub mod health;
pub mod inbox;
pub mod kyc;
pub mod kyc_history;
pub mod kyc_reviews;
pub mod logins;
mod migrations;
pub mod notifications;
pub mod operators;
pub mod payments;
pub mod reseal;
pub mod retention;
pub mod row_changes;
pub mod savepoint;
pub mod schedule;
pub mod sdk_tokens;
pub mod sessions;
mod silence;
pub mod users;
pub mod webhooks;

pub use begin::{begin, begin_for};
pub use error_class::ErrorClass;
pub use migrations::{migrate, schema_is_current};
pub use silence::patiently;

/// A unit of work. Functions that write take `&mut Tx`; only handlers and jobs begin and commit one.
pub type Tx = sqlx::Transaction<'static, Postgres>;

/// Connects a pool and proves that the database answers.
pub async fn connect(url: &SecretString, options: PoolOptions) -> Result<PgPool, StorageError> {
    Ok(pool_options(options).connect_with(connect_options(url)?).await?)
}

/// A pool that connects at its first use: for a process that must start while the database is away.
pub fn connect_lazy(url: &SecretString, options: PoolOptions) -> Result<PgPool, StorageError> {
    Ok(pool_options(options).connect_lazy_with(connect_options(url)?))
}

/// A connection for one who goes through whole tables, and for whom nobody waits.
pub async fn connect_unhurried(url: &SecretString) -> Result<PgConnection, StorageError> {
    let unhurried = connect_options(url)?.options([("statement_timeout", "10min"), ("lock_timeout", "10s")]);
    Ok(unhurried.connect().await?)
}

/// The size of a process's pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolOptions {
    /// Connections at most.
    pub max: u32,
    /// How long a caller waits for a free connection.
    pub acquire_timeout: Duration,
}

/// A connection was asked when it came back; one that was used this short a time ago is not asked again, which would be a
/// round trip more before every statement.
const FRESH: Duration = Duration::from_secs(1);

fn pool_options(options: PoolOptions) -> PgPoolOptions {
    PgPoolOptions::new()
        .test_before_acquire(false)
        .before_acquire(|connection, was| {
            Box::pin(async move { Ok(was.idle_for < FRESH || silence::answers(connection).await?) })
        })
        .max_connections(options.max)
        .acquire_timeout(options.acquire_timeout)
        .after_release(|connection, _| Box::pin(silence::answers(connection)))
}

fn connect_options(url: &SecretString) -> Result<PgConnectOptions, StorageError> {
    Ok(PgConnectOptions::from_str(url.expose_secret())?.options([
        ("statement_timeout", "5s"),
        ("lock_timeout", "2s"),
        ("idle_in_transaction_session_timeout", "10s"),
        ("timezone", "UTC"),
    ]))
}

/// The database refused, failed or was not there.
///
/// Its texts name the SQLSTATE and the constraint only: the database's own message may quote a row. So may what stands behind it,
/// which is no source of it: whoever prints an error with its sources would print that.
#[derive(thiserror::Error)]
pub enum StorageError {
    /// A statement or a connection failed.
    #[error("{}", database_class(.0))]
    Database(sqlx::Error),
    /// The migrations could not be applied.
    #[error("the migrations could not be applied: {}", migration_class(.0))]
    Migrate(MigrateError),
    /// Somebody else applies them just now.
    #[error("the migrations are being applied already")]
    BeingMigrated,
    /// Some of the service's roles are there, and these are not.
    #[error("there is no role {0}: run ops/postgres/roles.sql")]
    RolesMissing(String),
    /// A stored value is not what this build writes: an unknown word, or a ciphertext that does not open.
    #[error("a stored value is not readable: {0}")]
    Corrupt(String),
    /// What was to write rows panicked instead; nothing of it is written.
    #[error("a panic")]
    Panicked,
    /// A value could not be turned into the JSON that is stored.
    #[error("a value could not be stored as JSON")]
    Encode(#[from] serde_json::Error),
}

impl StorageError {
    /// A stored value that could not be read. The reason must not quote the value.
    pub fn corrupt(reason: impl fmt::Display) -> Self {
        Self::Corrupt(reason.to_string())
    }

    /// Whether the same work may succeed a moment later: the database is away, full, busy or not the primary, or another
    /// transaction was in the way.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Database(error) => ErrorClass::of(error).passes(),
            Self::Migrate(_)
            | Self::BeingMigrated
            | Self::RolesMissing(_)
            | Self::Corrupt(_)
            | Self::Panicked
            | Self::Encode(_) => false,
        }
    }

    /// Whether nothing else would succeed either: the database does not answer. What it answers with a refusal, it may be
    /// asked again without whatever it refused.
    pub fn is_away(&self) -> bool {
        self.is_transient() && !matches!(self, Self::Database(sqlx::Error::Database(_)))
    }

    /// Whether a unique index or constraint of this name refused the row.
    pub fn violates(&self, constraint: &str) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => error.constraint() == Some(constraint),
            Self::Database(_)
            | Self::Migrate(_)
            | Self::BeingMigrated
            | Self::RolesMissing(_)
            | Self::Corrupt(_)
            | Self::Panicked
            | Self::Encode(_) => false,
        }
    }
}

impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        ErrorClass::meet(&error);
        Self::Database(error)
    }
}

impl From<MigrateError> for StorageError {
    fn from(error: MigrateError) -> Self {
        Self::Migrate(error)
    }
}

// Debug output reaches logs too: a derived one would print the row that PostgreSQL quotes in its detail.
impl fmt::Debug for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorageError({self})")
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .map(std::borrow::Cow::into_owned)
}

fn migration_class(error: &MigrateError) -> String {
    match error {
        MigrateError::Execute(error) => database_class(error),
        MigrateError::ExecuteMigration(error, version) => format!("{version}, {}", database_class(error)),
        other => other.to_string(),
    }
}

/// Its kind, and what the database calls it: nothing that it quotes.
pub(crate) fn database_class(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(database) => match (database.code(), database.constraint()) {
            (Some(code), Some(constraint)) => format!("database error {code} ({constraint})"),
            (Some(code), None) => format!("database error {code}"),
            (None, _) => "database error".to_owned(),
        },
        sqlx::Error::RowNotFound => "no such row".to_owned(),
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => "no free database connection".to_owned(),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
            "the database connection failed".to_owned()
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => "a stored value could not be read".to_owned(),
        _ => "the database driver failed".to_owned(),
    }
}
