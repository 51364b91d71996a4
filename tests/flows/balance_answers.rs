//! What becomes of a bank's answer to a read of a balance, and of a wish that is never answered.

use chrono::TimeDelta;
use drop_sandbox::{Fault, Operation};
use drop_tests::app::{TestApp, eventually};
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    balances::{calls, count, sync},
    consents::{approves, asks, comes_back},
    paying::{busy, execute, value},
};

fn entry(kind: &str, amount: &str) -> Value {
    json!({ "balanceType": kind, "balanceAmount": { "currency": "NOK", "amount": amount } })
}

fn with_credit(mut entry: Value, included: bool) -> Value {
    entry["creditLimitIncluded"] = included.into();
    entry
}

#[rstest]
#[case::the_best_type(vec![entry("closingBooked", "1.00"), entry("expected", "3.00"), entry("interimAvailable", "2.00")], "2.00")]
#[case::credit_is_not_the_persons(
    vec![with_credit(entry("interimAvailable", "9000.00"), true), with_credit(entry("interimAvailable", "-1.50"), false)], "-1.50")]
#[case::only_credit_of_the_best_type(
    vec![with_credit(entry("interimAvailable", "9000.00"), true), entry("interimBooked", "4.00")], "4.00")]
#[case::what_cannot_be_read_exactly_is_left_out(vec![entry("interimAvailable", "1.005"), entry("expected", "5.00")], "5.00")]
#[case::another_currency(
    vec![json!({ "balanceType": "interimAvailable", "balanceAmount": { "currency": "EUR", "amount": "8.00" } }), entry("expected", "6.00")], "6.00")]
#[tokio::test]
async fn of_several_balances_the_one_that_can_be_spent_is_shown(#[case] balances: Vec<Value>, #[case] shown: &str) {
    let app = TestApp::start().await;
    app.sandbox
        .neonomics()
        .configure(|bank| bank.balance_answer = Some(json!({ "balances": balances })));
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let balance = anna.get(&format!("/v1/bank-accounts/{account}/balance")).await.body;
    assert_eq!(balance["amount"], shown);
    assert_eq!(balance.get("bankTime"), None, "the bank gives none");
    app.finish().await;
}

#[rstest]
#[case::nothing(json!({ "balances": [] }))]
#[case::only_credit(json!({ "balances": [with_credit(entry("expected", "9000.00"), true)] }))]
#[tokio::test]
async fn an_answer_without_a_balance_keeps_amount_and_times_and_says_so(#[case] answer: Value) {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let path = format!("/v1/bank-accounts/{account}/balance");
    let before = anna.get(&path).await.body;
    app.sandbox
        .neonomics()
        .configure(|bank| bank.balance_answer = Some(answer));
    let refreshed = anna.post(&format!("{path}/refresh"), &Value::Null).await;
    assert_eq!(refreshed.status, 200, "{:?}", refreshed.problem());
    let after = anna.get(&path).await.body;
    for member in ["amount", "currency", "type", "bankTime", "syncedAt"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    assert_eq!((&before["stale"], &after["stale"]), (&json!(false), &json!(true)));
    app.finish().await;
}

#[tokio::test]
async fn an_answer_that_the_database_cannot_take_at_once_is_written_all_the_same() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.sandbox
        .neonomics()
        .set_balance(crate::balances::IBAN, 5_000_000)
        .unwrap();
    busy(&app, "TRIGGER refuse BEFORE UPDATE ON balance_reads FOR EACH ROW", 4).await;
    let before = calls(&app);
    sync(&app, 1).await;
    let path = format!("/v1/bank-accounts/{account}/balance");
    assert_eq!(anna.get(&path).await.body["amount"], "50000.00");
    execute(&app, "ALTER SEQUENCE refused RESTART").await;
    app.sandbox
        .neonomics()
        .set_balance(crate::balances::IBAN, 6_000_000)
        .unwrap();
    let refreshed = anna.post(&format!("{path}/refresh"), &Value::Null).await.body;
    assert_eq!(
        (&refreshed["amount"], &refreshed["stale"]),
        (&json!("60000.00"), &json!(false))
    );
    assert_eq!(calls(&app), before + 2, "the bank was asked once for each");
    app.finish().await;
}

#[tokio::test]
async fn a_read_whose_account_was_unlinked_meanwhile_brought_nothing() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let consents = anna.get("/v1/bank-consents").await.body;
    let path = format!("/v1/bank-consents/{}", consents["consents"][0]["id"].as_str().unwrap());
    app.sandbox.fault(Operation::Balances, Fault::Delay { ms: 1_500 }, 1);
    let before = calls(&app);
    let refresh = format!("/v1/bank-accounts/{account}/balance/refresh");
    let unlinks = async {
        assert!(eventually(async || calls(&app) > before).await);
        assert_eq!(anna.delete(&path).await.status, 204);
    };
    let (answer, ()) = tokio::join!(anna.post(&refresh, &Value::Null), unlinks);
    assert_eq!(answer.problem(), (404, "not_found"));
    app.until_idle().await;
    let ended: String = value(
        &app,
        "SELECT status FROM balance_refreshes ORDER BY created_at DESC LIMIT 1",
    )
    .await;
    assert_eq!(ended, "failed");
    app.finish().await;
}

#[tokio::test]
async fn a_wish_that_nothing_answers_any_more_keeps_no_other_read_away() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    // Its job is gone.
    execute(
        &app,
        "UPDATE balance_refreshes SET status = 'requested', finished_at = NULL, created_at = clock_timestamp() - interval '4 min'",
    )
    .await;
    let before = calls(&app);
    sync(&app, 1).await;
    assert_eq!(calls(&app), before, "it may still be waited for");
    app.advance(TimeDelta::minutes(2)).await;
    sync(&app, 2).await;
    assert_eq!(calls(&app), before + 1);
    let refresh = format!("/v1/bank-accounts/{account}/balance/refresh");
    assert_eq!(anna.post(&refresh, &Value::Null).await.body["stale"], false);
    let entries = app.sandbox.journal().entries_of(Operation::Balances);
    let last = entries.last().unwrap();
    assert_eq!(
        last.header("psu-ip-address"),
        Some("127.0.0.1"),
        "their own wish, not the old one"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_renewal_that_ends_the_old_consent_at_the_bank_reads_on_under_the_new_one() {
    let app = TestApp::start().await;
    app.sandbox
        .neonomics()
        .configure(|bank| bank.new_consent_ends_older = true);
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let (_, link) = asks(&anna, "renewal").await;
    comes_back(&approves(&app, &link)).await;
    app.until_idle().await;
    let mut at_bank: Vec<_> = app
        .sandbox
        .neonomics()
        .consents()
        .into_iter()
        .map(|one| one.status)
        .collect();
    at_bank.sort();
    assert_eq!(at_bank, ["terminatedByTpp", "valid"]);
    let before = calls(&app);
    sync(&app, 1).await;
    assert_eq!(calls(&app), before + 1);
    let shown = anna.get(&format!("/v1/bank-accounts/{account}/balance")).await.body;
    assert_eq!((&shown["amount"], &shown["stale"]), (&json!("45230.00"), &json!(false)));
    assert_eq!(
        count(&app, "SELECT count(*) FROM notifications WHERE kind = 'consent'").await,
        0
    );
    app.finish().await;
}
