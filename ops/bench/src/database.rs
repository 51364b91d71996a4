//! A database of its own on the given server.

use std::{str::FromStr, time::Duration};

use anyhow::Context;
use drop_common::{
    queue::Lane,
    storage::{self, PoolOptions},
};
use sqlx::{
    AssertSqlSafe, ConnectOptions, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

const NAME: &str = "drop_bench";
/// The lane of the jobs that are measured: no breaker stands before it.
pub(crate) const LANE: Lane = Lane::Upkeep;

/// The database, and the way to it.
pub(crate) struct Database {
    /// Connections without statement timeouts, for the bench's own large statements.
    pub(crate) pool: PgPool,
    /// Where it is.
    pub(crate) url: String,
    server: PgConnectOptions,
}

impl Database {
    /// Makes it anew, with all migrations.
    pub(crate) async fn create(url: &str) -> anyhow::Result<Self> {
        let server = PgConnectOptions::from_str(url).context("the server's address is unreadable")?;
        let mut admin = server.connect().await.context("the server does not answer")?;
        for statement in [
            format!("DROP DATABASE IF EXISTS {NAME} WITH (FORCE)"),
            format!("CREATE DATABASE {NAME}"),
        ] {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut admin).await?;
        }
        let own = server.clone().database(NAME);
        let url = own.to_url_lossy().to_string();
        let options = PoolOptions {
            max: 2,
            acquire_timeout: Duration::from_secs(10),
        };
        storage::migrate(&storage::connect(&url.clone().into(), options).await?).await?;
        let pool = PgPoolOptions::new().max_connections(16).connect_with(own).await?;
        let database = Self { pool, url, server };
        database
            .run(
                "CREATE TABLE bare_like_jobs (LIKE jobs INCLUDING ALL);
                 CREATE TABLE bare_like_inbox (LIKE webhook_events INCLUDING ALL);
                 CREATE TABLE bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL, lane smallint NOT NULL,
                                    payload jsonb NOT NULL, max_attempts int NOT NULL)",
            )
            .await?;
        Ok(database)
    }

    /// Runs statements that return nothing.
    pub(crate) async fn run(&self, statements: &'static str) -> anyhow::Result<()> {
        sqlx::raw_sql(statements).execute(&self.pool).await?;
        Ok(())
    }

    /// Empties the queue and gives the next measurement fresh statistics.
    pub(crate) async fn empty(&self) -> anyhow::Result<()> {
        self.run("TRUNCATE jobs, job_attempts, bare_like_jobs, bare; UPDATE lanes SET paused = false; CHECKPOINT")
            .await
    }

    /// Holds the measured lane, so that workers are up before the first job may start.
    pub(crate) async fn pause(&self, paused: bool) -> anyhow::Result<()> {
        sqlx::query("UPDATE lanes SET paused = $1 WHERE lane = $2")
            .bind(paused)
            .bind(LANE.id())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Puts waiting jobs of the bench's kind into a lane.
    pub(crate) async fn fill(&self, lane: Lane, jobs: usize, delay: Duration) -> anyhow::Result<()> {
        sqlx::query(
            "INSERT INTO jobs (lane, kind, payload, max_attempts, run_at)
             SELECT $1, 'bench', '{\"sent_at_us\": 0}', 5, clock_timestamp() + $2 * interval '1 s' FROM generate_series(1, $3)",
        )
        .bind(lane.id())
        .bind(delay.as_secs_f64())
        .bind(i64::try_from(jobs)?)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// What makes the figures comparable.
    pub(crate) async fn settings(&self) -> anyhow::Result<String> {
        let settings: String = sqlx::query_scalar(
            "SELECT 'PostgreSQL ' || current_setting('server_version') || ', fsync ' || current_setting('fsync')
                    || ', synchronous_commit ' || current_setting('synchronous_commit') || ', shared_buffers '
                    || current_setting('shared_buffers')",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(settings)
    }

    /// Drops it.
    pub(crate) async fn remove(self) -> anyhow::Result<()> {
        self.pool.close().await;
        let mut admin = self.server.connect().await?;
        sqlx::raw_sql(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")))
            .execute(&mut admin)
            .await?;
        Ok(())
    }
}
