//! Postgres: one way to connect, for every process, and the domain's SQL by noun.
//!
//! API and worker build their pools here, so that their timeouts cannot drift apart.

use std::{fmt, str::FromStr, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    AssertSqlSafe, ConnectOptions, PgConnection, PgPool, Postgres,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};

pub mod accounts;
pub mod alerts_told;
pub mod aml_cases;
pub mod audit;
pub mod balance_gauges;
pub mod balance_reads;
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
pub mod notifications;
pub mod payments;
pub mod retention;
pub mod row_changes;
pub mod savepoint;
pub mod schedule;
pub mod sdk_tokens;
pub mod sessions;
mod silence;
pub mod users;
pub mod webhooks;

pub use error_class::ErrorClass;
pub use silence::patiently;

use crate::domain::ids::UserId;

/// A unit of work. Functions that write take `&mut Tx`; only handlers and jobs begin and commit one.
pub type Tx = sqlx::Transaction<'static, Postgres>;

/// The schema this build was written for.
static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// Which role may do what in it.
static GRANTS: &str = include_str!("../../../migrations/grants.sql");

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

/// Begins a unit of work about one person. The API's role sees no other person's rows in it, and without it nobody's: row-level
/// security, behind the conditions of the statements themselves.
pub async fn begin_for(db: &PgPool, user: UserId) -> Result<Tx, StorageError> {
    // One round trip; a UUID is safe to write into it.
    let begin = format!("BEGIN; SET LOCAL app.user_id = '{}'", user.uuid());
    Ok(db.begin_with(AssertSqlSafe(begin)).await?)
}

/// Applies the missing migrations, and grants the roles what they may do, where there are roles. Several processes may call it
/// at once: they queue up on advisory locks.
pub async fn migrate(db: &PgPool) -> Result<(), StorageError> {
    // A connection of its own: waiting for the lock and building an index take longer than the pool's timeouts allow.
    let patient = (*db.connect_options())
        .clone()
        .options([("statement_timeout", "10min"), ("lock_timeout", "1min")]);
    let mut connection: PgConnection = patient.connect().await?;
    MIGRATIONS.run(&mut connection).await?;
    // Roles belong to the server and are made by its owner (ops/postgres/roles.sql). Not checked at compile time: a catalogue's.
    let roles: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'drop_api')")
        .fetch_one(&mut connection)
        .await?;
    if roles {
        sqlx::raw_sql(GRANTS).execute(&mut connection).await?;
    }
    sqlx::Connection::close(connection).await?;
    Ok(())
}

/// Whether every migration this build knows has been applied. Newer ones may be there too: expand, then contract.
pub async fn schema_is_current(db: &PgPool) -> Result<bool, StorageError> {
    // Not checked at compile time: the table is sqlx's own and absent where the schema was applied by hand.
    let applied: Vec<i64> = match sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
        .fetch_all(db)
        .await
    {
        Ok(applied) => applied,
        Err(error) if code(&error).as_deref() == Some("42P01") => return Ok(false), // no such table: never migrated
        Err(error) => return Err(error.into()),
    };
    Ok(MIGRATIONS.iter().all(|migration| applied.contains(&migration.version)))
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
/// Its texts name the SQLSTATE and the constraint only: the database's own message may quote a row.
#[derive(thiserror::Error)]
pub enum StorageError {
    /// A statement or a connection failed.
    #[error("{}", database_class(.0))]
    Database(#[source] sqlx::Error),
    /// The migrations could not be applied.
    #[error("the migrations could not be applied")]
    Migrate(#[from] MigrateError),
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
            Self::Database(error) => match code(error) {
                Some(code) => passes(&code),
                None => matches!(
                    error,
                    sqlx::Error::Io(_)
                        | sqlx::Error::PoolTimedOut
                        | sqlx::Error::PoolClosed
                        | sqlx::Error::WorkerCrashed
                        | sqlx::Error::Tls(_)
                        | sqlx::Error::Protocol(_)
                ),
            },
            Self::Migrate(_) | Self::Corrupt(_) | Self::Panicked | Self::Encode(_) => false,
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
            Self::Database(_) | Self::Migrate(_) | Self::Corrupt(_) | Self::Panicked | Self::Encode(_) => false,
        }
    }
}

impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        ErrorClass::meet(&error);
        Self::Database(error)
    }
}

// Debug output reaches logs too: a derived one would print the row that PostgreSQL quotes in its detail.
impl fmt::Debug for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorageError({self})")
    }
}

/// SQLSTATEs of what passes by itself, besides those of a lost connection (08…) and of too little disk, memory or
/// connections (53…).
const PASSING: [&str; 10] = [
    "40001", "40P01", "55P03", // serialisation failure, deadlock, lock not had in time
    "57014", "25P03", // our own limits of a statement's and of an idle transaction's time
    "57P01", "57P02", "57P03", "57P05", // the server ends, or starts
    "25006", // read-only: no longer the primary
];

fn passes(code: &str) -> bool {
    PASSING.contains(&code) || code.starts_with("08") || code.starts_with("53")
}

fn code(error: &sqlx::Error) -> Option<String> {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .map(std::borrow::Cow::into_owned)
}

fn database_class(error: &sqlx::Error) -> String {
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
