use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use rstest::rstest;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    AuthorizationRequest, BankId, LoginRefused, UnverifiedTokens, VerifiedClaims, authorization_url, code_challenge,
};
use crate::{
    config::{BankIdConfig, BankIdCredentials},
    providers::{
        http::Trace,
        testing::{FakeProvider, answer, json as reply},
        unobserved,
    },
};

const ISSUER: &str = "https://auth.bankid.example/auth/realms/prod";
const PID: &str = "13897249477";

/// A signing key of the fake BankID.
struct Signer {
    kid: &'static str,
    pair: EcdsaKeyPair,
}

impl Signer {
    fn new(kid: &'static str) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).expect("a key");
        Self { kid, pair }
    }

    fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        json!({"kty":"EC","crv":"P-256","use":"sig","alg":"ES256","kid":self.kid,"x":b64(&point[1..33]),"y":b64(&point[33..65])})
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_with(&json!({"alg":"ES256","kid":self.kid,"typ":"JWT"}), claims)
    }

    fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let text = format!(
            "{}.{}",
            b64(header.to_string().as_bytes()),
            b64(claims.to_string().as_bytes())
        );
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).expect("signed");
        format!("{text}.{}", b64(signature.as_ref()))
    }
}

fn b64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letter = |bits: u32| char::from(LETTERS[(bits & 63) as usize]);
    bytes
        .chunks(3)
        .flat_map(|chunk| {
            let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(*chunk.get(at).unwrap_or(&0)));
            (0..=chunk.len())
                .map(move |at| letter(bits >> (18 - 6 * at)))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn config(url: &str) -> BankIdConfig {
    BankIdConfig {
        mock: false,
        client_id: "drop".to_owned(),
        issuer: ISSUER.to_owned(),
        authorization_url: format!("{ISSUER}/protocol/openid-connect/auth"),
        token_url: format!("{url}/token"),
        jwks_url: format!("{url}/certs"),
        redirect_uri: "https://getdrop.no/api/auth/bankid/callback".to_owned(),
        scope: "openid profile".to_owned(),
        acr_values: "urn:bankid:bid".to_owned(),
        require_acr: false,
        require_iss_param: false,
        national_id_claims: vec!["pid".to_owned(), "nnin_altsub".to_owned()],
        subject_claim: "sub".to_owned(),
        jwks_ttl: Duration::from_mins(5),
        synthetic_ids: vec!["tenor".to_owned()],
        relaxed_2032: false,
    }
}

fn client(config: BankIdConfig) -> BankId {
    BankId::new(
        config,
        BankIdCredentials {
            client_secret: "bankid secret".into(),
        },
        unobserved(),
    )
    .expect("loopback")
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000, 0).expect("a valid time")
}

fn trace() -> Trace {
    Trace {
        request_id: Uuid::from_u128(3),
        correlation_id: None,
        not_after: None,
    }
}

fn claims() -> Value {
    let at = now().timestamp();
    json!({
        "iss": ISSUER, "aud": "drop", "sub": "s-1", "exp": at + 300, "iat": at, "nonce": "the-nonce", "typ": "ID",
        "pid": PID, "name": "Anna Berit Hansen", "birthdate": "1972-09-13", "acr": "urn:bankid:bid;LOA=4",
        "auth_time": at, "amr": ["BID"], "bankid_altsub": "altsub-1", "tid": {"any": 1},
    })
}

fn keys(signers: &[&Signer]) -> String {
    reply(
        200,
        &json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()}).to_string(),
    )
}

fn tokens(id_token: String) -> UnverifiedTokens {
    UnverifiedTokens {
        id_token: id_token.into(),
        access_token: Some("access".into()),
    }
}

async fn check_at(bankid: &BankId, id_token: String, now: DateTime<Utc>) -> Result<VerifiedClaims, LoginRefused> {
    bankid
        .verify(&tokens(id_token), &"the-nonce".into(), trace(), now)
        .await
}

/// Verifies a token with `change` merged into its claims (null removes one).
async fn with_claims(change: Value, adjust: impl FnOnce(&mut BankIdConfig)) -> Result<VerifiedClaims, LoginRefused> {
    let signer = Signer::new("k1");
    let provider = FakeProvider::start([keys(&[&signer]), keys(&[&signer])]).await;
    let mut all = claims();
    for (name, value) in change.as_object().expect("an object") {
        let object = all.as_object_mut().expect("an object");
        if value.is_null() {
            object.remove(name)
        } else {
            object.insert(name.clone(), value.clone())
        };
    }
    let mut config = config(&provider.url);
    adjust(&mut config);
    check_at(&client(config), signer.sign(&all), now()).await
}

#[test]
fn a_person_is_sent_to_bankid_with_pkce_and_never_to_plain() {
    let (state, nonce) = (SecretString::from("st&te"), SecretString::from("the-nonce"));
    // RFC 7636 appendix B.
    let challenge = code_challenge(&"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into());
    assert_eq!(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    let request = AuthorizationRequest {
        state: &state,
        nonce: &nonce,
        code_challenge: &challenge,
        ui_locales: None,
    };
    let url = authorization_url(&config("http://127.0.0.1:1"), &request).expect("a URL");
    assert_eq!(
        url,
        format!(
            "{ISSUER}/protocol/openid-connect/auth?client_id=drop\
             &redirect_uri=https%3A%2F%2Fgetdrop.no%2Fapi%2Fauth%2Fbankid%2Fcallback&response_type=code\
             &scope=openid+profile&state=st%26te&nonce=the-nonce&code_challenge={challenge}\
             &code_challenge_method=S256&acr_values=urn%3Abankid%3Abid"
        )
    );
}

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
#[case(json!({"typ": "Bearer"}), "token_type")]
#[tokio::test]
async fn a_token_that_fails_a_check_is_refused(#[case] change: Value, #[case] reason: &str) {
    let refused = with_claims(change, |_| ()).await.expect_err("must be refused");
    assert_eq!((refused.code(), refused.reason()), ("jwks_verification_failed", reason));
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
        with_claims(change, |_| ()).await.expect_err("unreadable").code(),
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
    assert!(
        with_claims(json!({}), |config| config.acr_values = "urn:bankid:bis".to_owned())
            .await
            .is_ok()
    );
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
#[tokio::test]
async fn a_claim_about_the_person_that_is_malformed_is_refused(#[case] change: Value) {
    assert_eq!(
        with_claims(change, |_| ()).await.expect_err("refused").code(),
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
#[case(json!({"alg":"ES256","kid":"../../k1"}))]
#[tokio::test]
async fn a_header_that_asks_for_something_else_is_refused(#[case] header: Value) {
    let signer = Signer::new("k1");
    let provider = FakeProvider::start([keys(&[&signer]), keys(&[&signer])]).await;
    let token = signer.sign_with(&header, &claims());
    assert!(check_at(&client(config(&provider.url)), token, now()).await.is_err());
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
    assert_eq!((refused.code(), provider.seen().len()), ("token_exchange_failed", 0));
}

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

async fn exchange(replies: Vec<String>) -> (Result<UnverifiedTokens, LoginRefused>, FakeProvider) {
    let provider = FakeProvider::start(replies).await;
    let bankid = client(config(&provider.url));
    let result = bankid.exchange(&"c&de".into(), &"verifier".into(), trace()).await;
    (result, provider)
}

#[tokio::test]
async fn the_code_is_exchanged_in_the_body_with_secret_and_verifier() {
    let granted = reply(
        200,
        r#"{"id_token":"a.b.c","access_token":"x","token_type":"bearer","expires_in":300,"more":1}"#,
    );
    let (result, provider) = exchange(vec![granted]).await;
    assert!(!format!("{:?}", result.expect("granted")).contains("a.b.c"));
    let seen = provider.seen().remove(0);
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(
        seen.body,
        "grant_type=authorization_code&code=c%26de\
         &redirect_uri=https%3A%2F%2Fgetdrop.no%2Fapi%2Fauth%2Fbankid%2Fcallback&client_id=drop\
         &client_secret=bankid+secret&code_verifier=verifier"
    );
}

#[rstest]
#[case(
    reply(400, r#"{"error":"invalid_grant","error_description":"private"}"#),
    "code_refused",
    false
)]
#[case(reply(401, r#"{"error":"unauthorized_client"}"#), "client_refused", true)]
#[case(reply(400, r#"{"error":"invalid_client"}"#), "client_refused", true)]
#[case(reply(500, ""), "exchange", false)]
#[case(answer(503, "", "<html>"), "exchange", false)]
#[case(answer(200, "", "<html>"), "exchange", false)]
#[case(answer(307, "location: http://127.0.0.1:1/\r\n", ""), "exchange", false)]
#[case(reply(200, &" ".repeat(256 * 1024 + 1)), "exchange", false)]
#[case(String::new(), "exchange", false)]
#[case(
    reply(200, r#"{"access_token":"x","token_type":"Bearer"}"#),
    "unusable_answer",
    false
)]
#[case(reply(200, r#"{"id_token":"a.b.c","token_type":"mac"}"#), "unusable_answer", false)]
#[tokio::test]
async fn a_failed_exchange_is_never_repeated(#[case] answered: String, #[case] reason: &str, #[case] ops: bool) {
    let (result, provider) = exchange(vec![answered.clone(), answered]).await;
    let refused = result.expect_err("refused");
    assert_eq!(
        (refused.code(), refused.reason(), refused.needs_ops()),
        ("token_exchange_failed", reason, ops)
    );
    assert_eq!(provider.seen().len(), 1);
    assert!(!format!("{refused:?}").contains("private"));
}
