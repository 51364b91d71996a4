//! What the contract's sections 3.2 and 3.3 say of Neonomics.

use drop_tests::aimed::{Aimed, Task, text};
use reqwest::Method;
use serde_json::{Value, json};

use super::bankid::Person;

/// Norwegian law: nothing about money before the identity check.
pub(super) async fn is_closed_to_whoever_is_not_verified(aimed: &Aimed, person: &Person) {
    let link = aimed.request(Method::POST, "/v1/bank-consents");
    let refused = person.asks(link.header("Idempotency-Key", "too-early")).await;
    assert_eq!(refused.problem(), (403, "kyc_required"));
}

/// The person approves at the bank; then an account in kroner is there, and its balance with its age. The account's id.
pub(super) async fn is_seen_at_the_bank(aimed: &mut Aimed, person: &Person) -> String {
    let consent = created(aimed, person, "/v1/bank-consents", &json!({})).await;
    aimed
        .have_done(Task::ApproveConsent(text(&consent, "scaRedirect")))
        .await;
    let look = aimed.request(Method::GET, "/v1/bank-accounts");
    let accounts = async || {
        let listed = person.sees(&look).await;
        let accounts = listed.body["accounts"].as_array().cloned();
        accounts.filter(|accounts| !accounts.is_empty())
    };
    let accounts = aimed.until("an account is linked", accounts).await;
    // The payment is made from it, in kroner.
    let account = accounts.iter().find(|account| account["currency"] == "NOK");
    let account = text(account.expect("the test bank has no NOK account"), "id");

    let path = format!("/v1/bank-accounts/{account}/balance");
    let refresh = aimed.request(Method::POST, &format!("{path}/refresh"));
    let refreshed = person.asks(refresh).await;
    assert!(
        matches!(refreshed.status.as_u16(), 200 | 202),
        "{:?}",
        refreshed.problem()
    );
    let look = aimed.request(Method::GET, &path);
    let balance = async || {
        let cached = person.sees(&look).await;
        cached.body["amount"].is_string().then_some(cached.body)
    };
    let balance = aimed.until("a balance is read", balance).await;
    assert_eq!(text(&balance, "currency").len(), 3);
    assert_eq!(balance["stale"], false);
    assert!(
        balance["ageSeconds"].as_i64().is_some_and(|age| age < 3600),
        "{balance}"
    );
    account
}

/// The person approves at the bank, and the bank says that it is paid. The same key is the same payment.
pub(super) async fn is_paid(aimed: &mut Aimed, person: &Person, account: &str) {
    let order = json!({
        "accountId": account,
        "instructedAmount": { "amount": "10.00", "currency": "NOK" },
        "creditorName": "Marko Petrovic",
        "creditorAccount": { "iban": "HR1210010051863000160" },
    });
    let payment = created(aimed, person, "/v1/transactions", &order).await;
    let again = created(aimed, person, "/v1/transactions", &order).await;
    assert_eq!(again["id"], payment["id"]);
    aimed
        .have_done(Task::ApprovePayment(text(&payment, "scaRedirect")))
        .await;
    let place = format!("/v1/transactions/{}", text(&payment, "id"));
    let look = aimed.request(Method::GET, &place);
    let status = async || {
        let status = text(&person.sees(&look).await.body, "status");
        (status != "processing").then_some(status)
    };
    assert_eq!(aimed.until("the bank has decided", status).await, "completed");
}

/// What was asked for under one key, once it has the page on which the person approves it.
async fn created(aimed: &mut Aimed, person: &Person, path: &str, body: &Value) -> Value {
    let request = aimed.request(Method::POST, path);
    let asked = request.header("Idempotency-Key", "test-environments").json(body);
    let asked = person.asks(asked).await;
    assert!(
        matches!(asked.status.as_u16(), 201 | 202),
        "{path}: {:?}",
        asked.problem()
    );
    let place = format!("{path}/{}", text(&asked.body, "id"));
    let look = aimed.request(Method::GET, &place);
    let page = async || {
        let seen = person.sees(&look).await.body;
        seen["scaRedirect"].is_string().then_some(seen)
    };
    aimed.until("there is a page to approve on", page).await
}
