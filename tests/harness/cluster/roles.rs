//! The service's roles on a private server: as everywhere, made by `ops/postgres/roles.sql`.
use anyhow::Context;
use reqwest::Url;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{Cluster, Source};

const ROLES: &str = include_str!("../../../ops/postgres/roles.sql");

/// Who owns everything, and is every process, where there are no roles yet.
pub const ONE_LOGIN: &str = "everybody";

/// What each role's address has as its password. A private server lets everybody in without one, and so nobody but
/// our own care keeps it from being told.
pub const DATABASE_PASSWORD: &str = "database-test-password";

/// Who a process is to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Owns the tables.
    Migrate,
    /// The HTTP API.
    Api,
    /// The worker, and the operator's commands.
    Worker,
    /// Deletes what was kept long enough.
    Retention,
    /// People who look.
    ReadOnly,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Migrate, Self::Api, Self::Worker, Self::Retention, Self::ReadOnly];

    /// Its name on the server.
    pub fn name(self) -> &'static str {
        match self {
            Self::Migrate => "drop_migrate",
            Self::Api => "drop_api",
            Self::Worker => "drop_worker",
            Self::Retention => "drop_retention",
            Self::ReadOnly => "drop_readonly",
        }
    }
}

impl Cluster {
    /// Makes an empty database for the service. On a private server it is the migrations' role's; a given one, whose roles are
    /// not ours to make, has one account for everything.
    pub async fn create_service_database(&self, name: &str) -> anyhow::Result<()> {
        self.create_database(name, None).await?;
        if self.is_private() {
            let mut connection = PgConnection::connect(&self.url(name)).await?;
            let made = sqlx::raw_sql(AssertSqlSafe(ROLES)).execute(&mut connection).await;
            made.context("the service's roles could not be made")?;
            connection.close().await?;
        }
        Ok(())
    }

    /// Makes an empty database as there was before the roles: [`ONE_LOGIN`]'s. Only on a private server.
    pub async fn create_database_of_one_login(&self, name: &str) -> anyhow::Result<()> {
        self.create_database(name, None).await?;
        self.execute(format!("create role {ONE_LOGIN} login")).await?;
        self.execute(format!(r#"alter database "{name}" owner to {ONE_LOGIN}"#))
            .await
    }

    /// Makes a copy of such a database. Its owner is not copied with it, and reaches the tables in it as the owner.
    pub async fn copy_service_database(&self, name: &str, template: &str) -> anyhow::Result<()> {
        self.create_database(name, Some(template)).await?;
        if self.is_private() {
            let owner = Role::Migrate.name();
            self.execute(format!(r#"alter database "{name}" owner to {owner}"#))
                .await?;
        }
        Ok(())
    }

    /// The address of a database for a process of this role. May hold a password: not for logs.
    pub fn url_as(&self, role: Role, database: &str) -> String {
        match &self.source {
            Source::Given(_) => self.url(database),
            Source::Private(_) => for_login(&self.url(database), role.name()),
        }
    }
}

/// The address of a database on a private server for another login.
pub fn for_login(address: &str, login: &str) -> String {
    let mut address = Url::parse(address).expect("an address that we made");
    address.set_username(login).expect("an address with a host");
    address
        .set_password(Some(DATABASE_PASSWORD))
        .expect("an address with a host");
    address.into()
}
