//! Many jobs that wait: what they cost the others.

use std::{collections::BTreeMap, time::Duration};

use drop_common::{
    queue::{Lane, Wake, WorkersConfig, drain, run_workers},
    storage::{self, PoolOptions},
};
use drop_tests::database::TestDatabase;
use sqlx::PgPool;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::{
    database::{guarded, with_database},
    jobs::{Bench, Script, Urgent, add, add_job, count, registry},
    workers::until,
};

const BACKLOG: i32 = 50_000;

/// Adds jobs that do nothing.
async fn many(db: &PgPool, lane: Lane, jobs: i32, delay: &str) {
    sqlx::query(
        "INSERT INTO jobs (lane, kind, payload, max_attempts, run_at)
         SELECT $1, 'scripted', '{\"script\": \"Done\"}', 3, clock_timestamp() + $3::interval FROM generate_series(1, $2)",
    )
    .bind(lane.id())
    .bind(jobs)
    .bind(delay)
    .execute(db)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn q6_whoever_waits_is_served_at_once_beside_fifty_thousand_others_which_go_on_meanwhile() {
    with_database(|db| async move {
        many(&db, Lane::Upkeep, BACKLOG, "0 s").await;
        let (wake, stop) = (Wake::default(), CancellationToken::new());
        let config = WorkersConfig {
            slots: BTreeMap::from([(Lane::Login, 4), (Lane::Upkeep, 4)]),
            grace: Duration::from_secs(10),
        };
        let worker = tokio::spawn(run_workers(
            config,
            registry(),
            Bench::new(&db),
            db.clone(),
            wake.clone(),
            stop.clone().cancelled_owned(),
        ));
        let done = "SELECT count(*) FROM jobs WHERE state = 'done' AND kind = 'scripted'";
        for _ in 0..20 {
            add_job(&db, &Urgent {}).await;
            wake.signal(Lane::Login);
            let served = "SELECT (count(*) = 0)::int::bigint FROM jobs WHERE kind = 'urgent' AND state <> 'done'";
            until(&db, served).await;
        }
        let others = count(&db, done).await;
        assert!((1..BACKLOG.into()).contains(&others), "{others} of the others are done");
        let slowest =
            "SELECT max(extract(epoch FROM claimed_at - created_at) * 1000)::bigint FROM jobs WHERE kind = 'urgent'";
        let slowest = count(&db, slowest).await;
        // A poll comes after 1.1 s at the latest; a busy machine may be late with it.
        assert!(slowest < 3_000, "somebody waited for {slowest} ms");
        stop.cancel();
        worker.await.unwrap().unwrap();
    })
    .await;
}

const WORKED_OFF: usize = 5;
/// How often it is looked for more.
const LOOKS: usize = 20;
const MANY: i32 = 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn q10_claims_and_outcomes_touch_no_more_blocks_beside_many_waiting_jobs_than_beside_few() {
    for (what, lane, delay) in [
        ("ready", Lane::Upkeep, "0 s"),
        ("later", Lane::Upkeep, "1 h"),
        ("behind an open circuit", Lane::PaymentSend, "0 s"),
    ] {
        let few = blocks(lane, MANY / 10, delay).await;
        let many = blocks(lane, MANY, delay).await;
        assert!(
            many < few * 3 / 2,
            "{many} blocks beside many {what}, {few} beside a tenth of them"
        );
    }
}

/// The blocks of `jobs` that are touched while some jobs are worked off, beside many others.
async fn blocks(lane: Lane, others: i32, delay: &'static str) -> i64 {
    let database = TestDatabase::new().await;
    let (db, url) = (database.pool.clone(), database.url());
    let (tell, told) = tokio::sync::oneshot::channel();
    let result = guarded(async move {
        sqlx::query("ALTER TABLE jobs SET (autovacuum_enabled = false)").execute(&db).await.unwrap();
        let filling = pool(&url).await;
        many(&filling, Lane::Upkeep, i32::try_from(WORKED_OFF).unwrap() - 1, "0 s").await;
        let others_are_ready = (lane, delay) == (Lane::Upkeep, "0 s");
        add(&filling, if others_are_ready { Script::PauseLane } else { Script::Done }).await;
        many(&filling, lane, others, delay).await;
        let open = "UPDATE breaker SET open = true, opened_at = now(), retry_at = now() + interval '1 day' WHERE key = 'neonomics/pisp'";
        for statement in [open, "VACUUM ANALYZE jobs"] {
            sqlx::query(statement).execute(&filling).await.unwrap();
        }
        close(filling, &db).await;

        let before = touched(&db).await;
        let working = pool(&url).await;
        let bench = Bench::new(&working);
        for _ in 0..LOOKS {
            drain(&working, registry(), bench.clone()).await.unwrap();
        }
        close(working, &db).await;
        assert_eq!(bench.total(), WORKED_OFF);
        tell.send(touched(&db).await - before).unwrap();
    })
    .await;
    database.remove().await;
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    told.await.unwrap()
}

async fn touched(db: &PgPool) -> i64 {
    count(
        db,
        "SELECT heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit FROM pg_statio_user_tables WHERE relname = 'jobs'",
    )
    .await
}

const COUNTED: &str = "counted";

async fn pool(url: &str) -> PgPool {
    let mut named = reqwest::Url::parse(url).unwrap();
    named.query_pairs_mut().append_pair("application_name", COUNTED);
    let options = PoolOptions {
        max: 2,
        acquire_timeout: Duration::from_secs(20),
    };
    storage::connect(&String::from(named).into(), options).await.unwrap()
}

/// What a connection has touched is counted when the server has ended it.
async fn close(pool: PgPool, db: &PgPool) {
    pool.close().await;
    let mut ticks = interval(Duration::from_millis(10));
    let left =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'counted'";
    while count(db, left).await > 0 {
        ticks.tick().await;
    }
}
