//! What a token holds beside the claims that are used never fails a login, and never takes part in one.

use proptest::prelude::*;
use rstest::rstest;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::{PID, Signer, check_at, claims, client, config, keys, now, with_claims};
use crate::{
    keyring::base64url,
    providers::{
        bankid::{BankId, VerifiedClaims},
        testing::FakeProvider,
    },
};

#[rstest]
#[case::as_bankid_sends_it(json!({"amr": "BID"}))]
#[case(json!({"amr": ["BID", 1]}))]
#[case(json!({"amr": 4}))]
#[case(json!({"amr": {"method": "BID"}}))]
#[case(json!({"auth_time": "13:30"}))]
#[case(json!({"c_hash": 1}))]
#[case(json!({"address": "Storgata 1"}))]
#[case(json!({"phone_number": 4_712_345_678_u64, "phone_number_verified": "true"}))]
#[case(json!({"email": [], "email_verified": "yes", "gender": 2, "zoneinfo": 1, "locale": {}}))]
#[case(json!({"updated_at": "2026-05-28T20:26:40Z", "picture": {}, "profile": [1], "website": false}))]
#[case(json!({"tid": 7, "originator": [[]], "session_state": {}, "additionalCertInfo": {"keySize": "256"}}))]
#[tokio::test]
async fn a_claim_that_is_never_used_may_be_of_any_type(#[case] odd: Value) {
    let verified = with_claims(odd.clone(), |_| ()).await;
    assert!(verified.is_ok(), "{odd}: {verified:?}");
}

#[tokio::test]
async fn a_name_that_is_no_text_is_no_name() {
    let odd = json!({"given_name": 1, "family_name": {"no": "Hansen"}, "name#no": 3});
    let verified = with_claims(odd, |_| ()).await.expect("good");
    assert_eq!(
        (verified.name().first_secret(), verified.name().last_secret()),
        ("Anna Berit", "Hansen")
    );
    let verified = with_claims(json!({"name": ["Anna"]}), |_| ()).await.expect("good");
    assert_eq!(verified.name().first_secret(), "");
}

#[rstest]
#[case::the_number(r#""pid":"17829049236""#)]
#[case::the_number_written_otherwise(r#""p\u0069d":"17829049236""#)]
#[case::the_nonce(r#""nonce":"the-nonce""#)]
#[case::the_birthdate(r#""birthdate":"2012-06-01""#)]
#[case::the_subject(r#""sub":"s-2""#)]
#[case::one_that_is_never_used(r#""amr":"BID""#)]
#[tokio::test]
async fn a_claim_that_is_there_twice_makes_a_token_unreadable(#[case] second: &str) {
    let (signer, _provider, bankid) = bankid().await;
    let header = json!({"alg": "ES256", "kid": "k1"}).to_string();
    let once = claims().to_string();
    check_at(&bankid, signer.sign_text(&header, &once), now())
        .await
        .expect("each once");
    for twice in [
        format!("{},{second}}}", &once[..once.len() - 1]),
        format!("{{{second},{}", &once[1..]),
    ] {
        let refused = check_at(&bankid, signer.sign_text(&header, &twice), now()).await;
        assert_eq!(refused.expect_err("twice").reason(), "unusable_answer", "{twice}");
    }
}

#[tokio::test]
async fn a_claim_that_was_changed_after_signing_is_refused_whether_it_is_used_or_not() {
    let (signer, _provider, bankid) = bankid().await;
    for (name, value) in [
        ("pid", "17829049236"),
        ("birthdate", "1972-09-14"),
        ("name", "A"),
        ("amr", "BIS"),
    ] {
        let token = signer.sign(&claims());
        let (mut changed, parts) = (claims(), token.split('.').collect::<Vec<_>>());
        changed[name] = json!(value);
        let payload = base64url(changed.to_string().as_bytes());
        let forged = format!("{}.{payload}.{}", parts[0], parts[2]);
        let refused = check_at(&bankid, forged, now()).await.expect_err("not what was signed");
        assert_eq!(refused.reason(), "signature", "{name}");
    }
}

#[test]
fn whatever_else_a_token_holds_the_same_person_logs_in() {
    let (runtime, signer, _provider, bankid) = with_runtime();
    let unknown = "[A-Z#.]{0,12}"; // the names of claims that are used are lower case
    let never_used = prop_oneof![
        Just("amr".to_owned()),
        Just("auth_time".to_owned()),
        Just("tid".to_owned()),
        unknown
    ];
    proptest!(ProptestConfig::with_cases(32), |(name in never_used, value in any_json())| {
        let mut all = claims();
        all[&name] = value;
        let verified = runtime.block_on(check_at(&bankid, signer.sign(&all), now()));
        prop_assert!(verified.is_ok_and(|verified| is_anna(&verified)), "{}", all);
    });
}

#[test]
fn no_character_of_what_was_signed_can_be_changed() {
    let (runtime, signer, _provider, bankid) = with_runtime();
    let token = signer.sign(&claims());
    let signed = token.rfind('.').expect("three parts");
    proptest!(ProptestConfig::with_cases(32), |(at in 0..signed, letter in "[A-Za-z0-9_-]")| {
        prop_assume!(token[at..=at] != letter && token[at..=at] != *".");
        let mut changed = token.clone();
        changed.replace_range(at..=at, &letter);
        let verified = runtime.block_on(check_at(&bankid, changed, now()));
        prop_assert!(verified.is_err(), "{} at {}", letter, at);
    });
}

fn is_anna(verified: &VerifiedClaims) -> bool {
    let number = verified.national_id().map(ExposeSecret::expose_secret);
    number == Some(PID) && verified.subject() == "s-1" && verified.name().last_secret() == "Hansen"
}

async fn bankid() -> (Signer, FakeProvider, BankId) {
    let signer = Signer::new("k1");
    let provider = FakeProvider::start([keys(&[&signer])]).await;
    let bankid = client(config(&provider.url));
    (signer, provider, bankid)
}

/// For tests whose cases are no tasks of their own.
fn with_runtime() -> (Runtime, Signer, FakeProvider, BankId) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (signer, provider, bankid) = runtime.block_on(bankid());
    (runtime, signer, provider, bankid)
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".{0,4}", inner), 0..4).prop_map(|members| members.into_iter().collect()),
        ]
    })
}
