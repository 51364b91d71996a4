//! `BankID`'s signing keys, when they cannot be had.

use chrono::TimeDelta;
use drop_sandbox::{Fault, Operation};
use drop_tests::{
    alerts,
    app::{TestApp, eventually},
};

#[tokio::test]
async fn keys_that_cannot_be_fetched_again_raise_an_alert_while_the_old_ones_let_people_in() {
    alerts::listen();
    let app = TestApp::start().await;
    assert_eq!(app.log_in("anna").await.status, 200);
    assert!(!is_alerted(&app).await, "they were fetched");
    // Past the time for which they are fresh, within the time that BankID promised them for.
    app.advance(TimeDelta::minutes(6)).await;
    app.sandbox.fault(Operation::BankidCerts, Fault::status(503), 1);
    assert_eq!(app.log_in("anna").await.status, 200);
    assert!(eventually(async || is_alerted(&app).await).await);
    // The next login asks again, and all is well.
    assert_eq!(app.log_in("anna").await.status, 200);
    assert!(eventually(async || app.sandbox.journal().entries_of(Operation::BankidCerts).len() == 3).await);
    assert!(!is_alerted(&app).await);
    app.finish().await;
}

/// Whether an alert was raised about the request of the last login.
async fn is_alerted(app: &TestApp) -> bool {
    let last = "SELECT request_id::text FROM audit_log WHERE action = 'login.succeeded' ORDER BY id DESC LIMIT 1";
    let request: String = sqlx::query_scalar(last).fetch_one(&app.db).await.unwrap();
    alerts::about(&request) == ["bankid_keys"]
}
