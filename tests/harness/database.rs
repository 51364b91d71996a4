//! A database of its own for each test, cloned from a template that is migrated once.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use chrono::{DateTime, Utc};
use drop_common::storage::{self, PoolOptions};
use sqlx::PgPool;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::cluster::{Cluster, ONE_LOGIN, Role, for_login};

const TEMPLATE: &str = "drop_template";

/// The tests that run at the same time share one server; the last one to end stops it.
static CLUSTER: Mutex<Weak<Cluster>> = Mutex::const_new(Weak::new());

/// One test's database, with all migrations applied.
pub struct TestDatabase {
    /// Connections to it, as the server's owner: they see everything.
    pub pool: PgPool,
    name: String,
    url: String,
    /// Its address as each role has it.
    urls: [(Role, String); Role::ALL.len()],
    server: Server,
}

/// Where the database is.
enum Server {
    /// On that of the tests that run at this moment.
    Shared(Arc<Cluster>),
    /// On one that the test may stop.
    Own(Box<Mutex<Cluster>>),
}

impl TestDatabase {
    /// Makes one.
    pub async fn new() -> Self {
        let cluster = cluster().await;
        let name = format!("drop_test_{}", Uuid::now_v7().simple());
        cluster
            .copy_service_database(&name, TEMPLATE)
            .await
            .expect("a database for the test");
        Self::shared(cluster, name).await
    }

    async fn shared(cluster: Arc<Cluster>, name: String) -> Self {
        Self {
            pool: pool(cluster.url(&name)).await,
            url: cluster.url(&name),
            urls: Role::ALL.map(|role| (role, cluster.url_as(role, &name))),
            name,
            server: Server::Shared(cluster),
        }
    }

    /// Makes one with the roles and without a table, for migrations of another release.
    pub async fn without_tables() -> Self {
        let cluster = cluster().await;
        let name = format!("drop_test_{}", Uuid::now_v7().simple());
        cluster
            .create_service_database(&name)
            .await
            .expect("a database for the test");
        Self::shared(cluster, name).await
    }

    /// Makes one on a server of its own, which [`TestDatabase::crash`] stops. There a commit outlives that.
    pub async fn on_its_own_server() -> Self {
        Self::on_server(Cluster::private(&|_| {}).await.expect("a PostgreSQL for the test")).await
    }

    /// The same with an archive, and a base backup of the empty database: [`TestDatabase::restore_to`] goes back to any moment since.
    pub async fn archived() -> Self {
        let database = Self::on_server(Cluster::archived().await.expect("a PostgreSQL for the test")).await;
        database.own().lock().await.back_up().await.expect("a base backup");
        database
    }

    /// Everything that was committed since this moment is forgotten. Only on a server with an archive.
    pub async fn restore_to(&self, moment: DateTime<Utc>) {
        let mut own = self.own().lock().await;
        own.archive().await.expect("what was written is archived");
        own.restore_to(moment).await.expect("the server is restored");
    }

    async fn on_server(cluster: Cluster) -> Self {
        let name = "drop_test".to_owned();
        migrated(&cluster, &name).await;
        let first = pool(cluster.url(&name)).await;
        sqlx::query("ALTER DATABASE drop_test SET synchronous_commit = on")
            .execute(&first)
            .await
            .expect("its settings can be changed");
        first.close().await; // the setting holds for new connections
        Self {
            pool: pool(cluster.url(&name)).await,
            url: cluster.url(&name),
            urls: Role::ALL.map(|role| (role, cluster.url_as(role, &name))),
            name,
            server: Server::Own(Box::new(Mutex::new(cluster))),
        }
    }

    /// The same as before there were roles: [`ONE_LOGIN`] owns everything, and every process uses it.
    pub async fn with_one_login() -> Self {
        let cluster = Cluster::private(&|_| {}).await.expect("a PostgreSQL for the test");
        let name = "drop_test".to_owned();
        cluster.create_database_of_one_login(&name).await.expect("a database");
        let owner = pool(for_login(&cluster.url(&name), ONE_LOGIN)).await;
        storage::migrate(&owner).await.expect("the migrations apply");
        owner.close().await;
        Self {
            pool: pool(cluster.url(&name)).await,
            url: cluster.url(&name),
            urls: Role::ALL.map(|role| (role, cluster.url_as(role, &name))),
            name,
            server: Server::Own(Box::new(Mutex::new(cluster))),
        }
    }

    /// Stops the server at once, as a crash does. Only on a server of its own.
    pub async fn crash(&self) {
        let mut own = self.own().lock().await;
        own.stop_server().await.expect("the server stops");
    }

    /// Starts it again.
    pub async fn restart(&self) {
        let mut own = self.own().lock().await;
        own.start_server().await.expect("the server starts");
    }

    fn own(&self) -> &Mutex<Cluster> {
        match &self.server {
            Server::Own(cluster) => cluster,
            Server::Shared(_) => panic!("other tests are on this server"),
        }
    }

    /// Its address, as the server's owner has it.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Its address for a process of this role.
    pub fn url_as(&self, role: Role) -> String {
        let of_role = self.urls.iter().find(|(known, _)| *known == role);
        of_role.expect("the address of every role").1.clone()
    }

    /// Connections as this role.
    pub async fn pool_as(&self, role: Role) -> PgPool {
        pool(self.url_as(role)).await
    }

    /// Drops it, and the connections that others still hold.
    pub async fn remove(self) {
        self.pool.close().await;
        if let Server::Shared(cluster) = self.server {
            cluster.drop_database(&self.name).await.expect("the database goes");
        }
    }
}

/// The server of the tests that run at this moment, with the template on it.
async fn cluster() -> Arc<Cluster> {
    let mut shared = CLUSTER.lock().await;
    if let Some(running) = shared.upgrade() {
        return running;
    }
    let fresh = Arc::new(Cluster::obtain(&|_| {}).await.expect("a PostgreSQL for the tests"));
    migrated(&fresh, TEMPLATE).await;
    *shared = Arc::downgrade(&fresh);
    fresh
}

/// Makes a database with all migrations, as their role applies them.
async fn migrated(cluster: &Cluster, name: &str) {
    cluster.create_service_database(name).await.expect("a database");
    let owner = pool(cluster.url_as(Role::Migrate, name)).await;
    storage::migrate(&owner).await.expect("the migrations apply");
    owner.close().await; // a database is only copied while nobody is connected to it
}

async fn pool(url: String) -> PgPool {
    let options = PoolOptions {
        max: 20,
        acquire_timeout: Duration::from_secs(20),
    };
    storage::connect(&url.into(), options).await.expect("a connection")
}
