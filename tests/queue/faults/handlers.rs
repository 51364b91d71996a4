//! Handlers that misbehave.

use std::time::Duration;

use drop_tests::effects::Way;

use super::scene::{stop, with_scene};

#[tokio::test(flavor = "multi_thread")]
async fn q2_a_handler_that_blocks_the_only_thread_for_longer_than_its_lease_runs_once() {
    with_scene(async |scene| {
        let blocking = scene.add(Way::Blocking(Duration::from_millis(4_500))).await;
        let one_thread = [("TOKIO_WORKER_THREADS", "1")];
        let workers = [scene.worker_with(&one_thread), scene.worker_with(&one_thread)];
        scene
            .until("SELECT count(*) = 1 FROM jobs WHERE state = 'running'")
            .await;
        scene.load(60).await;
        scene.every_job_has_its_effect().await;
        let (_, attempt, ..) = crate::jobs::row(&scene.db, blocking).await;
        assert_eq!(
            attempt, 1,
            "it kept its lease, although nothing else in its process ran"
        );
        stop(workers).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn q2_claims_that_wait_behind_a_blocking_handler_for_longer_than_a_lease_keep_it_and_their_attempt() {
    with_scene(async |scene| {
        scene.add(Way::Blocking(Duration::from_millis(4_500))).await;
        for _ in 0..10 {
            scene.add(Way::Together).await;
        }
        let blocked = scene.worker_with(&[("TOKIO_WORKER_THREADS", "1")]);
        scene
            .until("SELECT count(*) > 5 FROM jobs WHERE state = 'running' AND claimed_at < clock_timestamp() - interval '500 ms'")
            .await;
        let other = scene.worker(); // would take them back
        scene.every_job_has_its_effect().await;
        assert_eq!(scene.count("SELECT max(attempt)::bigint FROM jobs").await, 1);
        stop([blocked, other]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn q9_a_handler_that_panics_ends_no_worker_and_runs_again() {
    with_scene(async |scene| {
        for _ in 0..20 {
            scene.add(Way::PanicFirst).await;
        }
        scene.load(50).await;
        let workers = [scene.worker(), scene.worker()];
        scene.every_job_has_its_effect().await;
        let panics = "SELECT count(*) FROM job_attempts WHERE error = 'panic: the first attempt'";
        assert_eq!(scene.count(panics).await, 20);
        stop(workers).await;
    })
    .await;
}
