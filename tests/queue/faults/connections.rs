//! Connections that are cut, wake-ups that are lost, and a database whose clock jumps.

use std::time::Duration;

use chrono::TimeDelta;
use drop_common::queue::{Lane, Wake};
use drop_tests::{effects::Way, time};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use super::scene::{Scene, WORKERS, stop, with_scene};
use crate::jobs::row;

/// How many jobs surely run when the clock jumps.
const RUNNING_AT_THE_JUMP: i64 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn q9_connections_that_are_cut_one_by_one_end_no_worker() {
    with_scene(async |scene| {
        let workers = [scene.worker(), scene.worker()];
        let mut ticks = interval(Duration::from_millis(50));
        let mut cut = 0;
        for _ in 0..60 {
            ticks.tick().await;
            scene.load(10).await;
            cut += cut_connections(&scene, 1).await;
        }
        assert!(cut > 40, "{cut} connections were cut");
        scene.every_job_has_its_effect().await;
        stop(workers).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn q9_connections_that_are_cut_all_at_once_again_and_again_end_no_worker() {
    with_scene(async |scene| {
        let workers = [scene.worker(), scene.worker()];
        let mut ticks = interval(Duration::from_millis(400));
        for _ in 0..6 {
            ticks.tick().await;
            scene.load(50).await;
            // What ran at the last cut still seems to run: the workers may have no new connection yet.
            scene
                .until(
                    "SELECT EXISTS (SELECT FROM jobs WHERE state = 'running') AND EXISTS (
                       SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'drop-node')",
                )
                .await;
            assert!(cut_connections(&scene, 1_000).await > 0);
        }
        scene.every_job_has_its_effect().await;
        stop(workers).await;
    })
    .await;
}

/// Cuts up to so many connections of the workers, chosen at random, and says how many there were.
async fn cut_connections(scene: &Scene, most: i64) -> usize {
    let cut: Vec<bool> = sqlx::query_scalar(
        "SELECT pg_terminate_backend(pid) FROM (
           SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1
            ORDER BY random() LIMIT $2) chosen",
    )
    .bind(WORKERS)
    .bind(most)
    .fetch_all(&scene.db)
    .await
    .unwrap();
    cut.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn o5_q2_a_database_clock_that_jumps_ahead_ends_the_leases_of_what_runs_and_repeats_no_effect() {
    with_scene(async |scene| {
        let workers = [scene.worker(), scene.worker()];
        for jump in 1..=3 {
            scene.load(60).await;
            for _ in 0..RUNNING_AT_THE_JUMP {
                scene.add(Way::After(Duration::from_secs(3))).await; // so that none ends before the jump
            }
            scene
                .until(
                    "SELECT count(*) = 10 FROM jobs WHERE state = 'running' AND payload #>> '{way,After,secs}' = '3'",
                )
                .await;
            time::pass(&scene.db, TimeDelta::hours(1)).await;
            scene.every_job_has_its_effect().await;
            let lost = scene.lost_leases().await;
            assert!(
                lost >= jump * RUNNING_AT_THE_JUMP,
                "{lost} leases had ended after jump {jump}"
            );
        }
        stop(workers).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o5_q2_a_database_clock_that_steps_back_keeps_what_runs_and_lets_wait_what_waited() {
    with_scene(async |scene| {
        let workers = [scene.worker(), scene.worker()];
        for _ in 0..64 {
            scene.add(Way::After(Duration::from_secs(4))).await; // half of them wait for a slot
        }
        scene
            .until("SELECT count(*) = 32 FROM jobs WHERE state = 'running'")
            .await;
        time::pass(&scene.db, TimeDelta::hours(-1)).await;
        let fresh = scene.add(Way::Together).await;
        scene
            .until("SELECT NOT EXISTS (SELECT FROM jobs WHERE state = 'running' OR state = 'ready' AND run_at <= clock_timestamp())")
            .await;
        assert_eq!(row(&scene.db, fresh).await.0, "done", "what comes runs");
        let waiting = scene.count("SELECT count(*) FROM jobs WHERE state = 'ready'").await;
        let early =
            "SELECT count(*) FROM jobs WHERE state = 'ready' AND run_at > clock_timestamp() + interval '50 min'";
        assert_eq!(scene.count(early).await, waiting, "until the clock has caught up");
        assert!(waiting > 0);
        time::pass(&scene.db, TimeDelta::hours(1)).await;
        scene.every_job_has_its_effect().await;
        assert_eq!(scene.count("SELECT max(attempt)::bigint FROM jobs").await, 1);
        stop(workers).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn q5_a_lost_wake_up_delays_by_one_poll_and_the_listener_comes_back() {
    with_scene(async |scene| {
        let worker = scene.worker();
        let mut unsignalled = Vec::new();
        for _ in 0..5 {
            let listener = listener_other_than(&scene, 0).await;
            sqlx::query("SELECT pg_terminate_backend($1)")
                .bind(listener)
                .execute(&scene.db)
                .await
                .unwrap();
            unsignalled.push(start_delay(&scene, None).await);
            listener_other_than(&scene, listener).await;
        }
        unsignalled.sort_unstable();
        // The poll comes after 1.1 s at the latest; a busy machine may be late with one of them.
        assert!(unsignalled[3] <= 1_200 && unsignalled[4] <= 3_000, "{unsignalled:?}");

        let (wake, stopping) = (Wake::default(), CancellationToken::new());
        let sending = wake.start(&scene.db, false, &stopping);
        let mut signalled = Vec::new();
        for _ in 0..8 {
            signalled.push(start_delay(&scene, Some(&wake)).await);
        }
        signalled.sort_unstable();
        // Polls alone would bring six of eight below this once in hundreds of runs.
        assert!(signalled[5] <= 250, "{signalled:?}");
        stopping.cancel();
        for task in sending {
            task.await.unwrap();
        }
        scene.every_job_has_its_effect().await;
        stop([worker]).await;
    })
    .await;
}

/// Waits until a connection other than this listens for wake-ups.
pub(super) async fn listener_other_than(scene: &Scene, former: i32) -> i32 {
    let mut ticks = interval(Duration::from_millis(20));
    for _ in 0..1_000 {
        ticks.tick().await;
        let listening: Option<i32> = sqlx::query_scalar(
            "SELECT pid FROM pg_stat_activity
              WHERE datname = current_database() AND application_name = $1 AND query ILIKE 'LISTEN%' AND pid <> $2",
        )
        .bind(WORKERS)
        .bind(former)
        .fetch_optional(&scene.db)
        .await
        .unwrap();
        if let Some(pid) = listening {
            return pid;
        }
    }
    panic!("nobody listens");
}

/// Enqueues one job and returns how many milliseconds later it was claimed.
async fn start_delay(scene: &Scene, wake: Option<&Wake>) -> i64 {
    let job = scene.add(Way::Together).await;
    if let Some(wake) = wake {
        wake.signal(Lane::Upkeep);
    }
    scene
        .until("SELECT NOT EXISTS (SELECT FROM jobs WHERE state <> 'done')")
        .await;
    sqlx::query_scalar("SELECT (extract(epoch FROM claimed_at - created_at) * 1000)::bigint FROM jobs WHERE id = $1")
        .bind(job)
        .fetch_one(&scene.db)
        .await
        .unwrap()
}
