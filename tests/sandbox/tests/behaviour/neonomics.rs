use chrono::TimeDelta;
use drop_sandbox::{Decision, Operation};
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Bank, consent, query_of, start};

#[tokio::test]
async fn a_consent_is_received_then_approved_then_shows_the_contracts_account_and_balance() {
    let (sandbox, client) = start().await;
    let bank = Bank::open(&sandbox, &client).await;
    let answer = bank
        .post("/v1/consents", &Uuid::new_v4().to_string(), &consent())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.headers()["aspsp-sca-approach"], "REDIRECT");
    let created: Value = answer.json().await.unwrap();
    assert_eq!(created["consentStatus"], "received");
    let id = created["consentId"].as_str().unwrap();

    let refused = bank.get("/v1/accounts").header("consent-id", id).send().await.unwrap();
    assert_eq!(refused.status(), 401, "nobody has approved it yet");

    let link = created["_links"]["scaRedirect"]["href"].as_str().unwrap();
    assert!(
        client
            .get(link)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
            .contains("value=\"approve\"")
    );
    let sent_to = client.post(link).form(&[("decision", "approve")]).send().await.unwrap();
    assert_eq!(sent_to.status(), 303);
    let location = sent_to.headers()["location"].to_str().unwrap();
    assert_eq!(
        query_of(location, "state").as_deref(),
        Some("s"),
        "the query it had is kept"
    );
    assert_eq!(query_of(location, "consentId").as_deref(), Some(id));

    let whole: Value = bank
        .get(&format!("/v1/consents/{id}"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(whole["consentStatus"], "valid");
    assert_ne!(whole["validUntil"], "2099-01-01", "the bank shortens it");

    let accounts: Value = bank
        .get("/v1/accounts")
        .header("x-consent-id", id)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(accounts["accounts"][0]["iban"], "NO9386011117947");
    let resource = accounts["accounts"][0]["resourceId"].as_str().unwrap();
    let path = format!("/v1/accounts/{resource}/balances");
    let balances: Value = bank
        .get(&path)
        .header("consent-id", id)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let balance = &balances["balances"][0];
    assert_eq!(balance["balanceType"], "expected");
    assert_eq!(
        balance["balanceAmount"],
        json!({ "currency": "NOK", "amount": "45230.00" })
    );
}

#[tokio::test]
async fn the_fifth_unattended_read_in_24_hours_is_refused_and_attended_ones_do_not_count() {
    let (sandbox, client) = start().await;
    let bank = Bank::open(&sandbox, &client).await;
    let (consent, account) = bank.linked().await;
    let read = || {
        bank.get(&format!("/v1/accounts/{account}/balances"))
            .header("consent-id", &consent)
    };
    for _ in 0..4 {
        assert_eq!(read().send().await.unwrap().status(), 200);
    }
    let fifth = read().send().await.unwrap();
    assert_eq!(fifth.status(), 429);
    assert_eq!(
        fifth.json::<Value>().await.unwrap()["tppMessages"][0]["code"],
        "ACCESS_EXCEEDED"
    );
    assert_eq!(
        read()
            .header("psu-ip-address", "192.0.2.7")
            .send()
            .await
            .unwrap()
            .status(),
        200
    );

    sandbox.clock().advance(TimeDelta::hours(24) + TimeDelta::seconds(1));
    sandbox.neonomics().configure(|settings| settings.token_seconds = 3600);
    let bank = Bank::open(&sandbox, &client).await;
    let later = bank
        .get(&format!("/v1/accounts/{account}/balances"))
        .header("consent-id", &consent);
    assert_eq!(later.send().await.unwrap().status(), 200, "the window slides");
}

#[tokio::test]
async fn an_expired_consent_is_refused_by_the_contracts_status_and_code() {
    let (sandbox, client) = start().await;
    let bank = Bank::open(&sandbox, &client).await;
    let (consent, account) = bank.linked().await;
    sandbox.neonomics().set_consent_status(&consent, "expired").unwrap();
    let read = bank
        .get(&format!("/v1/accounts/{account}/balances"))
        .header("consent-id", &consent);
    let answer = read.send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(
        answer.json::<Value>().await.unwrap()["tppMessages"][0]["code"],
        "CONSENT_EXPIRED"
    );
}

#[tokio::test]
async fn a_deleted_consent_serves_no_more_reads_and_is_unknown_to_a_second_delete() {
    let (sandbox, client) = start().await;
    let bank = Bank::open(&sandbox, &client).await;
    let (consent, _) = bank.linked().await;
    assert_eq!(
        bank.delete(&format!("/v1/consents/{consent}"))
            .send()
            .await
            .unwrap()
            .status(),
        204
    );
    assert_eq!(
        bank.get("/v1/accounts")
            .header("consent-id", &consent)
            .send()
            .await
            .unwrap()
            .status(),
        403
    );
    assert_eq!(
        bank.delete(&format!("/v1/consents/{consent}"))
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
}

#[tokio::test]
async fn calls_without_token_request_id_or_redirect_address_are_refused() {
    let (sandbox, client) = start().await;
    let bank = Bank::open(&sandbox, &client).await;
    let url = format!("{}/neonomics/v1/consents", sandbox.url());
    let id = Uuid::new_v4().to_string();
    let without_token = client.post(&url).header("x-request-id", &id).json(&consent());
    assert_eq!(without_token.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let without_redirect = client
        .post(&url)
        .bearer_auth(&bank.token)
        .header("x-request-id", &id)
        .json(&consent());
    assert_eq!(
        without_redirect
            .header("psu-ip-address", "192.0.2.7")
            .send()
            .await
            .unwrap()
            .status(),
        400
    );
    assert_eq!(
        bank.post("/v1/consents", "not-a-uuid", &consent())
            .send()
            .await
            .unwrap()
            .status(),
        400
    );
    for member in [
        "access",
        "recurringIndicator",
        "validUntil",
        "frequencyPerDay",
        "combinedServiceIndicator",
    ] {
        let mut body = consent();
        body.as_object_mut().unwrap().remove(member);
        assert_eq!(
            bank.post("/v1/consents", &id, &body).send().await.unwrap().status(),
            400,
            "{member}"
        );
    }
    sandbox.neonomics().expire_tokens();
    let expired = bank.post("/v1/consents", &id, &consent()).send().await.unwrap();
    assert_eq!(expired.status(), 401);
    assert_eq!(
        expired.json::<Value>().await.unwrap()["tppMessages"][0]["code"],
        "TOKEN_EXPIRED"
    );
    assert!(sandbox.neonomics().consents().is_empty());
}

#[tokio::test]
async fn wrong_credentials_get_no_token_and_the_journal_keeps_no_secret() {
    let (sandbox, client) = start().await;
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "drop-local"),
        ("client_secret", "wrong-and-secret"),
    ];
    let answer = client
        .post(format!("{}/neonomics/auth/token", sandbox.url()))
        .form(&form)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
    let entries = sandbox.journal().entries_of(Operation::NeonomicsToken);
    assert_eq!(entries[0].status, Some(401));
    assert_eq!(entries[0].body["client_secret"], "(present)");
}

#[tokio::test]
async fn a_rejected_consent_sends_the_person_to_the_other_address() {
    let (sandbox, client) = start().await;
    let bank = Bank::open(&sandbox, &client).await;
    let request = bank.post("/v1/consents", &Uuid::new_v4().to_string(), &consent());
    let created: Value = request
        .header("tpp-nok-redirect-uri", "http://127.0.0.1:8080/no")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let id = created["consentId"].as_str().unwrap();
    let sent_to = sandbox.bank().decide_consent(id, Decision::Reject).unwrap();
    assert!(sent_to.unwrap().starts_with("http://127.0.0.1:8080/no?"));
    assert_eq!(sandbox.neonomics().consent(id).unwrap().status, "rejected");
    assert!(sandbox.bank().decide_consent(id, Decision::Approve).is_err());
}
