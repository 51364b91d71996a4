use std::time::{Duration, Instant};

use chrono::TimeDelta;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Signer, check_at, claims, client, config, keys, now, tokens, trace};
use crate::config::BankIdConfig;
use crate::providers::{
    bankid::{BankId, LoginRefused, VerifiedClaims},
    http::Trace,
    testing::{FakeProvider, answer, json as reply},
};

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
        (refused.failure().code(), refused.reason(), refused.needs_ops()),
        ("jwks_verification_failed", "keys", true)
    );
    assert!(refused.is_unreachable());
    let login = || check_at(&bankid, signer.sign(&claims()), now());
    let (one, two, three) = tokio::join!(login(), login(), login());
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(provider.seen().len(), 2);
}

#[tokio::test]
async fn logins_that_meet_a_new_key_together_share_one_fetch_and_all_get_in() {
    let (old, new) = (Signer::new("k1"), Signer::new("k2"));
    let provider = FakeProvider::start([keys(&[&old]), keys(&[&new])]).await;
    let bankid = client(config(&provider.url));
    check_at(&bankid, old.sign(&claims()), now())
        .await
        .expect("the old key");
    let login = || check_at(&bankid, new.sign(&claims()), now());
    let (one, two, three) = tokio::join!(login(), login(), login());
    for login in [one, two, three] {
        login.expect("the new key");
    }
    assert_eq!(provider.seen().len(), 2);
}

#[tokio::test]
async fn a_fetch_that_failed_starts_no_cooldown() {
    let (old, new) = (Signer::new("k1"), Signer::new("k2"));
    let provider = FakeProvider::start([keys(&[&old]), reply(500, ""), keys(&[&new])]).await;
    let bankid = client(config(&provider.url));
    check_at(&bankid, old.sign(&claims()), now())
        .await
        .expect("the old key");
    let refused = check_at(&bankid, new.sign(&claims()), now()).await;
    assert_eq!(refused.expect_err("not to be had").reason(), "keys");
    check_at(&bankid, new.sign(&claims()), now())
        .await
        .expect("the next login asks again");
}

#[tokio::test]
async fn a_fetch_is_for_every_login_so_it_does_not_end_with_the_lease_of_one() {
    let signer = Signer::new("k1");
    let provider = FakeProvider::start([keys(&[&signer])]).await;
    let over = Trace {
        not_after: Some(Instant::now()),
        ..trace()
    };
    client(config(&provider.url))
        .verify(&tokens(signer.sign(&claims())), &"the-nonce".into(), over, now())
        .await
        .expect("fetched");
}

/// A client whose keys came with these headers a moment ago, and cannot be fetched again.
async fn with_keys(signer: &Signer, headers: &str) -> (BankId, FakeProvider) {
    let body = json!({"keys": [signer.jwk(), {"kty": "unknown"}]}).to_string();
    let fetched = answer(200, headers, &body);
    let provider = FakeProvider::start([fetched, reply(500, ""), reply(500, "")]).await;
    let bankid = client(config(&provider.url));
    check_in(&bankid, signer, 0).await.expect("fetched");
    (bankid, provider)
}

/// A login these seconds later.
async fn check_in(bankid: &BankId, signer: &Signer, seconds: i64) -> Result<VerifiedClaims, LoginRefused> {
    let (mut claims, time) = (claims(), now() + TimeDelta::seconds(seconds));
    claims["iat"] = json!(time.timestamp());
    claims["exp"] = json!(time.timestamp() + 300);
    check_at(bankid, signer.sign(&claims), time).await
}

#[rstest]
#[case::promised("cache-control: public, max-age=1000\r\n", 1_000)]
#[case::promised_in_another_line("cache-control: public\r\ncache-control: Max-Age=\"1000\"\r\n", 1_000)]
#[case::at_most_a_day("cache-control: max-age=1000000\r\n", 86_400)]
#[case::shorter_than_fresh("cache-control: max-age=10\r\n", 300)]
#[case::to_be_asked_for_anew("cache-control: no-cache, max-age=1000\r\n", 300)]
#[case::not_promised("", 300)]
#[tokio::test]
async fn old_keys_serve_for_as_long_as_they_were_promised_and_not_after_it(
    #[case] headers: &str,
    #[case] seconds: i64,
) {
    let signer = Signer::new("k1");
    let (bankid, provider) = with_keys(&signer, headers).await;
    check_in(&bankid, &signer, 299).await.expect("fresh");
    assert_eq!(provider.seen().len(), 1);
    check_in(&bankid, &signer, seconds - 1)
        .await
        .expect("inside the promise the login does not wait");
    let refused = check_in(&bankid, &signer, seconds).await;
    assert_eq!(refused.expect_err("the promise is over").reason(), "keys");
}

#[tokio::test]
async fn keys_are_fresh_for_as_long_as_it_is_configured() {
    let signer = Signer::new("k1");
    let provider = FakeProvider::start([keys(&[&signer]), keys(&[&signer])]).await;
    let bankid = client(BankIdConfig {
        jwks_ttl: Duration::from_mins(1),
        ..config(&provider.url)
    });
    for (seconds, fetches) in [(0, 1), (59, 1), (60, 2)] {
        check_in(&bankid, &signer, seconds).await.expect("a good token");
        assert_eq!(provider.seen().len(), fetches, "after {seconds} s");
    }
}

fn only(change: &Value) -> String {
    let mut key = Signer::new("k1").jwk();
    for (name, value) in change.as_object().expect("an object") {
        key[name] = value.clone();
    }
    reply(200, &json!({ "keys": [key] }).to_string())
}

#[rstest]
#[case::empty(reply(200, r#"{"keys":[]}"#))]
#[case::html(answer(200, "", "<html>"))]
#[case::redirect(answer(302, "location: http://127.0.0.1:1/\r\n", ""))]
#[case::huge(reply(200, &" ".repeat(256 * 1024 + 1)))]
#[case::for_encryption_only(only(&json!({"use": "enc"})))]
#[case::for_another_algorithm_only(only(&json!({"alg": "ES384", "crv": "P-384"})))]
#[case::of_another_kind_only(only(&json!({"kty": "OKP", "alg": null})))]
#[tokio::test]
async fn an_unusable_key_set_is_a_failed_fetch_and_the_old_keys_stay(#[case] unusable: String) {
    let signer = Signer::new("k1");
    let provider = FakeProvider::start([unusable.clone()]).await;
    let refused = check_at(&client(config(&provider.url)), signer.sign(&claims()), now()).await;
    assert_eq!(refused.expect_err("no keys").reason(), "keys");
    assert_eq!(provider.seen().len(), 1);

    let promised = answer(
        200,
        "cache-control: max-age=1000\r\n",
        &json!({"keys": [signer.jwk()]}).to_string(),
    );
    let provider = FakeProvider::start([promised, unusable]).await;
    let bankid = client(config(&provider.url));
    let other = Signer::new("k2").sign(&claims());
    check_at(&bankid, signer.sign(&claims()), now()).await.expect("fetched");
    let refused = check_at(&bankid, other, now()).await;
    assert_eq!(refused.expect_err("the second fetch failed").reason(), "keys");
    check_at(&bankid, signer.sign(&claims()), now())
        .await
        .expect("the old keys");
}

#[rstest]
#[case("application/json;charset=UTF-8", true)]
#[case("application/jwk-set+json", true)]
#[case("text/html", false)]
#[case("application/octet-stream", false)]
#[tokio::test]
async fn a_key_set_calls_itself_json(#[case] kind: &str, #[case] usable: bool) {
    let signer = Signer::new("k1");
    let body = json!({"keys": [signer.jwk()]}).to_string();
    let provider = FakeProvider::start([answer(200, &format!("content-type: {kind}\r\n"), &body)]).await;
    let login = check_at(&client(config(&provider.url)), signer.sign(&claims()), now()).await;
    assert_eq!(login.is_ok(), usable, "{login:?}");
}
