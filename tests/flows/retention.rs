//! What is kept no longer than it is needed.

use chrono::TimeDelta;
use drop_common::queue::{self, payloads::PruneJobs};
use drop_tests::app::TestApp;

use crate::balances::count;

async fn prune(app: &TestApp) {
    let mut tx = app.db.begin().await.unwrap();
    queue::enqueue(&mut tx, &PruneJobs {}).await.unwrap();
    tx.commit().await.unwrap();
    app.run_jobs().await;
}

#[tokio::test]
async fn a_login_that_nobody_finished_is_gone_with_its_secrets_after_fifteen_minutes() {
    let app = TestApp::start().await;
    app.signed_in("anna").await;
    app.start_login().await;
    app.stop_worker().await;
    prune(&app).await;
    assert_eq!(
        count(&app, "SELECT count(*) FROM logins").await,
        2,
        "their time is not over"
    );
    assert_eq!(
        count(&app, "SELECT count(*) FROM logins WHERE verifier_sealed IS NOT NULL").await,
        1
    );
    app.advance(TimeDelta::minutes(16)).await;
    app.start_login().await;
    prune(&app).await;
    assert_eq!(count(&app, "SELECT count(*) FROM logins").await, 1, "the new one");
    app.finish().await;
}

#[tokio::test]
async fn the_ledger_of_reads_and_the_wishes_are_kept_a_week() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.has_an_account().await;
    app.stop_worker().await;
    let left = async || {
        let reads = count(&app, "SELECT count(*) FROM balance_reads").await;
        (reads, count(&app, "SELECT count(*) FROM balance_refreshes").await)
    };
    app.advance(TimeDelta::days(6)).await;
    prune(&app).await;
    assert_eq!(left().await, (1, 1));
    app.advance(TimeDelta::days(2)).await;
    prune(&app).await;
    assert_eq!(left().await, (0, 0));
    app.finish().await;
}

#[tokio::test]
async fn a_session_is_deleted_with_its_tokens_when_its_longest_life_is_over() {
    let app = TestApp::start().await;
    app.signed_in("anna").await;
    app.advance(TimeDelta::hours(25)).await;
    let anna = app.signed_in("anna").await;
    app.stop_worker().await;
    prune(&app).await;
    assert_eq!(count(&app, "SELECT count(*) FROM sessions").await, 1);
    assert_eq!(count(&app, "SELECT count(*) FROM refresh_tokens").await, 1);
    assert_eq!(anna.get("/v1/me").await.status, 200);
    app.finish().await;
}
