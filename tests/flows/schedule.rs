//! The cron table.

use drop_common::queue::Wake;
use drop_tests::app::TestApp;
use drop_worker::schedule::{Ticker, tick};

use crate::balances::count;

#[tokio::test]
async fn of_many_tickers_one_takes_a_slot_and_its_job_is_enqueued_once() {
    let app = TestApp::start().await; // its worker ticks too
    let wake = Wake::default();
    let tickers = [
        Ticker::start(app.db.clone(), wake.clone()).await.unwrap(),
        Ticker::start(app.db.clone(), wake.clone()).await.unwrap(),
    ];
    futures_util::future::join_all((0..16).map(|_| tick(&app.db, &wake))).await;
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
    assert_eq!(plans, slots);
    let prunings = count(&app, "SELECT count(*) FROM jobs WHERE kind = 'prune-jobs'").await;
    let prune_slots = count(&app, "SELECT count(*) FROM cron_slots WHERE name = 'prune'").await;
    assert_eq!(
        prunings, prune_slots,
        "its kind has no key of its own: the slot alone decides"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_tick_that_the_database_refuses_is_made_up_for_by_the_next() {
    let app = TestApp::start().await;
    let wake = Wake::default();
    for sql in [
        "ALTER TABLE cron_slots RENAME TO elsewhere",
        "DELETE FROM elsewhere",
        "DELETE FROM jobs WHERE kind = 'plan-balance-syncs' AND state = 'done'",
    ] {
        sqlx::query(sql).execute(&app.db).await.unwrap();
    }
    tick(&app.db, &wake).await;
    sqlx::query("ALTER TABLE elsewhere RENAME TO cron_slots")
        .execute(&app.db)
        .await
        .unwrap();
    tick(&app.db, &wake).await;
    let slots = count(
        &app,
        "SELECT count(*) FROM cron_slots WHERE name = 'plan-balance-syncs'",
    )
    .await;
    assert!(slots >= 1);
    app.finish().await;
}
