//! A database of its own for each test.

use std::future::Future;

use drop_tests::database::TestDatabase;
use sqlx::PgPool;

/// Runs the test over a migrated database and drops that, also when the test fails.
pub(crate) async fn with_database<T: Future<Output = ()> + Send + 'static>(test: impl FnOnce(PgPool) -> T) {
    let database = TestDatabase::new().await;
    let result = tokio::spawn(test(database.pool.clone())).await;
    database.remove().await;
    if let Err(failed) = result {
        std::panic::resume_unwind(failed.into_panic());
    }
}
