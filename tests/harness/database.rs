//! A database of its own for each test, cloned from a template that is migrated once.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use drop_common::storage::{self, PoolOptions};
use sqlx::PgPool;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::cluster::Cluster;

const TEMPLATE: &str = "drop_template";

/// The tests that run at the same time share one server; the last one to end stops it.
static CLUSTER: Mutex<Weak<Cluster>> = Mutex::const_new(Weak::new());

/// One test's database, with all migrations applied.
pub struct TestDatabase {
    /// Connections to it.
    pub pool: PgPool,
    name: String,
    url: String,
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
            .create_database(&name, Some(TEMPLATE))
            .await
            .expect("a database for the test");
        Self {
            pool: pool(&cluster, &name).await,
            url: cluster.url(&name),
            name,
            server: Server::Shared(cluster),
        }
    }

    /// Makes one on a server of its own, which [`TestDatabase::crash`] stops. There a commit outlives that.
    pub async fn on_its_own_server() -> Self {
        let cluster = Cluster::private(&|_| {}).await.expect("a PostgreSQL for the test");
        let name = "drop_test".to_owned();
        cluster.create_database(&name, None).await.expect("a database");
        let first = pool(&cluster, &name).await;
        storage::migrate(&first).await.expect("the migrations apply");
        sqlx::query("ALTER DATABASE drop_test SET synchronous_commit = on")
            .execute(&first)
            .await
            .expect("its settings can be changed");
        first.close().await; // the setting holds for new connections
        Self {
            pool: pool(&cluster, &name).await,
            url: cluster.url(&name),
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

    /// Its address, for processes of their own.
    pub fn url(&self) -> String {
        self.url.clone()
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
    fresh.create_database(TEMPLATE, None).await.expect("a template");
    let template = pool(&fresh, TEMPLATE).await;
    storage::migrate(&template).await.expect("the migrations apply");
    template.close().await; // a database is only copied while nobody is connected to it
    *shared = Arc::downgrade(&fresh);
    fresh
}

async fn pool(cluster: &Cluster, database: &str) -> PgPool {
    let options = PoolOptions {
        max: 20,
        acquire_timeout: Duration::from_secs(20),
    };
    storage::connect(&cluster.url(database).into(), options)
        .await
        .expect("a connection")
}
