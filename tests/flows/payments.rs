//! Payments (contract 3.3, 4 and 5).

use chrono::TimeDelta;
use drop_sandbox::{Decision, Fault, Operation};
use drop_tests::{
    app::{TestApp, eventually},
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

async fn pays_later(person: &SignedIn<'_>, account: &str, key: &str) -> Answer {
    person
        .post_later("/v1/transactions", key, &order(account, "2010.00"))
        .await
}

async fn shown(person: &SignedIn<'_>, id: &str) -> Value {
    person.get(&format!("/v1/transactions/{id}")).await.body
}

/// Waits, for a bounded time, until the payment has the status.
async fn becomes(person: &SignedIn<'_>, id: &str, status: &str) {
    let is_so = async || shown(person, id).await["status"] == status;
    assert!(eventually(is_so).await, "the payment does not become {status}");
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
    app.stop_worker().await;
    app.advance(TimeDelta::seconds(299)).await;
    app.run_jobs().await;
    assert_eq!(shown(&anna, id).await["status"], "processing");
    app.advance(TimeDelta::seconds(61)).await; // the next poll is a minute later
    app.run_jobs().await;
    let ended = shown(&anna, id).await;
    assert_eq!(
        (&ended["status"], &ended["reason"]),
        (&json!("failed"), &json!("sca_timeout"))
    );
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

#[tokio::test]
async fn who_does_not_wait_gets_202_and_finds_the_link_at_the_location() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.stop_worker().await;
    let accepted = pays_later(&anna, &account, "first").await;
    assert_eq!(accepted.status, 202, "{:?}", accepted.problem());
    let location = accepted.location.clone().expect("a location");
    assert!(anna.get(&location).await.body["scaRedirect"].is_null());
    app.run_jobs().await;
    let link = anna.get(&location).await.body["scaRedirect"].clone();
    assert!(link.is_string(), "{link}");
    let again = pays(&anna, &account, "first").await;
    assert_eq!((again.status.as_u16(), &again.body["scaRedirect"]), (201, &link));
    app.finish().await;
}

#[tokio::test]
async fn a_payment_that_could_not_be_sent_within_five_minutes_has_failed_and_is_never_sent() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.stop_worker().await;
    let id = pays_later(&anna, &account, "first").await.body["id"]
        .as_str()
        .unwrap()
        .to_owned();
    app.lane("payment.send", "paused = true").await; // nobody claims it, so only the sweep can end it
    app.advance(TimeDelta::seconds(299)).await;
    app.run_jobs().await;
    assert_eq!(shown(&anna, &id).await["status"], "processing");
    app.advance(TimeDelta::seconds(2)).await;
    app.run_jobs().await;
    let ended = shown(&anna, &id).await;
    assert_eq!(
        (&ended["status"], &ended["reason"]),
        (&json!("failed"), &json!("not_sent"))
    );
    app.lane("payment.send", "paused = false").await;
    app.run_jobs().await;
    assert!(app.sandbox.neonomics().payments().is_empty());
    let balance = anna.get(&format!("/v1/bank-accounts/{account}/balance")).await;
    assert_eq!(balance.body["amount"], "45230.00", "nothing is on hold any more");
    app.abandon().await; // the job that came too late is dead, and stays to be seen
}

#[tokio::test]
async fn an_attempt_whose_process_died_is_never_repeated_but_reviewed() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.stop_worker().await;
    let id = pays_later(&anna, &account, "first").await.body["id"]
        .as_str()
        .unwrap()
        .to_owned();
    sqlx::query("INSERT INTO payment_attempts (transaction_id, job_attempt, body_hash) SELECT id, 1, fingerprint FROM transactions")
        .execute(&app.db)
        .await
        .unwrap();
    app.run_jobs().await;
    let (status, review): (String, bool) = sqlx::query_as("SELECT status, needs_review FROM transactions")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!((status.as_str(), review), ("processing", true));
    assert!(app.sandbox.neonomics().payments().is_empty());
    assert_eq!(shown(&anna, &id).await["status"], "processing");
    app.abandon().await; // its job is dead, for a person to see
}
