use std::sync::{Arc, Mutex};

use drop_sandbox::{Delivery, Digest, Review, Sandbox};
use poem::{
    Request, Server,
    endpoint::make,
    http::StatusCode,
    listener::{Acceptor as _, Listener as _, TcpListener},
};
use reqwest::{Client, RequestBuilder};
use ring::hmac;
use serde_json::{Value, json};

use crate::client::start;

type Received = Arc<Mutex<Vec<(Vec<u8>, Option<String>)>>>;

/// A receiver that checks digests as Drop must, and its address.
async fn receiver() -> (String, Received) {
    let received = Received::default();
    let seen = Arc::clone(&received);
    let acceptor = TcpListener::bind("127.0.0.1:0")
        .into_acceptor()
        .await
        .expect("a free port");
    let bound = acceptor
        .local_addr()
        .remove(0)
        .as_socket_addr()
        .copied()
        .expect("an address");
    let endpoint = make(move |mut request: Request| {
        let seen = Arc::clone(&seen);
        async move {
            let digest = request.header("x-payload-digest").map(str::to_owned);
            let body = request.take_body().into_vec().await.expect("a body");
            let ok = digest.as_ref().is_some_and(|digest| is_right(digest, &body));
            seen.lock().expect("no panic holds it").push((body, digest));
            Ok::<_, poem::Error>(if ok { StatusCode::OK } else { StatusCode::UNAUTHORIZED })
        }
    });
    tokio::spawn(Server::new_with_acceptor(acceptor).run(endpoint));
    (format!("http://{bound}/v1/webhooks/sumsub"), received)
}

fn is_right(digest: &str, body: &[u8]) -> bool {
    let bytes: Option<Vec<u8>> = (0..digest.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(digest.get(at..at + 2)?, 16).ok())
        .collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"webhook-secret-for-local-use");
    bytes.is_some_and(|bytes| hmac::verify(&key, body, &bytes).is_ok())
}

fn create(sandbox: &Sandbox, client: &Client, user: &str) -> RequestBuilder {
    client
        .post(format!("{}/sumsub/resources/applicants", sandbox.url()))
        .bearer_auth("sbx:app-token-for-local-use")
        .json(&json!({ "externalUserId": user, "email": "anna@example.test", "levelName": "basic-kyc-level" }))
}

#[tokio::test]
async fn a_second_create_is_a_409_that_ends_in_the_applicants_id() {
    let (sandbox, client) = start().await;
    let first = create(&sandbox, &client, "usr_1").send().await.unwrap();
    assert_eq!(first.status(), 201);
    let first: Value = first.json().await.unwrap();
    let id = first["id"].as_str().unwrap();
    assert_eq!(first["review"]["reviewStatus"], "init");

    let second = create(&sandbox, &client, "usr_1").send().await.unwrap();
    assert_eq!(second.status(), 409);
    assert!(
        second.json::<Value>().await.unwrap()["description"]
            .as_str()
            .unwrap()
            .ends_with(id)
    );

    let url = format!(
        "{}/sumsub/resources/applicants/-;externalUserId=usr%5F1/one",
        sandbox.url()
    );
    let found: Value = client
        .get(url)
        .bearer_auth("sbx:app-token-for-local-use")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(found["id"], first["id"]);
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_a_signed_request_passes() {
    let (sandbox, client) = start().await;
    sandbox.sumsub().refuse_bearer(true);
    assert_eq!(create(&sandbox, &client, "usr_1").send().await.unwrap().status(), 401);

    let path = "/resources/applicants?levelName=basic-kyc-level";
    let body = r#"{"externalUserId":"usr_1"}"#;
    let signed_at = |ts: i64| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"app-secret-for-local-use");
        let tag = hmac::sign(&key, format!("{ts}POST/sumsub{path}{body}").as_bytes());
        let signature = tag
            .as_ref()
            .iter()
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        client
            .post(format!("{}/sumsub{path}", sandbox.url()))
            .header("x-app-token", "sbx:app-token-for-local-use")
            .header("x-app-access-ts", ts.to_string())
            .header("x-app-access-sig", signature)
            .body(body)
    };
    let now = sandbox.clock().now().timestamp();
    assert_eq!(signed_at(now - 120).send().await.unwrap().status(), 401, "too old");
    assert_eq!(signed_at(now).send().await.unwrap().status(), 201);
}

#[tokio::test]
async fn a_review_reaches_the_receiver_signed_and_shows_in_the_status() {
    let (sandbox, client) = start().await;
    let (url, received) = receiver().await;
    sandbox.sumsub().send_webhooks_to(&url);
    create(&sandbox, &client, "usr_1").send().await.unwrap();
    let webhook = sandbox
        .sumsub()
        .review(Review::of("usr_1", "GREEN"), &Delivery::default())
        .await
        .unwrap();
    assert_eq!(webhook.statuses, [Some(200)]);
    let body: Value = serde_json::from_slice(&received.lock().unwrap()[0].0).unwrap();
    assert_eq!(body["type"], "applicantReviewed");
    assert_eq!(body["reviewResult"]["reviewAnswer"], "GREEN");
    let applicant = sandbox.sumsub().applicant_of("usr_1").unwrap();
    assert_eq!(body["applicantId"], json!(applicant.id));

    let url = format!("{}/sumsub/resources/applicants/{}/status", sandbox.url(), applicant.id);
    let status: Value = client
        .get(url)
        .bearer_auth("sbx:app-token-for-local-use")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(status["reviewStatus"], "completed");
    assert_eq!(status["reviewResult"]["reviewAnswer"], "GREEN");
}

#[tokio::test]
async fn wrong_and_missing_digests_and_changed_bytes_do_not_verify() {
    let (sandbox, _client) = start().await;
    let (url, received) = receiver().await;
    sandbox.sumsub().send_webhooks_to(&url);
    let deliveries = [
        Delivery {
            digest: Digest::Wrong,
            ..Delivery::default()
        },
        Delivery {
            digest: Digest::Missing,
            ..Delivery::default()
        },
        Delivery {
            reserialised: true,
            ..Delivery::default()
        },
    ];
    for delivery in deliveries {
        let webhook = sandbox
            .sumsub()
            .review(Review::of("usr_1", "RED"), &delivery)
            .await
            .unwrap();
        assert_eq!(webhook.statuses, [Some(401)], "{delivery:?}");
    }
    assert_eq!(received.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_resend_is_byte_identical_and_a_batch_can_come_in_reverse() {
    let (sandbox, _client) = start().await;
    let (url, received) = receiver().await;
    sandbox.sumsub().send_webhooks_to(&url);
    let twice = Delivery {
        times: 2,
        ..Delivery::default()
    };
    let webhook = sandbox
        .sumsub()
        .review(Review::of("usr_1", "GREEN"), &twice)
        .await
        .unwrap();
    sandbox.sumsub().resend(webhook.number).await.unwrap();
    {
        let received = received.lock().unwrap();
        assert_eq!(received.len(), 3);
        assert!(received.iter().all(|one| *one == received[0]));
    }

    let reversed = Delivery {
        reversed: true,
        ..Delivery::default()
    };
    let events = vec![Review::event("usr_2", "applicantPending"), Review::of("usr_2", "GREEN")];
    let sent = sandbox.sumsub().review_all(events, &reversed).await.unwrap();
    assert!(sent[0].body.contains("GREEN") && sent[1].body.contains("applicantPending"));
}

#[tokio::test]
async fn a_webhook_can_be_built_without_being_sent() {
    let (sandbox, _client) = start().await;
    let unsent = Delivery {
        times: 0,
        ..Delivery::default()
    };
    let webhook = sandbox
        .sumsub()
        .review(Review::of("usr_1", "RETRY"), &unsent)
        .await
        .unwrap();
    assert!(webhook.statuses.is_empty());
    assert!(is_right(&webhook.digest.unwrap(), webhook.body.as_bytes()));
}

#[tokio::test]
async fn an_sdk_token_is_for_the_user_who_was_named() {
    let (sandbox, client) = start().await;
    let request = client
        .post(format!("{}/sumsub/resources/accessTokens/sdk", sandbox.url()))
        .bearer_auth("sbx:app-token-for-local-use")
        .json(&json!({ "userId": "usr_1", "levelName": "basic-kyc-level", "ttlInSecs": 600 }));
    let body: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(body["userId"], "usr_1");
    assert!(body["token"].as_str().is_some_and(|token| !token.is_empty()));
}
