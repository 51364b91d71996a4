use chrono::TimeDelta;
use rstest::rstest;
use serde_json::json;

use super::{Signer, check_at, claims, client, config, keys, now};
use crate::providers::testing::{FakeProvider, answer, json as reply};

#[tokio::test]
async fn a_rotated_key_is_fetched_once_and_random_kids_cause_no_further_fetch() {
    let (old, new, random) = (Signer::new("k1"), Signer::new("k2"), Signer::new("k3"));
    let provider = FakeProvider::start([keys(&[&old]), keys(&[&old, &new]), keys(&[&random])]).await;
    let bankid = client(config(&provider.url));
    check_at(&bankid, old.sign(&claims()), now())
        .await
        .expect("the old key");
    check_at(&bankid, new.sign(&claims()), now())
        .await
        .expect("the new key");
    for _ in 0..3 {
        assert_eq!(
            check_at(&bankid, random.sign(&claims()), now())
                .await
                .expect_err("unknown")
                .reason(),
            "key"
        );
    }
    assert_eq!(provider.seen().len(), 2);
    let later = now() + TimeDelta::seconds(30);
    check_at(&bankid, random.sign(&claims()), later)
        .await
        .expect("the cooldown is over");
}

#[tokio::test]
async fn logins_that_find_no_keys_share_one_fetch_and_a_failure_is_not_kept() {
    let signer = Signer::new("k1");
    let provider = FakeProvider::start([reply(500, ""), keys(&[&signer])]).await;
    let bankid = client(config(&provider.url));
    let refused = check_at(&bankid, signer.sign(&claims()), now())
        .await
        .expect_err("no keys");
    assert_eq!(
        (refused.code(), refused.reason(), refused.needs_ops()),
        ("jwks_verification_failed", "keys", true)
    );
    let login = || check_at(&bankid, signer.sign(&claims()), now());
    let (one, two, three) = tokio::join!(login(), login(), login());
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(provider.seen().len(), 2);
}

#[tokio::test]
async fn old_keys_serve_inside_the_providers_promise_and_not_after_it() {
    let signer = Signer::new("k1");
    let body = json!({"keys": [signer.jwk(), {"kty": "unknown"}]}).to_string();
    let promised = answer(200, "cache-control: public, max-age=1000\r\n", &body);
    let provider = FakeProvider::start([promised, reply(500, ""), reply(500, "")]).await;
    let bankid = client(config(&provider.url));
    let at = |seconds| {
        let mut claims = claims();
        let time = now() + TimeDelta::seconds(seconds);
        claims["iat"] = json!(time.timestamp());
        claims["exp"] = json!(time.timestamp() + 300);
        check_at(&bankid, signer.sign(&claims), time)
    };
    at(0).await.expect("fetched");
    at(299).await.expect("fresh");
    assert_eq!(provider.seen().len(), 1);
    at(999).await.expect("inside the promise the login does not wait");
    assert_eq!(
        at(1_000).await.expect_err("promise over, refresh fails").reason(),
        "keys"
    );
}

#[rstest]
#[case::empty(reply(200, r#"{"keys":[]}"#))]
#[case::html(answer(200, "", "<html>"))]
#[case::redirect(answer(302, "location: http://127.0.0.1:1/\r\n", ""))]
#[case::huge(reply(200, &" ".repeat(256 * 1024 + 1)))]
#[tokio::test]
async fn an_unusable_key_set_is_a_failed_fetch(#[case] unusable: String) {
    let provider = FakeProvider::start([unusable]).await;
    let refused = check_at(&client(config(&provider.url)), Signer::new("k1").sign(&claims()), now()).await;
    assert_eq!(refused.expect_err("no keys").code(), "jwks_verification_failed");
}
