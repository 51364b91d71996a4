use rstest::rstest;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{ISSUER, PID, Signer, check_at, claims, client, config, keys, now, with_claims};
use crate::{
    metrics::BANKID_LOGIN_ERRORS,
    providers::{
        bankid::{Check, id_token::UnverifiedIdToken},
        testing::FakeProvider,
    },
};

#[tokio::test]
async fn a_good_token_gives_its_claims_and_shows_none_of_them() {
    let verified = with_claims(json!({}), |_| ()).await.expect("good");
    assert_eq!(verified.national_id().map(ExposeSecret::expose_secret), Some(PID));
    assert_eq!(
        (verified.name().first_secret(), verified.name().last_secret()),
        ("Anna Berit", "Hansen")
    );
    assert_eq!(
        (
            verified.subject(),
            verified.birthdate().map(|day| day.to_string()).as_deref()
        ),
        ("s-1", Some("1972-09-13"))
    );
    assert_eq!(format!("{verified:?}"), "VerifiedClaims(redacted)");
}

#[rstest]
#[case(json!({"iss": format!("{ISSUER}/")}), "issuer")]
#[case(json!({"iss": "https://evil.example"}), "issuer")]
#[case(json!({"aud": "other"}), "audience")]
#[case(json!({"aud": null}), "audience")]
#[case(json!({"aud": ["drop", "other"], "azp": "drop"}), "audience")]
#[case(json!({"azp": "other"}), "authorized_party")]
#[case(json!({"exp": 1_780_000_000 - 10}), "time")]
#[case(json!({"iat": 1_780_000_000 + 11}), "time")]
#[case(json!({"iat": 1_780_000_000 - 311}), "time")]
#[case(json!({"nbf": 1_780_000_000 + 11}), "not_before")]
#[case(json!({"nbf": "soon"}), "not_before")]
#[case(json!({"nonce": "earlier"}), "nonce")]
#[case(json!({"nonce": null}), "nonce")]
#[case(json!({"sub": ""}), "subject")]
#[case(json!({"sub": "x".repeat(256)}), "subject")]
#[case(json!({"at_hash": "d3Jvbmc"}), "access_token_hash")]
#[case(json!({"acr": "urn:bankid:bis"}), "acr")]
#[case(json!({"acr": "urn:bankid:bid;LOA=3"}), "acr")]
#[case(json!({"acr": "urn:bankid:bid;LOA=4;LOA=3"}), "acr")]
#[case(json!({"typ": "Bearer"}), "token_type")]
#[tokio::test]
async fn a_token_that_fails_a_check_is_refused(#[case] change: Value, #[case] reason: &str) {
    let refused = with_claims(change, |_| ()).await.expect_err("must be refused");
    assert_eq!(
        (refused.failure().code(), refused.reason()),
        ("jwks_verification_failed", reason)
    );
}

#[test]
fn every_check_is_a_reason_that_is_counted() {
    let counted = BANKID_LOGIN_ERRORS.series();
    for check in Check::ALL {
        assert!(counted.contains(&vec![check.as_str()]), "{check}");
    }
}

#[rstest]
#[case(json!({"iss": null}))]
#[case(json!({"exp": null}))]
#[case(json!({"exp": "later"}))]
#[case(json!({"iat": null}))]
#[case(json!({"sub": null}))]
#[tokio::test]
async fn a_token_without_a_required_claim_is_an_unusable_answer(#[case] change: Value) {
    assert_eq!(
        with_claims(change, |_| ())
            .await
            .expect_err("unreadable")
            .failure()
            .code(),
        "token_exchange_failed"
    );
}

#[rstest]
#[case(json!({"aud": ["drop"], "azp": "drop"}))]
#[case(json!({"exp": 1_780_000_000 - 9}))]
#[case(json!({"iat": 1_780_000_000 + 10, "nbf": 1_780_000_000 + 10}))]
#[case(json!({"iat": 1_780_000_000 - 310}))]
#[case(json!({"acr": null, "typ": null, "pid": null, "name": null, "birthdate": null}))]
#[case(json!({"at_hash": "oFYf1knNtrqnhAVfBRuteQ"}))]
#[case(json!({"nnin_altsub": PID}))]
#[tokio::test]
async fn a_token_at_the_edge_of_a_rule_is_accepted(#[case] change: Value) {
    let result = with_claims(change.clone(), |_| ()).await;
    assert!(result.is_ok(), "{change}: {result:?}");
}

#[tokio::test]
async fn a_missing_acr_is_refused_where_it_is_required_and_a_higher_one_suffices() {
    let refused = with_claims(json!({"acr": null}), |config| config.require_acr = true)
        .await
        .expect_err("required");
    assert_eq!(refused.reason(), "acr");
    for asked in [
        "urn:bankid:bis",
        "urn:bankid:bis;LOA=3",
        "urn:bankid:bid;LOA=4",
        "urn:other urn:bankid:bid",
    ] {
        for got in ["urn:bankid:bid", "urn:bankid:bid;LOA=4"] {
            let verified = with_claims(json!({ "acr": got }), |config| config.acr_values = asked.to_owned()).await;
            assert!(verified.is_ok(), "{got} for {asked}: {verified:?}");
        }
    }
}

#[rstest]
#[case(json!({"pid": 13_897_249_477_u64}))]
#[case(json!({"pid": "1389724947"}))]
#[case(json!({"pid": "138972494777"}))]
#[case(json!({"pid": "1389724947x"}))]
#[case(json!({"pid": "１３８９７２４９４７７"}))]
#[case(json!({"nnin_altsub": "17829049236"}))]
#[case(json!({"birthdate": "13.09.1972"}))]
#[case(json!({"birthdate": "+1972-9-13"}))]
#[case(json!({"birthdate": 19_720_913}))]
#[tokio::test]
async fn a_claim_about_the_person_that_is_malformed_is_refused(#[case] change: Value) {
    assert_eq!(
        with_claims(change, |_| ()).await.expect_err("refused").failure().code(),
        "invalid_identity_claim"
    );
}

#[tokio::test]
async fn names_are_plain_capped_text_and_the_subject_claim_is_configured() {
    let hostile = json!({"given_name": "A\u{0}nna\n", "family_name": "x".repeat(500)});
    let verified = with_claims(hostile, |config| config.subject_claim = "bankid_altsub".to_owned())
        .await
        .expect("good");
    assert_eq!(
        (verified.name().first_secret(), verified.name().last_secret().len()),
        ("Anna", 100)
    );
    assert_eq!(verified.subject(), "altsub-1");
}

#[rstest]
#[case(json!({"alg":"none","kid":"k1"}))]
#[case(json!({"alg":"HS256","kid":"k1"}))]
#[case(json!({"alg":"ES384","kid":"k1"}))]
#[case(json!({"alg":"ES256","kid":"k1","crit":["x"]}))]
#[case(json!({"alg":"ES256","kid":"k1","typ":"at+jwt"}))]
#[case(json!({"alg":"ES256","kid":"k1","typ":"JOSE"}))]
#[case(json!({"alg":"ES256","kid":"k1","typ":""}))]
#[case(json!({"alg":"ES256","kid":"../../k1"}))]
#[tokio::test]
async fn a_header_that_asks_for_something_else_is_refused(#[case] header: Value) {
    let signer = Signer::new("k1");
    let provider = FakeProvider::start([keys(&[&signer]), keys(&[&signer])]).await;
    let token = signer.sign_with(&header, &claims());
    assert!(check_at(&client(config(&provider.url)), token, now()).await.is_err());
}

#[rstest]
#[case(json!({"alg":"ES256","kid":"k1"}))]
#[case(json!({"alg":"ES256","kid":"k1","typ":"jwt"}))]
#[case(json!({"alg":"ES256","typ":"application/jwt","x5t":"any"}))]
#[tokio::test]
async fn a_header_that_names_a_key_or_leaves_it_to_be_found_is_accepted(#[case] header: Value) {
    let signer = Signer::new("k1");
    let provider = FakeProvider::start([keys(&[&signer])]).await;
    let token = signer.sign_with(&header, &claims());
    let login = check_at(&client(config(&provider.url)), token, now()).await;
    assert!(login.is_ok(), "{header}: {login:?}");
}

#[rstest]
#[case(json!({"alg":"HS256","kid":"never-published"}), "never-published", "HS256")]
#[case(json!({"alg":"ES256"}), "(none)", "ES256")]
#[case(json!({"alg":"ES256","kid":"a\nb"}), "(withheld)", "ES256")]
#[case(json!({"alg":"ES256","kid":"x".repeat(65)}), "(withheld)", "ES256")]
fn a_log_is_told_the_key_and_algorithm_of_a_token_unless_they_are_no_plain_words(
    #[case] header: Value,
    #[case] kid: &str,
    #[case] alg: &str,
) {
    let token = Signer::new("k1").sign_with(&header, &claims());
    let token = UnverifiedIdToken::read(&token.into()).expect("readable");
    assert_eq!(token.names(), (kid.to_owned(), alg.to_owned()));
}

#[tokio::test]
async fn a_signature_by_another_key_under_the_same_kid_is_refused_even_with_its_own_jwk() {
    let (good, evil) = (Signer::new("k1"), Signer::new("k1"));
    let provider = FakeProvider::start([keys(&[&good])]).await;
    let token = evil.sign_with(
        &json!({"alg":"ES256","kid":"k1","jwk":evil.jwk(),"jku":"http://127.0.0.1:1/"}),
        &claims(),
    );
    let refused = check_at(&client(config(&provider.url)), token, now())
        .await
        .expect_err("forged");
    assert_eq!(refused.reason(), "signature");
}

#[rstest]
#[case("")]
#[case("not a token")]
#[case("a.b.c.d.e")]
#[tokio::test]
async fn what_is_no_token_is_refused_without_a_call(#[case] token: &str) {
    let provider = FakeProvider::start([]).await;
    let refused = check_at(&client(config(&provider.url)), token.to_owned(), now())
        .await
        .expect_err("no token");
    assert_eq!(
        (refused.failure().code(), provider.seen().len()),
        ("token_exchange_failed", 0)
    );
}
