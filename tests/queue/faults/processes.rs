//! Workers that are killed, stopped or start alike.

use std::{os::unix::process::ExitStatusExt, time::Duration};

use chrono::TimeDelta;
use drop_tests::{effects::Way, time};
use rstest::rstest;
use sqlx::Connection;

use super::scene::{stop, with_scene};
use crate::jobs::row;

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

#[rstest]
#[case::with_a_claim_not_started("queue.claimed=abort@2")]
#[case::with_an_effect_nobody_was_told_of("queue.domain_committed=abort@20")]
#[case::with_outcomes_not_written("queue.before_ack=abort@3")]
#[case::before_it_renewed("queue.renewing=abort")]
#[case::while_it_drained("queue.draining=abort")]
#[tokio::test(flavor = "multi_thread")]
async fn q1_q2_q3_a_worker_is_killed_under_load(#[case] failpoint: &'static str) {
    with_scene(async move |scene| {
        scene.load(200).await;
        let mut failing = scene.worker_with(&[("DROP_FAILPOINT", failpoint)]);
        let other = scene.worker();
        if failpoint.starts_with("queue.draining") {
            scene
                .until("SELECT count(DISTINCT owner) = 2 FROM jobs WHERE state = 'running'")
                .await;
            failing.signal("TERM");
        }
        let ended = scene.load_until_ended(&mut failing).await;
        assert_eq!(ended.signal(), Some(SIGABRT), "it died at the point: {ended:?}");
        scene.every_job_has_its_effect().await;
        assert!(scene.lost_leases().await > 0, "it held jobs when it died");
        stop([other]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn q7_q1_a_worker_is_killed_in_the_middle_of_its_drain() {
    with_scene(async |scene| {
        scene.add(Way::After(Duration::from_secs(4))).await;
        for _ in 0..15 {
            scene.add(Way::After(Duration::from_secs(10))).await;
        }
        scene.load(20).await;
        let mut draining = scene.worker();
        // By then they have started: what has not goes back.
        scene
            .until("SELECT count(*) = 16 FROM jobs WHERE state = 'running' AND claimed_at < clock_timestamp() - interval '1.5 s'")
            .await;
        draining.signal("TERM");
        scene.until("SELECT count(*) > 0 FROM jobs WHERE state = 'done'").await;
        assert!(
            scene.count("SELECT count(*) FROM jobs WHERE state = 'ready'").await >= 20,
            "its free slot stays so"
        );
        assert!(scene.count("SELECT count(*) FROM jobs WHERE state = 'running'").await > 0);
        draining.signal("KILL");
        assert_eq!(draining.ended().await.signal(), Some(SIGKILL));
        let other = scene.worker();
        scene.every_job_has_its_effect().await;
        assert!(scene.lost_leases().await > 0, "it held jobs when it died");
        stop([other]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn q2_q3_a_worker_is_killed_while_the_database_renews_its_leases() {
    with_scene(async |scene| {
        for _ in 0..5 {
            scene.add(Way::After(Duration::from_secs(5))).await;
        }
        let mut renewing = scene.worker();
        scene
            .until("SELECT count(*) = 5 FROM jobs WHERE state = 'running'")
            .await;
        let held = scene.hold("jobs").await;
        scene
            .until(
                "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
                    AND query LIKE '%JOIN lanes l ON%FOR NO KEY UPDATE OF j SKIP LOCKED%'",
            )
            .await;
        renewing.signal("KILL");
        assert_eq!(renewing.ended().await.signal(), Some(SIGKILL));
        held.close().await.unwrap();
        let other = scene.worker();
        scene.every_job_has_its_effect().await;
        assert!(scene.lost_leases().await > 0, "it held jobs when it died");
        stop([other]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn q4_a_job_that_kills_its_process_is_dead_after_its_last_attempt_and_the_others_are_done() {
    with_scene(async |scene| {
        let deadly = scene.add(Way::Abort).await;
        let limit = "UPDATE jobs SET max_attempts = 3 WHERE id = $1";
        sqlx::query(limit).bind(deadly).execute(&scene.db).await.unwrap();
        scene.load(30).await;
        for _ in 0..3 {
            let ended = scene.worker().ended().await;
            assert_eq!(ended.signal(), Some(SIGABRT));
        }
        let last = scene.worker();
        scene.until("SELECT count(*) = 1 FROM jobs WHERE state = 'dead'").await;
        assert_eq!(
            row(&scene.db, deadly).await,
            ("dead".into(), 3, 0, Some("lease expired".into()))
        );
        let decided = "DELETE FROM jobs WHERE id = $1";
        sqlx::query(decided).bind(deadly).execute(&scene.db).await.unwrap();
        scene.every_job_has_its_effect().await;
        stop([last]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn q2_a_worker_whose_renewals_stall_loses_its_jobs_to_another_and_writes_nothing() {
    with_scene(async |scene| {
        for _ in 0..5 {
            scene.add(Way::After(Duration::from_secs(3))).await;
        }
        let stalling = scene.worker_with(&[("DROP_FAILPOINT", "queue.renewing=sleep:5000")]);
        scene
            .until("SELECT count(*) = 5 FROM jobs WHERE state = 'running'")
            .await;
        let other = scene.worker();
        scene.every_job_has_its_effect().await;
        assert!(scene.lost_leases().await >= 5);
        stop([stalling, other]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn q2_a_worker_that_was_stopped_for_longer_than_its_lease_writes_nothing() {
    with_scene(async |scene| {
        let soon = Duration::from_millis(700);
        for way in [
            Way::After(soon),
            Way::Blocking(soon),
            Way::After(soon),
            Way::Blocking(soon),
            Way::After(soon),
        ] {
            scene.add(way).await;
        }
        let stopped = scene.worker();
        scene
            .until("SELECT count(*) = 5 FROM jobs WHERE state = 'running'")
            .await;
        stopped.signal("STOP");
        let other = scene.worker();
        scene.until("SELECT count(*) = 5 FROM effects").await;
        stopped.signal("CONT");
        // Draining it waits for its handlers: whatever they wanted to write is decided then.
        stop([stopped]).await;
        scene.every_job_has_its_effect().await;
        assert_eq!(scene.count("SELECT count(*) FROM effects WHERE attempt = 1").await, 0);
        assert!(scene.lost_leases().await >= 5);
        stop([other]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn q2_a_lease_that_only_the_database_knows_to_be_over_writes_nothing() {
    with_scene(async |scene| {
        // By its own clock the process may write for half a minute, as one whose machine was suspended.
        sqlx::query("UPDATE lanes SET lease = '30 s'")
            .execute(&scene.db)
            .await
            .unwrap();
        let job = scene.add(Way::OutcomeLater).await;
        let suspended = scene.worker_with(&[("DROP_FAILPOINT", "queue.fencing=sleep:6000")]);
        scene
            .until("SELECT count(*) = 1 FROM jobs WHERE state = 'running'")
            .await;
        time::pass(&scene.db, TimeDelta::hours(1)).await;
        let other = scene.worker();
        scene.until("SELECT count(*) = 1 FROM effects").await;
        stop([suspended]).await;
        let attempts: Vec<i32> = sqlx::query_scalar("SELECT attempt FROM effects WHERE job = $1")
            .bind(job)
            .fetch_all(&scene.db)
            .await
            .unwrap();
        assert_eq!(attempts, [2]);
        scene.every_job_has_its_effect().await;
        stop([other]).await;
    })
    .await;
}

/// The server ends a transaction in which nothing happens for 10 s.
#[rstest]
#[case::for_less_time_than_the_server_lets_it(5)]
#[case::for_longer_than_the_server_lets_it(13)]
#[tokio::test(flavor = "multi_thread")]
async fn q2_a_worker_that_was_stopped_inside_its_transaction_has_the_job_for_as_long_as_that_lasts(
    #[case] seconds: u64,
) {
    with_scene(async move |scene| {
        let job = scene.add(Way::Together).await;
        let stopped = scene.worker_with(&[("DROP_FAILPOINT", "queue.fenced=sleep:2000")]);
        scene
            .until(
                "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'
                   AND query LIKE '%FOR NO KEY UPDATE%'",
            )
            .await;
        stopped.signal("STOP");
        let other = scene.worker();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        if seconds < 10 {
            assert_eq!(row(&scene.db, job).await, ("running".into(), 1, 0, None), "nobody may take it");
        } else {
            scene.until("SELECT count(*) = 1 FROM effects WHERE attempt = 2").await;
        }
        stopped.signal("CONT");
        stop([stopped]).await;
        scene.every_job_has_its_effect().await;
        stop([other]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn q2_two_workers_that_were_started_alike_never_share_an_owner() {
    with_scene(async |scene| {
        // As many as two workers have slots, so that both must hold some at the same time.
        for _ in 0..32 {
            scene.add(Way::After(Duration::from_secs(2))).await;
        }
        let workers = [scene.worker(), scene.worker()];
        scene
            .until("SELECT count(*) = 32 FROM jobs WHERE state = 'running'")
            .await;
        let owners = "SELECT count(DISTINCT owner) FROM jobs WHERE state = 'running'";
        assert_eq!(scene.count(owners).await, 2);
        scene.every_job_has_its_effect().await;
        stop(workers).await;
    })
    .await;
}
