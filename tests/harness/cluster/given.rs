//! A server somebody gave us: we touch only databases whose names carry the prefix of this run.
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, ensure};
use reqwest::Url;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// `server_version_num` of the oldest version the product's SQL runs on.
const OLDEST: i32 = 150_000;

pub(super) struct Given {
    url: Url,
    prefix: String,
    /// The real names of the databases that may exist.
    made: Mutex<BTreeSet<String>>,
}

impl Given {
    /// Connects once. The error never holds the address, which may hold a password.
    pub(super) async fn check(url: &str) -> anyhow::Result<Self> {
        let parsed = Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "postgres" | "postgresql"));
        let parsed = parsed.context("it is not of the form postgres://user:password@host:port/database")?;
        let mut connection = PgConnection::connect(url).await.context("could not connect")?;
        let version: i32 = sqlx::query_scalar("select current_setting('server_version_num')::int")
            .fetch_one(&mut connection)
            .await
            .context("could not ask for its version")?;
        connection.close().await?;
        ensure!(
            version >= OLDEST,
            "it is PostgreSQL {}, older than {}",
            version / 10_000,
            OLDEST / 10_000
        );
        let run = uuid::Uuid::new_v4().simple().to_string();
        Ok(Self {
            url: parsed,
            prefix: format!("drop_{}_", &run[..8]),
            made: Mutex::default(),
        })
    }

    pub(super) fn real_name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(super) fn url(&self, name: &str) -> String {
        let mut url = self.url.clone();
        url.set_path(&self.real_name(name));
        url.into()
    }

    pub(super) fn remember(&self, database: &str) {
        self.made().insert(database.to_owned());
    }

    pub(super) fn forget(&self, database: &str) {
        self.made().remove(database);
    }

    fn made(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        let left = std::mem::take(&mut *self.made());
        if left.is_empty() {
            return;
        }
        let url = self.url.to_string();
        // A runtime may already be running on this thread, and it may be shutting down: use one of our own.
        let dropped = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(drop_all(&url, &left))
        });
        match dropped.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("databases named {}… were left behind: {error:#}", self.prefix),
            Err(_) => tracing::warn!("databases named {}… were left behind", self.prefix),
        }
    }
}

async fn drop_all(url: &str, databases: &BTreeSet<String>) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    for database in databases {
        let statement = format!(r#"drop database if exists "{database}" with (force)"#);
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
    }
    connection.close().await?;
    Ok(())
}
