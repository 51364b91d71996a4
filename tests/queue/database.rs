//! A database of its own for each test.

use std::{future::Future, time::Duration};

use drop_common::storage::{self, PoolOptions};
use drop_tests::app::cluster;
use sqlx::PgPool;
use uuid::Uuid;

/// Runs the test over a migrated database and drops that, also when the test fails.
pub(crate) async fn with_database<T: Future<Output = ()> + Send + 'static>(test: impl FnOnce(PgPool) -> T) {
    let cluster = cluster().await;
    let name = format!("drop_queue_{}", Uuid::new_v4().simple());
    cluster.create_database(&name, None).await.unwrap();
    let options = PoolOptions {
        max: 20,
        acquire_timeout: Duration::from_secs(20),
    };
    let db = storage::connect(&cluster.url(&name).into(), options).await.unwrap();
    storage::migrate(&db).await.unwrap();
    let result = tokio::spawn(test(db.clone())).await;
    db.close().await;
    cluster.drop_database(&name).await.unwrap();
    if let Err(failed) = result {
        std::panic::resume_unwind(failed.into_panic());
    }
}
