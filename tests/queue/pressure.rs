//! Throttled and overloaded lanes, and pruning.

use std::time::Duration;

use drop_common::queue::{Lane, drain, overloaded, prune, throttle};

use crate::{
    database::with_database,
    jobs::{Bench, Call, Script, add, add_job, count, registry},
};

#[tokio::test]
async fn a_throttled_lane_is_not_claimed_and_refuses_new_work() {
    with_database(|db| async move {
        assert_eq!(overloaded(&db, Lane::PaymentSend).await.unwrap(), None);
        throttle(&db, Lane::PaymentSend, Duration::from_secs(30)).await.unwrap();
        throttle(&db, Lane::PaymentSend, Duration::from_secs(1)).await.unwrap();
        assert!(
            matches!(overloaded(&db, Lane::PaymentSend).await.unwrap(), Some(28..=30)),
            "the longer pause stays"
        );
        add_job(&db, &Call { answered: true }).await;
        assert_eq!(drain(&db, registry(), Bench::new(&db)).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_lane_whose_oldest_job_waits_too_long_is_overloaded() {
    with_database(|db| async move {
        add_job(&db, &Call { answered: true }).await;
        assert_eq!(overloaded(&db, Lane::PaymentSend).await.unwrap(), None);
        sqlx::query("UPDATE jobs SET run_at = run_at - interval '20 s'")
            .execute(&db)
            .await
            .unwrap();
        assert!(matches!(
            overloaded(&db, Lane::PaymentSend).await.unwrap(),
            Some(15..=16)
        ));
        assert_eq!(overloaded(&db, Lane::BalanceUser).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_done_job_is_pruned_after_a_week_and_a_dead_one_is_kept() {
    with_database(|db| async move {
        add(&db, Script::Done).await;
        add(&db, Script::GiveUp).await;
        drain(&db, registry(), Bench::new(&db)).await.unwrap();
        assert_eq!(prune(&db).await.unwrap(), 0);
        sqlx::query("UPDATE jobs SET finished_at = finished_at - interval '8 days'")
            .execute(&db)
            .await
            .unwrap();
        assert_eq!(prune(&db).await.unwrap(), 1);
        assert_eq!(count(&db, "SELECT count(*) FROM jobs WHERE state = 'dead'").await, 1);
    })
    .await;
}
