//! The sliding window.

use std::time::Duration;

use drop_common::resilience::limits::{Limit, hit};
use futures_util::future::join_all;

use crate::database::with_database;

const WINDOW: Duration = Duration::from_mins(1);

#[tokio::test]
async fn of_fifty_requests_at_once_ten_are_allowed_and_the_window_slides() {
    with_database(|db| async move {
        let answers = join_all((0..50).map(|_| hit(&db, "k:192.0.2.7", 10, WINDOW))).await;
        let allowed = answers
            .iter()
            .filter(|answer| *answer.as_ref().unwrap() == Limit::Allowed)
            .count();
        assert_eq!(allowed, 10);
        let Limit::RetryAfter(seconds) = hit(&db, "k:192.0.2.7", 10, WINDOW).await.unwrap() else {
            panic!("allowed")
        };
        assert!((50..=60).contains(&seconds), "{seconds}");
        assert_eq!(
            hit(&db, "k:192.0.2.8", 10, WINDOW).await.unwrap(),
            Limit::Allowed,
            "a bucket of its own"
        );
        // The oldest hit leaves the window: exactly one more.
        sqlx::query("UPDATE rate_bucket SET hits[1] = hits[1] - interval '61 s' WHERE key = 'k:192.0.2.7'")
            .execute(&db)
            .await
            .unwrap();
        assert_eq!(hit(&db, "k:192.0.2.7", 10, WINDOW).await.unwrap(), Limit::Allowed);
        assert!(matches!(
            hit(&db, "k:192.0.2.7", 10, WINDOW).await.unwrap(),
            Limit::RetryAfter(_)
        ));
    })
    .await;
}
