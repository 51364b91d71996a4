//! The schema, who may do what in it, and whose rows whoever sees: applied while the processes of the release before go on.

use std::time::Duration;

use sqlx::{
    ConnectOptions, Connection as _, PgConnection, PgPool,
    migrate::{MigrateError, Migrator},
};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{StorageError, code};

/// The schema this build was written for.
static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// Which role may do what in it.
static GRANTS: &str = include_str!("../../../migrations/grants.sql");

/// Whose rows the API's role sees.
static POLICIES: &str = include_str!("../../../migrations/policies.sql");

/// The roles that these two name.
const ROLES: [&str; 5] = [
    "drop_migrate",
    "drop_api",
    "drop_worker",
    "drop_retention",
    "drop_readonly",
];

/// Whoever comes after a change that waits for a table waits behind it, and a request gives up after two seconds.
const BRIEFLY: &str = "SET lock_timeout = '500ms'; SET statement_timeout = '10min'";
/// Nobody waits behind an index that is built beside everybody's work; cut off, it would lie there and serve nobody.
const WITHOUT_HURRY: &str = "SET lock_timeout = 0; SET statement_timeout = 0";
/// Between two tries whoever waited behind the first one is served.
const BETWEEN_TRIES: Duration = Duration::from_secs(1);
/// Then somebody should look who it is that holds the table; what starts this gives it half an hour.
const LONGEST: Duration = Duration::from_mins(10);

/// Applies the missing migrations, and grants the roles what they may do, where there are roles. Several processes may call it at
/// once. A table that somebody holds is asked for again and again, so that nobody waits for long behind the change.
pub async fn migrate(db: &PgPool) -> Result<(), StorageError> {
    let deadline = Instant::now() + LONGEST;
    let mut pause = interval(BETWEEN_TRIES);
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pause.tick().await;
    loop {
        match try_to_migrate(db).await {
            Err(error) if is_in_the_way(&error) && Instant::now() < deadline => {
                tracing::info!(%error, "somebody is in the way of a migration, which waits and tries again");
            }
            done => return done,
        }
        pause.reset();
        pause.tick().await;
    }
}

/// On a connection of its own, whose limits of time are not the pool's.
async fn try_to_migrate(db: &PgPool) -> Result<(), StorageError> {
    let mut connection: PgConnection = db.connect_options().connect().await?;
    // Held to the connection's end. Not waited for by the server: a wait has a snapshot, for whose end the building of an index
    // would wait in turn.
    let alone: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended('drop migrations', 0))")
        .fetch_one(&mut connection)
        .await?;
    if !alone {
        return Err(StorageError::BeingMigrated);
    }
    for beside in MIGRATIONS.iter().filter(|migration| migration.no_tx) {
        run_to(&mut connection, BRIEFLY, beside.version - 1).await?;
        run_to(&mut connection, WITHOUT_HURRY, beside.version).await?;
    }
    run_to(&mut connection, BRIEFLY, i64::MAX).await?;
    if roles_are_there(&mut connection).await? {
        sqlx::raw_sql(GRANTS).execute(&mut connection).await?;
        sqlx::raw_sql(POLICIES).execute(&mut connection).await?;
    }
    connection.close().await?;
    Ok(())
}

/// Applies what is missing up to this version, with these limits of time.
async fn run_to(connection: &mut PgConnection, limits: &'static str, version: i64) -> Result<(), StorageError> {
    sqlx::raw_sql(limits).execute(&mut *connection).await?;
    Ok(MIGRATIONS.run_to(version, connection).await?)
}

/// Roles belong to the server and are made by its owner (ops/postgres/roles.sql): all of them or none.
async fn roles_are_there(connection: &mut PgConnection) -> Result<bool, StorageError> {
    // Not checked at compile time: a catalogue's.
    let there: Vec<String> = sqlx::query_scalar("SELECT rolname::text FROM pg_roles WHERE rolname = ANY ($1)")
        .bind(ROLES.as_slice())
        .fetch_all(connection)
        .await?;
    let missing: Vec<&str> = ROLES
        .into_iter()
        .filter(|role| !there.iter().any(|one| one == role))
        .collect();
    match missing.len() {
        0 => Ok(true),
        all if all == ROLES.len() => Ok(false),
        _ => Err(StorageError::RolesMissing(missing.join(", "))),
    }
}

/// Whether somebody else holds what a migration needs: a table, the other of two tables, or the turn to migrate.
fn is_in_the_way(error: &StorageError) -> bool {
    let refused = match error {
        StorageError::BeingMigrated => return true,
        StorageError::Database(error)
        | StorageError::Migrate(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => error,
        _ => return false,
    };
    matches!(code(refused).as_deref(), Some("55P03" | "40P01"))
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
