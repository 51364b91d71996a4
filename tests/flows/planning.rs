//! Very many accounts that are due at once, after an outage say (contract 3.2).

use chrono::TimeDelta;
use drop_common::storage::schedule;
use drop_tests::{app::TestApp, time};

use crate::{
    balances::{count, enqueue_plan},
    paying::execute,
};

#[tokio::test]
async fn very_many_due_accounts_are_planned_in_batches_and_the_next_plan_takes_what_is_left() {
    let app = TestApp::start().await;
    app.signed_in("anna").await.has_an_account().await;
    app.stop_worker().await;
    app.lane("balance.batch", "paused = true").await;
    due_accounts(&app, 1_200).await;
    plan(&app, 0).await;

    app.run_jobs().await;
    assert_eq!(planned_and_due(&app).await, (500, 701));
    let spread =
        "SELECT count(*) FROM jobs WHERE kind = 'sync-balance' AND run_at > clock_timestamp() + interval '7.5 s'";
    assert_eq!(
        count(&app, spread).await,
        0,
        "the reads of a batch begin before the next batch"
    );
    assert_eq!(waiting_plans(&app).await, 1);

    // One of the batch is due again by now: its first read found the window full for a moment.
    sqlx::query(
        "UPDATE bank_accounts SET next_sync_at = clock_timestamp() - interval '1 hour'
          WHERE id = (SELECT (payload->>'account')::uuid FROM jobs WHERE kind = 'sync-balance' ORDER BY id LIMIT 1)",
    )
    .execute(&app.db)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO cron_slots (name, slot) VALUES ('plan-balance-syncs', clock_timestamp() + interval '1 min')",
    )
    .execute(&app.db)
    .await
    .unwrap();
    time::pass(&app.db, TimeDelta::seconds(10)).await;
    app.run_jobs().await;
    assert_eq!(planned_and_due(&app).await, (1_000, 202));
    assert_eq!(
        waiting_plans(&app).await,
        0,
        "the older plan goes on beside the younger"
    );

    plan(&app, -1).await;
    app.run_jobs().await;
    assert_eq!(planned_and_due(&app).await, (1_202, 0));
    app.abandon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_plans_that_overlap_plan_each_account_once() {
    let app = TestApp::start().await;
    app.signed_in("anna").await.has_an_account().await;
    app.stop_worker().await;
    app.lane("balance.batch", "paused = true").await;
    due_accounts(&app, 399).await;
    // Each takes its time over what it has taken, and says when that was.
    execute(
        &app,
        "CREATE TABLE takings (began timestamptz, ended timestamptz);
         CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
           'BEGIN PERFORM pg_sleep(0.5); INSERT INTO takings VALUES (statement_timestamp(), clock_timestamp()); RETURN NULL; END';
         CREATE TRIGGER linger AFTER UPDATE ON bank_accounts FOR EACH STATEMENT EXECUTE FUNCTION linger()",
    )
    .await;
    for minutes_ago in 1..=2 {
        plan(&app, minutes_ago).await;
    }
    let workers = [app.worker_by_hand(), app.worker_by_hand()];
    app.run_jobs_by(&workers).await;
    let overlap = "SELECT count(*) FROM takings a JOIN takings b ON a.began < b.began AND b.began < a.ended";
    assert!(count(&app, overlap).await > 0, "they did not run at once");
    let twice = "SELECT count(*) - count(DISTINCT payload->>'account') FROM jobs WHERE kind = 'sync-balance'";
    assert_eq!(count(&app, twice).await, 0);
    assert_eq!(planned_and_due(&app).await, (400, 0));
    app.abandon().await;
}

/// Beside the one there is, so many accounts that are due.
async fn due_accounts(app: &TestApp, more: i32) {
    sqlx::query(
        "INSERT INTO bank_accounts (id, user_id, consent_id, bank, resource_id, account_sealed, account_index, account_masked, currency)
         SELECT gen_random_uuid(), user_id, consent_id, bank, resource_id, account_sealed, sha256(n::text::bytea), account_masked, currency
           FROM bank_accounts, generate_series(1, $1) n",
    )
    .bind(more)
    .execute(&app.db)
    .await
    .unwrap();
    execute(
        app,
        "UPDATE bank_accounts SET next_sync_at = clock_timestamp() - interval '1 second'",
    )
    .await;
}

async fn plan(app: &TestApp, minutes_ago: i64) {
    let slot = schedule::now(&app.db).await.unwrap() - TimeDelta::minutes(minutes_ago);
    let mut tx = app.db.begin().await.unwrap();
    enqueue_plan(&mut tx, slot).await;
    tx.commit().await.unwrap();
}

async fn planned_and_due(app: &TestApp) -> (i64, i64) {
    let planned = count(app, "SELECT count(*) FROM jobs WHERE kind = 'sync-balance'").await;
    let due = "SELECT count(*) FROM bank_accounts WHERE next_sync_at <= clock_timestamp()";
    (planned, count(app, due).await)
}

async fn waiting_plans(app: &TestApp) -> i64 {
    let waiting = "SELECT count(*) FROM jobs WHERE kind = 'plan-balance-syncs' AND state = 'ready'
                      AND run_at BETWEEN clock_timestamp() AND clock_timestamp() + interval '10 s'";
    count(app, waiting).await
}
