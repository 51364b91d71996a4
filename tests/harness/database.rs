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
    cluster: Arc<Cluster>,
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
        let pool = pool(&cluster, &name).await;
        Self { pool, name, cluster }
    }

    /// Its address, for processes of their own.
    pub fn url(&self) -> String {
        self.cluster.url(&self.name)
    }

    /// Drops it, and the connections that others still hold.
    pub async fn remove(self) {
        self.pool.close().await;
        self.cluster.drop_database(&self.name).await.expect("the database goes");
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
