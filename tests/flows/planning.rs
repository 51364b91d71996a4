//! Very many accounts that are due at once, after an outage say (contract 3.2).

use chrono::TimeDelta;
use drop_common::{
    queue::{self, payloads::PlanBalanceSyncs},
    storage::schedule,
};
use drop_tests::{app::TestApp, time};

use crate::balances::{count, plan_reads};

#[tokio::test]
async fn very_many_due_accounts_are_planned_in_batches_and_the_next_plan_takes_what_is_left() {
    let app = TestApp::start().await;
    app.signed_in("anna").await.has_an_account().await;
    app.stop_worker().await;
    app.lane("balance.batch", "paused = true").await;
    sqlx::query(
        "INSERT INTO bank_accounts (id, user_id, consent_id, bank, resource_id, account_sealed, account_index, account_masked, currency)
         SELECT gen_random_uuid(), user_id, consent_id, bank, resource_id, account_sealed, sha256(n::text::bytea), account_masked, currency
           FROM bank_accounts, generate_series(1, 1200) n",
    )
    .execute(&app.db)
    .await
    .unwrap();
    plan_reads(&app, 0).await;

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

    let slot = schedule::now(&app.db).await.unwrap() + TimeDelta::minutes(1);
    let mut tx = app.db.begin().await.unwrap();
    queue::enqueue(&mut tx, &PlanBalanceSyncs { slot }).await.unwrap();
    tx.commit().await.unwrap();
    app.run_jobs().await;
    assert_eq!(planned_and_due(&app).await, (1_202, 0));
    app.abandon().await;
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
