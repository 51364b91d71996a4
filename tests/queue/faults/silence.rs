//! Connections that die without a word.

use std::time::Duration;

use drop_tests::{effects::Way, lossy::LossyWay};
use sqlx::Connection;

use super::{
    connections::listener_other_than,
    scene::{stop, with_scene},
};

/// Long enough that every connection of the worker notices nothing.
const SILENCE: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn q3_q9_a_worker_whose_statements_are_never_answered_records_rescues_and_listens_again() {
    with_scene(async |scene| {
        let way = LossyWay::to(&scene.url).await;
        let worker = scene.worker_over(&way.url);
        let listener = listener_other_than(&scene, 0).await;
        // Failures and rescues write into the history of attempts: both statements wait, and are never answered.
        let held = scene.hold("job_attempts").await;
        scene.abandoned().await;
        scene.add(Way::PanicFirst).await;
        scene.until("SELECT count(*) = 2 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").await;
        fall_silent(&way).await;
        held.close().await.unwrap();

        scene.every_job_has_its_effect().await;
        listener_other_than(&scene, listener).await;
        stop([worker]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn q9_a_worker_whose_whole_pool_falls_silent_gets_connections_again() {
    with_scene(async |scene| {
        let way = LossyWay::to(&scene.url).await;
        let held = scene.hold("effects").await;
        let worker = scene.worker_over(&way.url);
        for _ in 0..16 {
            scene.add(Way::Together).await;
        }
        // As many as the pool has.
        scene.until("SELECT count(*) = 10 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").await;
        fall_silent(&way).await;
        held.close().await.unwrap();

        scene.every_job_has_its_effect().await;
        stop([worker]).await;
    })
    .await;
}

async fn fall_silent(way: &LossyWay) {
    way.fall_silent(true);
    tokio::time::sleep(SILENCE).await;
    way.fall_silent(false);
}
