//! The sliding window.

use std::time::Duration;

use drop_common::resilience::limits::{self, Limit};
use futures_util::future::join_all;
use sqlx::PgPool;

use crate::database::with_database;

const WINDOW: Duration = Duration::from_mins(1);

/// One of ten requests that may come in a minute.
async fn hit(db: &PgPool, key: &str) -> Limit {
    let mut connection = db.acquire().await.unwrap();
    limits::hit(&mut connection, key, 10, WINDOW).await.unwrap()
}

#[tokio::test]
async fn of_fifty_requests_at_once_ten_are_allowed_and_the_window_slides() {
    with_database(|db| async move {
        let answers = join_all((0..50).map(|_| hit(&db, "k:192.0.2.7"))).await;
        let allowed = answers.iter().filter(|answer| **answer == Limit::Allowed);
        assert_eq!(allowed.count(), 10);
        let Limit::RetryAfter(seconds) = hit(&db, "k:192.0.2.7").await else {
            panic!("allowed")
        };
        assert!((50..=60).contains(&seconds), "{seconds}");
        assert_eq!(hit(&db, "k:192.0.2.8").await, Limit::Allowed, "a bucket of its own");
        // The oldest hit leaves the window: exactly one more.
        sqlx::query("UPDATE rate_bucket SET hits[1] = hits[1] - interval '61 s' WHERE key = 'k:192.0.2.7'")
            .execute(&db)
            .await
            .unwrap();
        assert_eq!(hit(&db, "k:192.0.2.7").await, Limit::Allowed);
        assert!(matches!(hit(&db, "k:192.0.2.7").await, Limit::RetryAfter(_)));
    })
    .await;
}

#[tokio::test]
async fn what_a_transaction_takes_back_was_no_request() {
    with_database(|db| async move {
        for _ in 0..12 {
            let mut tx = db.begin().await.unwrap();
            let counted = limits::hit(&mut tx, "k:192.0.2.7", 10, WINDOW).await.unwrap();
            assert_eq!(counted, Limit::Allowed);
            tx.rollback().await.unwrap();
        }
        assert_eq!(hit(&db, "k:192.0.2.7").await, Limit::Allowed);
    })
    .await;
}

#[tokio::test]
async fn a_window_that_a_request_holds_keeps_the_sweep_from_none_of_the_others() {
    with_database(|db| async move {
        for key in ["k:192.0.2.7", "k:192.0.2.8"] {
            hit(&db, key).await;
        }
        sqlx::query("UPDATE rate_bucket SET hits = ARRAY[now() - interval '11 min']")
            .execute(&db)
            .await
            .unwrap();
        let mut request = db.begin().await.unwrap();
        limits::hit(&mut request, "k:192.0.2.7", 10, WINDOW).await.unwrap();
        let swept = tokio::time::timeout(Duration::from_secs(5), limits::sweep(&db)).await;
        assert_eq!(swept.expect("it waits for nobody").unwrap(), 1);
        request.commit().await.unwrap();
        assert_eq!(limits::sweep(&db).await.unwrap(), 0, "it is in use again");
    })
    .await;
}
