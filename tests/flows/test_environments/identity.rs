//! What the contract's section 3.4 says of Sumsub.

use std::fmt::Write as _;

use drop_tests::aimed::{Aimed, Task, answer, text};
use reqwest::Method;
use ring::hmac;
use serde_json::json;

use super::bankid::Person;

/// A webhook's digest is right, wrong or not there: 200, and once more 200; 401; 401.
pub(super) async fn webhooks_are_taken_by_their_signature_alone(aimed: &Aimed) {
    let event = json!({
        "type": "applicantPending", "applicantId": "5f9e1b2c3d4e5f6a7b8c9d0e", "correlationId": "test-environments",
        "externalUserId": "usr_0190a5a47c7e7d5ab8a1f2d3c4b5a697", "createdAt": "2026-02-23T10:00:00.000Z",
        "reviewStatus": "pending",
    })
    .to_string();
    let send = async |digest: Option<&str>| {
        let mut webhook = aimed
            .request(Method::POST, "/v1/webhooks/sumsub")
            .header("Content-Type", "application/json")
            .body(event.clone());
        if let Some(digest) = digest {
            webhook = webhook.header("X-Payload-Digest", digest);
        }
        answer(webhook).await
    };
    let secret = aimed.value("SUMSUB_SECRET_KEY").unwrap();
    let right = digest(&secret, &event);
    let wrong = digest("another secret", &event);
    for digest in [None, Some(wrong.as_str())] {
        assert_eq!(send(digest).await.problem(), (401, "invalid_signature"));
    }
    for _ in 0..2 {
        assert_eq!(send(Some(&right)).await.status, 200);
    }
}

fn digest(secret: &str, body: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body.as_bytes());
    tag.as_ref().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// Sumsub makes the applicant, gives a token for its SDK, and says by a webhook that the person is genuine.
pub(super) async fn is_verified(aimed: &mut Aimed, person: &Person) {
    let start = aimed.request(Method::POST, "/v1/kyc/applicant");
    let started = person.asks(start.json(&json!({ "email": "anna@example.com" }))).await;
    assert!(matches!(started.status.as_u16(), 201 | 202), "{:?}", started.problem());
    until_kyc(aimed, person, "the applicant is created", ("applicant", "created")).await;

    let token = person.asks(aimed.request(Method::POST, "/v1/kyc/sdk-token")).await;
    assert_eq!(token.status, 200, "{:?}", token.problem());
    assert!(!text(&token.body, "token").is_empty());

    let webhooks = aimed.public("/v1/webhooks/sumsub");
    aimed.have_done(Task::Verify(person.user.clone(), webhooks)).await;
    until_kyc(aimed, person, "the person is approved", ("status", "approved")).await;
    // Who stays pending is asked about once an hour: that would not show that webhooks come.
    let reviews = "SELECT count(*) FROM webhook_events WHERE event_type = 'applicantReviewed' AND state = 'applied'";
    let came: i64 = sqlx::query_scalar(reviews).fetch_one(&aimed.db).await.unwrap();
    assert_eq!(came, 1, "approved by a webhook");
    let told = person.get(aimed, "/v1/me/notifications").await;
    assert_eq!(text(&told["notifications"][0], "kind"), "kyc");
}

async fn until_kyc(aimed: &mut Aimed, person: &Person, what: &str, (member, wanted): (&str, &str)) {
    let look = aimed.request(Method::GET, "/v1/kyc");
    let seen = async || {
        let kyc = person.sees(&look).await;
        (kyc.body[member] == wanted).then_some(())
    };
    aimed.until(what, seen).await;
}
