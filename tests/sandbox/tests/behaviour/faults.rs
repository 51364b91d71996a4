use std::time::{Duration, Instant};

use drop_sandbox::{Fault, Operation};
use serde_json::json;
use uuid::Uuid;

use crate::client::{Bank, order, start};

const PAYMENTS: &str = "/v1/payments/sepa-credit-transfers";

#[tokio::test]
async fn a_dropped_connection_is_an_error_and_nothing_was_done() {
    let (sandbox, client) = start().await;
    let bank = Bank::open(&sandbox, &client).await;
    sandbox.fault(Operation::Payment, Fault::Drop, 1);
    let key = Uuid::new_v4().to_string();
    let error = bank.post(PAYMENTS, &key, &order()).send().await.unwrap_err();
    assert!(
        !error.is_timeout() && !error.is_connect(),
        "the connection was made and then lost: {error:?}"
    );
    assert_eq!(sandbox.neonomics().orders_for(&key), 0);
    assert_eq!(sandbox.journal().entries_of(Operation::Payment)[0].status, None);
    assert_eq!(
        bank.post(PAYMENTS, &key, &order()).send().await.unwrap().status(),
        201,
        "the fault was for one request"
    );
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_the_payment_made() {
    let (sandbox, client) = start().await;
    let bank = Bank::open(&sandbox, &client).await;
    sandbox.fault(Operation::Payment, Fault::ExecuteThenDrop, 1);
    let key = Uuid::new_v4().to_string();
    assert!(bank.post(PAYMENTS, &key, &order()).send().await.is_err());
    assert_eq!(sandbox.neonomics().orders_for(&key), 1);
    bank.pay(&key).await;
    assert_eq!(sandbox.neonomics().orders_for(&key), 1);
}

#[tokio::test]
async fn a_payment_can_be_made_and_answered_with_a_bare_error_and_without_deduplication_each_time() {
    let (sandbox, client) = start().await;
    let bank = Bank::open(&sandbox, &client).await;
    let key = Uuid::new_v4().to_string();
    for (deduplicate, orders) in [(true, 1), (true, 1), (false, 2)] {
        sandbox.neonomics().configure(|bank| bank.deduplicate = deduplicate);
        sandbox.fault(Operation::Payment, Fault::ExecuteThenStatus { code: 500 }, 1);
        let answer = bank.post(PAYMENTS, &key, &order()).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.text().await.unwrap()),
            (500, String::new())
        );
        assert_eq!(sandbox.neonomics().orders_for(&key), orders);
    }
    let entry = &sandbox.journal().entries_of(Operation::Payment)[0];
    assert_eq!((entry.status, entry.is_answer_invented()), (Some(500), true));
}

#[tokio::test]
async fn a_truncated_answer_has_a_head_and_fails_in_its_body() {
    let (sandbox, client) = start().await;
    let bank = Bank::open(&sandbox, &client).await;
    sandbox.fault(Operation::Payment, Fault::Truncate, 1);
    let key = Uuid::new_v4().to_string();
    let answer = bank.post(PAYMENTS, &key, &order()).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let declared = answer.content_length().unwrap();
    assert!(declared > 0);
    answer.bytes().await.unwrap_err();
    assert_eq!(sandbox.neonomics().orders_for(&key), 1);
}

#[tokio::test]
async fn garbage_keeps_the_status_and_is_not_json() {
    let (sandbox, client) = start().await;
    let bank = Bank::open(&sandbox, &client).await;
    sandbox.fault(Operation::Payment, Fault::Garbage, 1);
    let answer = bank
        .post(PAYMENTS, &Uuid::new_v4().to_string(), &order())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
    assert!(answer.json::<serde_json::Value>().await.is_err());
}

#[tokio::test]
async fn statuses_come_in_the_queued_number_with_the_queued_body() {
    let (sandbox, client) = start().await;
    let bank = Bank::open(&sandbox, &client).await;
    let key = Uuid::new_v4().to_string();
    sandbox.neonomics().fail_next(2, 503);
    sandbox.fault(
        Operation::Payment,
        Fault::Status {
            code: 500,
            body: Some(json!({ "code": "BROKEN" })),
        },
        1,
    );
    sandbox.fault(Operation::Payment, Fault::Limited { retry_after: 7 }, 1);
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let answer = bank.post(PAYMENTS, &key, &order()).send().await.unwrap();
        statuses.push(answer.status().as_u16());
        if answer.status() == 429 {
            assert_eq!(answer.headers()["retry-after"], "7");
        }
    }
    assert_eq!(statuses, [503, 503, 500, 429, 201]);
    assert_eq!(sandbox.neonomics().orders_for(&key), 1);
}

#[tokio::test]
async fn a_hanging_call_ends_by_the_clients_patience_and_a_hanging_sandbox_still_stops() {
    let (sandbox, client) = start().await;
    let url = format!("{}/bankid/protocol/openid-connect/certs", sandbox.url());
    sandbox.fault(Operation::BankidCerts, Fault::Hang, 2);
    let error = client
        .get(&url)
        .timeout(Duration::from_millis(100))
        .send()
        .await
        .unwrap_err();
    assert!(error.is_timeout());

    let hanging = tokio::spawn(client.get(&url).send());
    while sandbox.journal().entries_of(Operation::BankidCerts).len() < 2 {
        tokio::task::yield_now().await;
    }
    sandbox.stop().await.unwrap();
    assert!(hanging.await.unwrap().is_err());
}

#[tokio::test]
async fn a_delayed_answer_is_late_and_complete() {
    let (sandbox, client) = start().await;
    sandbox.fault(Operation::BankidCerts, Fault::Delay { ms: 120 }, 1);
    let begun = Instant::now();
    let answer = client
        .get(format!("{}/bankid/protocol/openid-connect/certs", sandbox.url()))
        .send()
        .await
        .unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(120));
    assert!(answer.json::<serde_json::Value>().await.unwrap()["keys"].is_array());
}

#[tokio::test]
async fn oversized_dripped_and_redirected_answers_are_what_they_say() {
    let (sandbox, client) = start().await;
    let url = format!("{}/bankid/protocol/openid-connect/certs", sandbox.url());
    sandbox.fault(Operation::BankidCerts, Fault::Oversize { bytes: 1_000_000 }, 1);
    sandbox.fault(Operation::BankidCerts, Fault::Drip { ms: 0 }, 1);
    sandbox.fault(
        Operation::BankidCerts,
        Fault::Redirect {
            to: "http://192.0.2.1/".to_owned(),
        },
        1,
    );
    assert_eq!(
        client.get(&url).send().await.unwrap().bytes().await.unwrap().len(),
        1_000_000
    );
    assert!(
        client
            .get(&url)
            .send()
            .await
            .unwrap()
            .json::<serde_json::Value>()
            .await
            .unwrap()["keys"]
            .is_array()
    );
    let redirect = client.get(&url).send().await.unwrap();
    assert_eq!(redirect.status(), 307);
    assert_eq!(redirect.headers()["location"], "http://192.0.2.1/");
}
