//! What the database says, and what it means to whoever asked.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use drop_api::wait::RowWaiters;
use drop_common::storage::{self, PoolOptions, StorageError, row_changes};
use drop_tests::{app::eventually, database::TestDatabase, lossy::LossyWay};
use futures_util::FutureExt;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[tokio::test]
async fn a_state_of_the_database_that_passes_is_not_taken_for_a_mistake() {
    let database = TestDatabase::new().await;
    let passing = [
        "08006", "25006", "25P03", "40001", "40P01", "53100", "53200", "53300", "55P03", "57014", "57P01", "57P02",
        "57P03", "57P05",
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

/// As a request ends whose client is gone, and a job whose time is over: somewhere between two statements, or within one.
#[tokio::test]
async fn whoever_is_gone_while_a_transaction_begins_leaves_none_open_for_the_next() {
    let database = TestDatabase::new().await;
    let one = PoolOptions {
        max: 1,
        acquire_timeout: Duration::from_secs(10),
    };
    let pool = storage::connect(&database.url().into(), one).await.unwrap();
    let written = "INSERT INTO rate_bucket (key, hits) VALUES (gen_random_uuid()::text, '{}')";
    let mut given_up = 0;
    for _ in 0..100 {
        // Sent with the first poll; its answer is read by nobody.
        given_up += u32::from(
            storage::begin_for(&pool, Uuid::now_v7().into())
                .now_or_never()
                .is_none(),
        );
        sqlx::query(written).execute(&pool).await.unwrap();
    }
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM rate_bucket")
        .fetch_one(&database.pool)
        .await
        .unwrap();
    assert!(given_up > 50, "{given_up}");
    assert_eq!(kept, 100, "what was written outside of a transaction is there at once");
    pool.close().await;
    database.remove().await;
}

#[tokio::test]
async fn a_transaction_that_begins_on_a_silent_connection_keeps_its_place_in_the_pool_for_a_while_only() {
    let database = TestDatabase::new().await;
    let way = LossyWay::to(&database.url()).await;
    let one = PoolOptions {
        max: 1,
        acquire_timeout: Duration::from_secs(40),
    };
    let pool = storage::connect(&way.url.clone().into(), one).await.unwrap();
    way.fall_silent(true);
    let given_up = tokio::time::timeout(Duration::from_millis(300), storage::begin(&pool)).await;
    assert!(given_up.is_err(), "somebody answers");
    way.fall_silent(false);
    storage::begin(&pool).await.expect("the one place is free again");
    database.remove().await;
}

/// Whether the end of a wait came by a notification: there is no timer, and the wait is long.
async fn is_told(database: &TestDatabase, waiters: &RowWaiters) -> bool {
    let (row, reads) = (Uuid::now_v7(), AtomicU32::new(0));
    let patience = Duration::from_secs(2);
    let began = Instant::now();
    let read = || async { Ok::<_, Infallible>((reads.fetch_add(1, Ordering::SeqCst) > 0).then_some(())) };
    let unhurried = waiters.looking_every(Duration::from_hours(1));
    let tell = async { row_changes::tell(&database.pool, row).await.unwrap() };
    let (waited, ()) = tokio::join!(unhurried.wait_until(row, began + patience, read), tell);
    waited.unwrap().is_some() && began.elapsed() < patience
}

#[expect(
    clippy::disallowed_methods,
    reason = "long enough that every connection notices; none says so"
)]
async fn fall_silent(way: &LossyWay) {
    way.fall_silent(true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    way.fall_silent(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn q9_whoever_waits_for_a_row_is_told_again_after_the_database_fell_silent() {
    let database = TestDatabase::new().await;
    let way = LossyWay::to(&database.url()).await;
    let pool = PgPool::connect(&way.url).await.unwrap();
    let (waiters, stop) = (RowWaiters::default(), CancellationToken::new());
    let listening = tokio::spawn({
        let (waiters, stop) = (waiters.clone(), stop.clone());
        async move { waiters.listen(&pool, &stop).await }
    });
    assert!(eventually(async || is_told(&database, &waiters).await).await);
    fall_silent(&way).await;
    assert!(!is_told(&database, &waiters).await, "the connection is dead");
    let mut told = false;
    for _ in 0..30 {
        told = told || is_told(&database, &waiters).await; // two seconds each
    }
    assert!(told);
    stop.cancel();
    listening.await.unwrap();
    database.remove().await;
}
