//! Throttled and overloaded lanes, and pruning.

use std::time::Duration;

use drop_common::queue::{Admission, Lane, admit, drain, prune, throttle};

use crate::{
    database::with_database,
    jobs::{Bench, Call, Script, add, add_job, count, registry},
};

#[tokio::test]
async fn a_throttled_lane_is_not_claimed_and_refuses_new_work() {
    with_database(|db| async move {
        assert_eq!(admit(&db, Lane::PaymentSend).await.unwrap(), Admission::Admitted);
        throttle(&db, Lane::PaymentSend, Duration::from_secs(30)).await.unwrap();
        throttle(&db, Lane::PaymentSend, Duration::from_secs(1)).await.unwrap();
        assert!(
            matches!(
                admit(&db, Lane::PaymentSend).await.unwrap(),
                Admission::Overloaded { retry_after: 28..=30 }
            ),
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
        assert_eq!(admit(&db, Lane::PaymentSend).await.unwrap(), Admission::Admitted);
        sqlx::query("UPDATE jobs SET run_at = run_at - interval '20 s'")
            .execute(&db)
            .await
            .unwrap();
        assert!(matches!(
            admit(&db, Lane::PaymentSend).await.unwrap(),
            Admission::Overloaded { retry_after: 15..=16 }
        ));
        assert_eq!(admit(&db, Lane::BalanceUser).await.unwrap(), Admission::Admitted);
    })
    .await;
}

/// So many jobs were read in this transaction, from the table or by way of an index.
const READ: &str = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'jobs'";

#[tokio::test]
async fn asking_whether_a_lane_is_overloaded_costs_the_same_with_many_jobs_waiting() {
    with_database(|db| async move {
        for statements in [
            "INSERT INTO jobs (lane, kind, max_attempts) SELECT 2, 'call', 5 FROM generate_series(1, 5000)",
            "INSERT INTO jobs (lane, kind, max_attempts) SELECT 5, 'call', 5 FROM generate_series(1, 5000)",
            "ANALYZE jobs",
        ] {
            sqlx::query(statements).execute(&db).await.unwrap();
        }
        let mut tx = db.begin().await.unwrap();
        assert_eq!(admit(&mut *tx, Lane::PaymentSend).await.unwrap(), Admission::Admitted);
        let read: i64 = sqlx::query_scalar(READ).fetch_one(&mut *tx).await.unwrap();
        assert!(read <= 1, "{read} rows were read");
        // Half-open: a job that waits to probe is looked for among those that could, and not among all.
        let half_open = "UPDATE breaker SET open = true, opened_at = now(), retry_at = now() WHERE key = 'sumsub/api'";
        sqlx::query(half_open).execute(&mut *tx).await.unwrap();
        assert_eq!(admit(&mut *tx, Lane::KycCall).await.unwrap(), Admission::Admitted);
        let read_again: i64 = sqlx::query_scalar(READ).fetch_one(&mut *tx).await.unwrap();
        assert!(read_again <= read + 1, "{read_again} rows were read");
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
