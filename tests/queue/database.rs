//! A database of its own for each test.

use std::{any::Any, future::Future};

use drop_tests::database::TestDatabase;
use sqlx::PgPool;

/// Runs the test over a migrated database and drops that, also when the test fails.
pub(crate) async fn with_database<T: Future<Output = ()> + Send + 'static>(test: impl FnOnce(PgPool) -> T) {
    let database = TestDatabase::new().await;
    let result = guarded(test(database.pool.clone())).await;
    database.remove().await;
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Runs a test so that something can be done after its failure.
pub(crate) async fn guarded(test: impl Future<Output = ()> + Send + 'static) -> Result<(), Box<dyn Any + Send>> {
    tokio::spawn(test).await.map_err(tokio::task::JoinError::into_panic)
}
