//! Payments (contract 3.3, 4 and 5).

use drop_sandbox::{Decision, Fault, Operation};
use drop_tests::{
    app::TestApp,
    person::{Answer, SignedIn},
};
use serde_json::{Value, json};

fn order(account: &str, amount: &str) -> Value {
    json!({
        "accountId": account,
        "instructedAmount": { "amount": amount, "currency": "NOK" },
        "creditorName": "Marko Petrovic",
        "creditorAccount": { "bban": "265-1234567-89" },
        "remittanceInformation": "Drop remittance"
    })
}

async fn pays(person: &SignedIn<'_>, account: &str, key: &str) -> Answer {
    person
        .post_keyed("/v1/transactions", key, &order(account, "2010.00"))
        .await
}

/// Waits, for a bounded time, until the payment has the status.
async fn becomes(person: &SignedIn<'_>, id: &str, status: &str) {
    let mut last = Value::Null;
    for _ in 0..100 {
        last = person.get(&format!("/v1/transactions/{id}")).await.body;
        if last["status"] == status {
            return;
        }
        tokio::time::timeout(std::time::Duration::from_millis(100), std::future::pending::<()>())
            .await
            .ok();
    }
    panic!("the payment does not become {status}: {last}");
}

#[tokio::test]
async fn a_payment_is_approved_at_the_bank_and_completes() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let paid = pays(&anna, &account, "first").await;
    assert_eq!(paid.status, 201, "{:?}", paid.problem());
    assert_eq!(paid.body["status"], "processing");
    let id = paid.body["id"].as_str().unwrap();
    anna.decides(paid.body["scaRedirect"].as_str().unwrap(), Decision::Approve)
        .await;
    becomes(&anna, id, "completed").await;
    assert_eq!(app.sandbox.neonomics().payments().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn the_same_key_is_the_same_payment_and_another_order_under_it_is_422() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let (one, other) = tokio::join!(pays(&anna, &account, "same"), pays(&anna, &account, "same"));
    assert_eq!((one.status.as_u16(), other.status.as_u16()), (201, 201));
    assert_eq!(one.body["id"], other.body["id"]);
    let reused = anna
        .post_keyed("/v1/transactions", "same", &order(&account, "2011.00"))
        .await;
    assert_eq!(reused.problem(), (422, "idempotency_key_reused"));
    let alike = pays(&anna, &account, "another").await;
    assert_eq!(alike.problem(), (409, "possible_duplicate"));
    assert_eq!(app.sandbox.neonomics().payments().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_bank_that_answers_500_opens_the_circuit_and_the_next_payment_is_502_circuit_open() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.sandbox.fault(Operation::Payment, Fault::status(500), 3);
    let first = pays(&anna, &account, "first").await;
    assert_eq!(first.problem(), (502, "circuit_open"));
    let refused = anna
        .post_keyed("/v1/transactions", "second", &order(&account, "50.00"))
        .await;
    assert_eq!(refused.problem(), (502, "circuit_open"));
    let rows: Vec<String> = sqlx::query_scalar("SELECT status FROM transactions")
        .fetch_all(&app.db)
        .await
        .unwrap();
    assert_eq!(rows, ["processing"], "the first stays, the second was never written");
    app.abandon().await;
}

#[tokio::test]
async fn a_person_who_never_approves_ends_as_failed_sca_timeout() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let paid = pays(&anna, &account, "first").await;
    let id = paid.body["id"].as_str().unwrap();
    sqlx::query("UPDATE transactions SET sca_deadline = sca_deadline - interval '301 s'")
        .execute(&app.db)
        .await
        .unwrap();
    becomes(&anna, id, "failed").await;
    let ended = anna.get(&format!("/v1/transactions/{id}")).await;
    assert_eq!(ended.body["reason"], "sca_timeout");
    app.finish().await;
}

#[tokio::test]
async fn a_forged_callback_is_404_and_moves_nothing() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let paid = pays(&anna, &account, "first").await;
    let id = paid.body["id"].as_str().unwrap();
    let forged = anna
        .get(&format!(
            "/api/payments/callback?transaction={id}&state=forged&status=ACSC"
        ))
        .await;
    assert_eq!(forged.problem(), (404, "not_found"));
    assert_eq!(
        anna.get(&format!("/v1/transactions/{id}")).await.body["status"],
        "processing"
    );
    app.finish().await;
}
