//! What the worker tells about balances, and that it tells the rest whatever becomes of that.

use drop_tests::app::TestApp;

use crate::{metrics::until, paying::execute};

#[tokio::test]
async fn an_account_that_was_never_read_is_as_old_as_its_consent() {
    let app = TestApp::start().await;
    app.signed_in("anna").await.has_an_account().await;
    app.stop_worker().await;
    execute(
        &app,
        "UPDATE bank_accounts SET balance = NULL, balance_synced_at = NULL;
         UPDATE bank_consents SET authorised_at = now() - interval '13 hours'",
    )
    .await;
    app.start_worker().await; // they are read when it begins
    let worker = until(&app, "the balance is stale", |scrape| {
        scrape.value("aisp_balance_staleness_hours") > 12.0
    })
    .await;
    assert!(worker.value("aisp_balance_staleness_hours") < 13.1);
    app.finish().await;
}

#[tokio::test]
async fn an_account_that_was_linked_again_is_as_old_as_its_new_consent() {
    let app = TestApp::start().await;
    app.signed_in("anna").await.has_an_account().await;
    app.stop_worker().await;
    execute(
        &app,
        "UPDATE bank_accounts SET balance_synced_at = now() - interval '20 hours';
         UPDATE bank_consents SET authorised_at = now() - interval '2 hours'",
    )
    .await;
    app.start_worker().await;
    let worker = until(&app, "the balance is read", |scrape| {
        scrape.value("aisp_balance_staleness_hours") > 1.0
    })
    .await;
    assert!(worker.value("aisp_balance_staleness_hours") < 2.1);
    app.finish().await;
}

#[tokio::test]
async fn figures_about_balances_that_cannot_be_read_hide_no_others() {
    let app = TestApp::start().await;
    app.stop_worker().await;
    let mut elsewhere = app.db.begin().await.unwrap();
    for sql in [
        "SET LOCAL idle_in_transaction_session_timeout = 0",
        "LOCK TABLE bank_accounts IN ACCESS EXCLUSIVE MODE",
    ] {
        sqlx::query(sql).execute(&mut *elsewhere).await.unwrap();
    }
    execute(
        &app,
        "INSERT INTO jobs (lane, kind, max_attempts, run_at) VALUES (8, 'prune-jobs', 1, now() + interval '1 hour')",
    )
    .await;
    app.start_worker().await;
    until(&app, "the queue is shown", |scrape| {
        scrape.value("drop_jobs{lane=\"upkeep\",state=\"scheduled\"}") > 0.0
    })
    .await;
    elsewhere.rollback().await.unwrap();
    app.abandon().await;
}
