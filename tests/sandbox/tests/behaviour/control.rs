use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Bank, login_address, order, query_of, start};

#[tokio::test]
async fn a_fault_set_over_http_hits_the_next_request_and_shows_in_the_journal() {
    let (sandbox, client) = start().await;
    let url = sandbox.url();
    let faults = format!("{url}/control/neonomics/faults");
    let request = json!({ "operation": "payment", "kind": "status", "code": 503, "times": 1 });
    assert_eq!(client.post(&faults).json(&request).send().await.unwrap().status(), 200);

    let bank = Bank::open(&sandbox, &client).await;
    let key = Uuid::new_v4().to_string();
    let answer = bank
        .post("/v1/payments/sepa-credit-transfers", &key, &order())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 503);
    let journal: Value = client
        .get(format!("{url}/control/journal/neonomics"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let entry = &journal["requests"][1];
    assert_eq!(entry["operation"], "payment");
    assert_eq!(entry["status"], 503);
    assert_eq!(entry["headers"]["x-request-id"], json!(key));
    assert_eq!(entry["headers"]["authorization"], "Bearer");
    assert_eq!(entry["body"]["creditorName"], "Marko Petrovic");
}

#[tokio::test]
async fn unknown_operations_kinds_and_routes_are_refused_with_a_reason() {
    let (sandbox, client) = start().await;
    let faults = format!("{}/control/sumsub/faults", sandbox.url());
    for request in [
        json!({ "operation": "payment", "kind": "drop" }),
        json!({ "operation": "status", "kind": "melt" }),
        json!({ "operation": "status", "kind": "status", "code": 99 }),
    ] {
        let answer = client.post(&faults).json(&request).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{request}");
        assert!(answer.json::<Value>().await.unwrap()["error"].is_string());
    }
    let nowhere = client
        .get(format!("{}/control/nowhere", sandbox.url()))
        .send()
        .await
        .unwrap();
    assert_eq!(nowhere.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_person_signs_in_and_decides_over_http() {
    let (sandbox, client) = start().await;
    let url = sandbox.url();
    let login = json!({ "authorizationUrl": login_address(&sandbox), "person": "anna" });
    let answer = client
        .post(format!("{url}/control/bankid/sign-in"))
        .json(&login)
        .send()
        .await
        .unwrap();
    let redirect = answer.json::<Value>().await.unwrap()["redirect"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(query_of(&redirect, "code").is_some());

    let bank = Bank::open(&sandbox, &client).await;
    let payment = bank.pay(&Uuid::new_v4().to_string()).await;
    let decision = json!({ "at": payment["_links"]["scaRedirect"]["href"], "decision": "approve" });
    let answer = client
        .post(format!("{url}/control/bank/decisions"))
        .json(&decision)
        .send()
        .await
        .unwrap();
    assert!(answer.json::<Value>().await.unwrap()["redirect"].is_string());
    assert_eq!(
        bank.payment_status(payment["paymentId"].as_str().unwrap()).await,
        "ACCP"
    );
}

#[tokio::test]
async fn settings_change_member_by_member_and_a_misspelt_one_is_refused() {
    let (sandbox, client) = start().await;
    let settings = format!("{}/control/neonomics/settings", sandbox.url());
    let changed = client
        .patch(&settings)
        .json(&json!({ "deduplicate": false }))
        .send()
        .await
        .unwrap();
    assert_eq!(changed.status(), 200);
    assert!(!sandbox.neonomics().settings().deduplicate);
    assert_eq!(sandbox.neonomics().settings().initial_status, "RCVD");
    let misspelt = client
        .patch(&settings)
        .json(&json!({ "dedupe": true }))
        .send()
        .await
        .unwrap();
    assert_eq!(misspelt.status(), 400);
}

#[tokio::test]
async fn reset_forgets_requests_faults_payments_and_settings() {
    let (sandbox, client) = start().await;
    let bank = Bank::open(&sandbox, &client).await;
    bank.pay(&Uuid::new_v4().to_string()).await;
    sandbox.neonomics().configure(|settings| settings.deduplicate = false);
    sandbox.neonomics().fail_next(1, 500);
    sandbox.clock().advance(chrono::TimeDelta::days(1));
    assert_eq!(
        client
            .post(format!("{}/control/reset", sandbox.url()))
            .send()
            .await
            .unwrap()
            .status(),
        204
    );
    assert!(sandbox.neonomics().payments().is_empty());
    assert!(sandbox.neonomics().journal().is_empty());
    assert!(sandbox.neonomics().settings().deduplicate);
    let bank = Bank::open(&sandbox, &client).await;
    bank.pay(&Uuid::new_v4().to_string()).await;
}

#[tokio::test]
async fn every_listed_control_route_leads_somewhere() {
    let (sandbox, client) = start().await;
    let index: Value = client
        .get(format!("{}/control", sandbox.url()))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    for route in index["routes"].as_array().unwrap() {
        let (methods, path) = route["route"].as_str().unwrap().rsplit_once(' ').unwrap();
        let path = path
            .replace("{provider}", "bankid")
            .replace("{id}", "x")
            .replace("{number}", "1");
        for method in methods.split(", ") {
            let request = client.request(method.parse().unwrap(), format!("{}{path}", sandbox.url()));
            assert_ne!(request.send().await.unwrap().status(), 404, "{method} {path}");
        }
    }
}
