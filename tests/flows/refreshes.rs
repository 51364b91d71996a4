//! Balances that are read because their owner is there (contract 3.2).

use drop_sandbox::{Fault, Operation};
use drop_tests::app::TestApp;
use serde_json::Value;

use crate::balances::{IBAN, calls, count};

#[tokio::test]
async fn a_refresh_by_the_owner_carries_their_address_and_is_not_one_of_the_four() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let before = calls(&app);
    app.sandbox.neonomics().set_balance(IBAN, 120_050).unwrap();
    let refresh = format!("/v1/bank-accounts/{account}/balance/refresh");
    let refreshed = anna.post(&refresh, &Value::Null).await;
    assert_eq!(refreshed.status, 200, "{:?}", refreshed.problem());
    assert_eq!(refreshed.body["amount"], "1200.50");
    assert_eq!(refreshed.body["stale"], false);
    let entries = app.sandbox.journal().entries_of(Operation::Balances);
    assert_eq!(entries.len(), before + 1);
    assert_eq!(entries.last().unwrap().header("psu-ip-address"), Some("127.0.0.1"));
    assert_eq!(
        count(&app, "SELECT count(*) FROM balance_reads WHERE NOT attended").await,
        0
    );
    let addresses = count(&app, "SELECT count(*) FROM balance_refreshes WHERE psu_ip IS NOT NULL").await;
    assert_eq!(addresses, 0, "the address goes with the end of the refresh");

    let marko = app.signed_in("marko").await;
    assert_eq!(marko.post(&refresh, &Value::Null).await.problem(), (404, "not_found"));
    app.finish().await;
}

#[tokio::test]
async fn two_wishes_at_once_are_one_read() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let before = calls(&app);
    app.sandbox.fault(Operation::Balances, Fault::Delay { ms: 1_500 }, 1);
    let refresh = format!("/v1/bank-accounts/{account}/balance/refresh");
    let wish = async || anna.post(&refresh, &Value::Null).await;
    let (one, other) = tokio::join!(wish(), wish());
    assert_eq!((one.status.as_u16(), other.status.as_u16()), (200, 200));
    assert_eq!(calls(&app), before + 1);
    app.finish().await;
}

#[tokio::test]
async fn a_refresh_that_cannot_be_made_answers_the_cache_marked_stale() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let refresh = format!("/v1/bank-accounts/{account}/balance/refresh");
    let wish = async || {
        let answer = anna.post(&refresh, &Value::Null).await;
        let cached = (&answer.body["amount"], &answer.body["stale"]);
        assert_eq!(
            (answer.status.as_u16(), cached),
            (200, (&"45230.00".into(), &true.into()))
        );
    };
    let before = calls(&app);
    sqlx::query(
        "UPDATE lanes SET throttled_until = clock_timestamp() + interval '1 minute' WHERE name = 'balance.user'",
    )
    .execute(&app.db)
    .await
    .unwrap();
    wish().await;
    assert_eq!(calls(&app), before, "the lane takes no more work");
    sqlx::query("UPDATE lanes SET throttled_until = NULL")
        .execute(&app.db)
        .await
        .unwrap();

    app.sandbox.fault(Operation::Balances, Fault::status(500), 3);
    for _ in 0..3 {
        wish().await;
    }
    wish().await;
    assert_eq!(calls(&app), before + 3, "the fourth met an open circuit");
    let shown = anna.get(&format!("/v1/bank-accounts/{account}")).await;
    assert_eq!(shown.body["balance"]["stale"], true);
    app.finish().await;
}
