//! The cron table.

#![expect(
    clippy::float_cmp,
    reason = "a metric's value is text, and the counts compared here are exact in it"
)]

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use drop_common::{
    metrics::{CRON_SLOTS, Metrics, Process},
    queue::Wake,
    storage::schedule,
};
use drop_tests::app::{TestApp, eventually};
use drop_worker::schedule::{Ticker, Ticks};

use crate::{
    balances::count,
    metrics::{Scrape, until},
    paying::value,
};

#[tokio::test]
async fn of_many_tickers_one_takes_a_slot_and_its_job_is_enqueued_once() {
    let app = TestApp::start().await; // its worker ticks too
    let wake = Wake::default();
    let metrics = Arc::new(Metrics::new(Process::Worker, "test", "test").unwrap());
    let tickers = [
        Ticker::start(app.db.clone(), wake.clone(), Arc::clone(&metrics))
            .await
            .unwrap(),
        Ticker::start(app.db.clone(), wake.clone(), Arc::clone(&metrics))
            .await
            .unwrap(),
    ];
    let ticks: Vec<_> = (0..16)
        .map(|_| Ticks::new(app.db.clone(), wake.clone(), Arc::clone(&metrics)))
        .collect();
    futures_util::future::join_all(ticks.iter().map(Ticks::tick)).await;
    for ticker in tickers {
        ticker.stop().await;
    }
    let slots = count(
        &app,
        "SELECT count(*) FROM cron_slots WHERE name = 'plan-balance-syncs'",
    )
    .await;
    let plans = count(&app, "SELECT count(*) FROM jobs WHERE kind = 'plan-balance-syncs'").await;
    assert!((1..=2).contains(&slots), "{slots} slots within a few seconds");
    let counted = |result| metrics.value(&CRON_SLOTS, &[PLANS, result]).unwrap();
    let (taken, duplicates) = (counted("taken"), counted("duplicate"));
    assert!(
        taken + duplicates >= 16.0,
        "each of sixteen came upon it: {taken} and {duplicates}"
    );
    let by_the_worker = format!("drop_cron_slots_total{{name=\"{PLANS}\",result=\"taken\"}}");
    let by_the_worker = Scrape::of_worker(&app).await.value(&by_the_worker);
    assert_eq!(taken + by_the_worker, f64::from(u8::try_from(slots).unwrap()));
    let last: f64 = value(
        &app,
        "SELECT extract(epoch FROM max(slot))::float8 FROM cron_slots WHERE name = 'plan-balance-syncs'",
    )
    .await;
    let shown = format!("drop_cron_last_slot_timestamp_seconds{{name=\"{PLANS}\"}}");
    until(&app, "the last slot is shown", |scrape| scrape.value(&shown) >= last).await;
    assert_eq!(plans, slots);
    let prunings = count(&app, "SELECT count(*) FROM jobs WHERE kind = 'prune-jobs'").await;
    let prune_slots = count(&app, "SELECT count(*) FROM cron_slots WHERE name = 'prune'").await;
    assert_eq!(
        prunings, prune_slots,
        "its kind has no key of its own: the slot alone decides"
    );
    app.finish().await;
}

/// Those of one more worker.
fn ticks(app: &TestApp) -> Ticks {
    let metrics = Arc::new(Metrics::new(Process::Worker, "test", "test").unwrap());
    Ticks::new(app.db.clone(), Wake::default(), metrics)
}

#[tokio::test]
async fn a_tick_that_the_database_refuses_is_made_up_for_by_the_next() {
    let app = TestApp::start().await;
    let ticks = ticks(&app);
    for sql in [
        "ALTER TABLE cron_slots RENAME TO elsewhere",
        "DELETE FROM elsewhere",
        "DELETE FROM jobs WHERE kind = 'plan-balance-syncs' AND state = 'done'",
    ] {
        sqlx::query(sql).execute(&app.db).await.unwrap();
    }
    ticks.tick().await;
    sqlx::query("ALTER TABLE elsewhere RENAME TO cron_slots")
        .execute(&app.db)
        .await
        .unwrap();
    ticks.tick().await;
    let slots = count(
        &app,
        "SELECT count(*) FROM cron_slots WHERE name = 'plan-balance-syncs'",
    )
    .await;
    assert!(slots >= 1);
    app.finish().await;
}

/// The calendar goes on by some minutes: what was taken is that much older. Slots lie on whole minutes, and those of
/// balances and of pruning come every five, so that a multiple of five moves slots onto slots. Returns how many plans were
/// made until then.
async fn calendar_goes_on(app: &TestApp, minutes: i32) -> usize {
    let made = slots(app, PLANS).await.len();
    for sql in [
        "UPDATE cron_slots SET slot = slot - make_interval(mins => $1)",
        // A plan's key holds its slot, which has moved.
        "UPDATE jobs SET unique_key = concat(unique_key, ' ', id, ' less ', $1::int) WHERE kind = 'plan-balance-syncs'",
    ] {
        sqlx::query(sql).bind(minutes).execute(&app.db).await.unwrap();
    }
    made
}

/// The slots of a schedule, the newest first.
async fn slots(app: &TestApp, name: &str) -> Vec<DateTime<Utc>> {
    sqlx::query_scalar("SELECT slot FROM cron_slots WHERE name = $1 ORDER BY slot DESC")
        .bind(name)
        .fetch_all(&app.db)
        .await
        .unwrap()
}

/// Waits until more plans than these were made, and looks that each has its slot. A worker looks every ten seconds.
async fn planned_since(app: &TestApp, made: usize) {
    let planned = async || slots(app, PLANS).await.len() > made;
    assert!(eventually(planned).await || eventually(planned).await, "nobody plans");
    let beside = count(
        app,
        "SELECT (SELECT count(*) FROM jobs WHERE kind = 'plan-balance-syncs')
              - (SELECT count(*) FROM cron_slots WHERE name = 'plan-balance-syncs')",
    );
    assert_eq!(beside.await, 0, "a plan for each slot, and no other");
}

const PLANS: &str = "plan-balance-syncs";

#[tokio::test(flavor = "multi_thread")]
async fn of_two_workers_that_come_and_go_each_slot_is_planned_once_and_of_the_missed_ones_the_last() {
    let app = TestApp::start().await;
    planned_since(&app, 0).await;
    // The second comes when the slot is taken: nothing is left for it.
    let mut second = app.worker_process(env!("CARGO_BIN_EXE_drop-node"), &[]);
    // The first is away across a slot, which the second takes.
    app.stop_worker().await;
    let made = calendar_goes_on(&app, 5).await;
    planned_since(&app, made).await;
    // It comes back, and both look at the next one.
    app.start_worker().await;
    let made = calendar_goes_on(&app, 5).await;
    planned_since(&app, made).await;

    // Nobody is there for seven slots: the last is made up for, the six before are not.
    second.signal("TERM");
    second.ended().await;
    app.stop_worker().await;
    let made = calendar_goes_on(&app, 35).await;
    let back = schedule::now(&app.db).await.unwrap();
    app.start_worker().await;
    let _second = app.worker_process(env!("CARGO_BIN_EXE_drop-node"), &[]);
    planned_since(&app, made).await;
    ticks(&app).tick().await;
    let oldest_made_up = async |name| {
        let slots = slots(&app, name).await.into_iter();
        slots
            .map(|slot| back - slot)
            .filter(|age| *age < TimeDelta::minutes(34))
            .max()
    };
    let planned = oldest_made_up(PLANS).await.unwrap();
    assert!(planned < TimeDelta::minutes(5), "the last: {planned}");
    // What is only worth doing in time is left out where its slot is older than two minutes.
    if let Some(pruned) = oldest_made_up("prune").await {
        assert!(pruned <= TimeDelta::minutes(2), "{pruned}");
    }
    app.finish().await;
}
