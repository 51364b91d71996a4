//! The database is gone for a while.

use std::time::Duration;

use drop_common::storage::{self, PoolOptions};
use drop_tests::{cluster::Cluster, effects::Way};
use sqlx::{Executor, PgPool};

use super::scene::{Scene, stop};

const OUTAGE: Duration = Duration::from_secs(20);
const BACK_AT_WORK: i64 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn o2_q9_workers_survive_an_outage_of_the_database_and_lose_nothing() {
    let mut cluster = Cluster::private(&|_| {}).await.unwrap();
    let db = database(&cluster).await;
    let scene = Scene::over(&db, &cluster.url("outage")).await;
    scene.load(500).await;
    let workers = [scene.worker(), scene.worker()];
    scene.until("SELECT count(*) > 100 FROM effects").await;

    cluster.stop_server().await.unwrap();
    tokio::time::sleep(OUTAGE).await;
    cluster.start_server().await.unwrap();

    let left = scene.count("SELECT count(*) FROM jobs WHERE state <> 'done'").await;
    assert!(left > 0, "the outage came before the end");
    let fresh = scene.add(Way::Together).await;
    scene.every_job_has_its_effect().await;
    let waited: i64 =
        sqlx::query_scalar("SELECT extract(epoch FROM claimed_at - created_at)::bigint FROM jobs WHERE id = $1")
            .bind(fresh)
            .fetch_one(&db)
            .await
            .unwrap();
    assert!(waited <= BACK_AT_WORK, "a job waited {waited} s after the outage");
    stop(workers).await;
    db.close().await;
}

/// Migrated, and with commits that a crash of the server does not take back.
async fn database(cluster: &Cluster) -> PgPool {
    cluster.create_database("outage", None).await.unwrap();
    let options = PoolOptions {
        max: 5,
        acquire_timeout: Duration::from_secs(20),
    };
    let db = storage::connect(&cluster.url("outage").into(), options).await.unwrap();
    storage::migrate(&db).await.unwrap();
    db.execute("ALTER DATABASE outage SET synchronous_commit = on")
        .await
        .unwrap();
    db.close().await; // the setting holds for new connections
    storage::connect(&cluster.url("outage").into(), options).await.unwrap()
}
