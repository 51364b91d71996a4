use drop_sandbox::{Decision, Provider};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Bank, order, query_of, start};

#[tokio::test]
async fn the_same_request_id_is_the_same_payment_and_one_order() {
    let (sandbox, client) = start().await;
    let bank = Bank::open(&sandbox, &client).await;
    let key = Uuid::new_v4().to_string();
    let first = bank.pay(&key).await;
    let again = bank.pay(&key).await;
    assert_eq!(first["transactionStatus"], "RCVD");
    assert_eq!(first, again);
    assert_eq!(sandbox.neonomics().orders_for(&key), 1);
    assert_eq!(
        sandbox
            .journal()
            .effects(Provider::Neonomics)
            .iter()
            .filter(|e| e.kind == "payment_created")
            .count(),
        1
    );
}

#[tokio::test]
async fn a_bank_that_does_not_deduplicate_makes_two_payments_of_one_request_id() {
    let (sandbox, client) = start().await;
    sandbox.neonomics().configure(|settings| settings.deduplicate = false);
    let bank = Bank::open(&sandbox, &client).await;
    let key = Uuid::new_v4().to_string();
    assert_ne!(bank.pay(&key).await["paymentId"], bank.pay(&key).await["paymentId"]);
    assert_eq!(sandbox.neonomics().orders_for(&key), 2);
}

#[tokio::test]
async fn an_approved_payment_is_accepted_then_settled_and_moves_the_money_once() {
    let (sandbox, client) = start().await;
    let bank = Bank::open(&sandbox, &client).await;
    let created = bank.pay(&Uuid::new_v4().to_string()).await;
    let id = created["paymentId"].as_str().unwrap();
    assert_eq!(bank.payment_status(id).await, "RCVD");

    let link = created["_links"]["scaRedirect"]["href"].as_str().unwrap();
    let sent_to = client.post(link).form(&[("decision", "approve")]).send().await.unwrap();
    assert_eq!(sent_to.status(), 303);
    assert_eq!(
        query_of(sent_to.headers()["location"].to_str().unwrap(), "paymentId").as_deref(),
        Some(id)
    );

    assert_eq!(bank.payment_status(id).await, "ACCP");
    assert_eq!(sandbox.neonomics().accounts()[0].minor, 4_523_000);
    assert_eq!(bank.payment_status(id).await, "ACSC");
    assert_eq!(bank.payment_status(id).await, "ACSC");
    assert_eq!(sandbox.neonomics().accounts()[0].minor, 4_523_000 - 201_000);

    assert_eq!(
        client
            .post(link)
            .form(&[("decision", "approve")])
            .send()
            .await
            .unwrap()
            .status(),
        409
    );
    let whole: Value = bank
        .get(&format!("/v1/payments/sepa-credit-transfers/{id}"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(whole["creditorName"], "Marko Petrovic");
}

#[tokio::test]
async fn a_payment_without_enough_money_is_rejected_when_it_should_settle() {
    let (sandbox, client) = start().await;
    sandbox.neonomics().set_balance("NO9386011117947", 200_999).unwrap();
    let bank = Bank::open(&sandbox, &client).await;
    let created = bank.pay(&Uuid::new_v4().to_string()).await;
    let id = created["paymentId"].as_str().unwrap();
    sandbox.bank().decide_payment(id, Decision::Approve).unwrap();
    assert_eq!(bank.payment_status(id).await, "ACCP");
    assert_eq!(bank.payment_status(id).await, "RJCT");
    assert_eq!(sandbox.neonomics().accounts()[0].minor, 200_999);
}

#[tokio::test]
async fn a_payment_can_be_cancelled_before_approval_and_not_after() {
    let (sandbox, client) = start().await;
    let bank = Bank::open(&sandbox, &client).await;
    let early = bank.pay(&Uuid::new_v4().to_string()).await;
    let early = early["paymentId"].as_str().unwrap();
    assert_eq!(
        bank.delete(&format!("/v1/payments/sepa-credit-transfers/{early}"))
            .send()
            .await
            .unwrap()
            .status(),
        204
    );
    assert_eq!(bank.payment_status(early).await, "CANC");
    assert!(sandbox.bank().decide_payment(early, Decision::Approve).is_err());

    let late = bank.pay(&Uuid::new_v4().to_string()).await;
    let late = late["paymentId"].as_str().unwrap();
    sandbox.bank().decide_payment(late, Decision::Approve).unwrap();
    let refused = bank.delete(&format!("/v1/payments/{late}")).send().await.unwrap();
    assert_eq!(refused.status(), 405);
    assert_eq!(
        refused.json::<Value>().await.unwrap()["tppMessages"][0]["code"],
        "CANCELLATION_INVALID"
    );
}

#[tokio::test]
async fn a_rejected_payment_ends_and_one_that_was_left_stays_open() {
    let (sandbox, client) = start().await;
    let bank = Bank::open(&sandbox, &client).await;
    let created = bank.pay(&Uuid::new_v4().to_string()).await;
    let id = created["paymentId"].as_str().unwrap();
    assert_eq!(sandbox.bank().decide_payment(id, Decision::Leave).unwrap(), None);
    assert_eq!(bank.payment_status(id).await, "RCVD");
    assert!(sandbox.bank().decide_payment(id, Decision::Reject).unwrap().is_some());
    assert_eq!(bank.payment_status(id).await, "RJCT");
}

#[tokio::test]
async fn malformed_orders_are_refused_and_leave_no_payment() {
    let (sandbox, client) = start().await;
    let bank = Bank::open(&sandbox, &client).await;
    let changes = [
        ("instructedAmount", json!({ "currency": "NOK", "amount": "10,50" })),
        ("instructedAmount", json!({ "currency": "NOK", "amount": 2010.0 })),
        ("instructedAmount", json!({ "currency": "NOK", "amount": "0.00" })),
        ("instructedAmount", json!({ "currency": "nok", "amount": "1.00" })),
        ("debtorAccount", json!({ "iban": "NO9386011117974" })),
        ("debtorAccount", json!({ "iban": "DE89370400440532013000" })),
        ("creditorAccount", json!({})),
        ("creditorAccount", json!({ "bban": "1", "iban": "NO9386011117947" })),
        ("creditorName", json!("")),
        ("remittanceInformationUnstructured", json!("x".repeat(141))),
    ];
    for (member, value) in changes {
        let mut body = order();
        body[member] = value;
        let path = "/v1/payments/sepa-credit-transfers";
        let answer = bank
            .post(path, &Uuid::new_v4().to_string(), &body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 400, "{}", body[member]);
    }
    let unknown = bank
        .post("/v1/payments/pigeon-post", &Uuid::new_v4().to_string(), &order())
        .send()
        .await
        .unwrap();
    assert_eq!(unknown.status(), 404);
    assert!(sandbox.neonomics().payments().is_empty());
}

#[tokio::test]
async fn a_bank_that_wants_the_approval_started_gives_the_link_for_each_start() {
    let (sandbox, client) = start().await;
    sandbox
        .neonomics()
        .configure(|settings| settings.explicit_authorisation = true);
    let bank = Bank::open(&sandbox, &client).await;
    let created = bank.pay(&Uuid::new_v4().to_string()).await;
    let id = created["paymentId"].as_str().unwrap();
    assert_eq!(created["_links"]["scaRedirect"], Value::Null);
    let path = created["_links"]["startAuthorisation"]["href"].as_str().unwrap();
    let start = async |path: &str| {
        bank.post(path, &Uuid::new_v4().to_string(), &json!({}))
            .send()
            .await
            .unwrap()
    };
    let started: Value = start(path).await.json().await.unwrap();
    let link = started["_links"]["scaRedirect"]["href"].as_str().unwrap();
    assert!(sandbox.bank().decide_at(link, Decision::Leave).is_ok());
    let again: Value = start(path).await.json().await.unwrap();
    assert_ne!(started["authorisationId"], again["authorisationId"]);
    assert_eq!(sandbox.neonomics().payment(id).unwrap().authorisations, 2);

    let elsewhere = path.replace("sepa-credit-transfers", "target-2-payments");
    assert_eq!(start(&elsewhere).await.status(), 404);
    sandbox.bank().decide_payment(id, Decision::Approve).unwrap();
    assert_eq!(start(path).await.status(), 409);
}

#[tokio::test]
async fn a_payment_is_read_as_the_bank_has_changed_it_and_its_answer_lacks_what_is_left_out() {
    let (sandbox, client) = start().await;
    sandbox.neonomics().configure(|settings| {
        settings.left_out = vec!["transactionStatus".to_owned()];
        settings.changed_order = Some(json!({ "instructedAmount": { "currency": "NOK", "amount": "1.00" } }));
    });
    let bank = Bank::open(&sandbox, &client).await;
    let created = bank.pay(&Uuid::new_v4().to_string()).await;
    let id = created["paymentId"].as_str().unwrap();
    assert_eq!(created.get("transactionStatus"), None);
    let whole = bank.get(&format!("/v1/payments/sepa-credit-transfers/{id}"));
    let whole: Value = whole.send().await.unwrap().json().await.unwrap();
    assert_eq!(whole["instructedAmount"]["amount"], "1.00");
    assert_eq!(
        (&whole["creditorName"], &whole["transactionStatus"]),
        (&json!("Marko Petrovic"), &json!("RCVD"))
    );
}
