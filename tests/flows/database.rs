//! What the database says, and what it means to whoever asked.

use drop_common::storage::StorageError;
use drop_tests::database::TestDatabase;
use sqlx::AssertSqlSafe;

#[tokio::test]
async fn a_state_of_the_database_that_passes_is_not_taken_for_a_mistake() {
    let database = TestDatabase::new().await;
    let passing = [
        "08006", "25006", "25P03", "40001", "40P01", "53100", "53200", "53300", "55P03", "57014", "57P01", "57P03",
    ];
    let lasting = ["22P02", "23505", "23514", "25P02", "42501", "42P01", "57P04"];
    for (codes, passes) in [(&passing[..], true), (&lasting[..], false)] {
        for code in codes {
            let sql = format!("DO $$ BEGIN RAISE EXCEPTION 'said' USING ERRCODE = '{code}'; END $$");
            let raised = sqlx::query(AssertSqlSafe(sql)).execute(&database.pool).await;
            let error = StorageError::from(raised.unwrap_err());
            assert_eq!(error.is_transient(), passes, "{code}: {error}");
        }
    }
    database.remove().await;
}

#[tokio::test]
async fn a_statement_that_outlasts_our_own_limit_may_be_tried_again() {
    let database = TestDatabase::new().await;
    let mut tx = database.pool.begin().await.unwrap();
    sqlx::query("SET LOCAL statement_timeout = 50")
        .execute(&mut *tx)
        .await
        .unwrap();
    let ended = sqlx::query("SELECT pg_sleep(10)").execute(&mut *tx).await;
    let error = StorageError::from(ended.unwrap_err());
    assert!(error.is_transient(), "{error}");
    drop(tx);
    database.remove().await;
}
