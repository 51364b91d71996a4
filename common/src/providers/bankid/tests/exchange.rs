use std::sync::Arc;

use reqwest::Url;
use ring::signature::{ECDSA_P256_SHA256_FIXED, KeyPair, UnparsedPublicKey};
use rstest::rstest;
use serde_json::{Value, json};

use super::{Signer, client, config, now, trace};
use crate::{
    base64,
    config::{BankIdClientKey, BankIdCredentials},
    providers::{
        bankid::{BankId, LoginRefused, UnverifiedTokens},
        testing::{FakeProvider, answer, json as reply},
        unobserved,
    },
};

async fn exchange(replies: Vec<String>) -> (Result<UnverifiedTokens, LoginRefused>, FakeProvider) {
    let provider = FakeProvider::start(replies).await;
    let bankid = client(config(&provider.url));
    let result = bankid
        .exchange(&"c&de".into(), &"verifier".into(), trace(), now())
        .await;
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
         &code_verifier=verifier&client_secret=bankid+secret"
    );
}

#[tokio::test]
async fn a_client_that_has_a_key_sends_a_signed_proof_of_its_own_for_each_code_and_no_secret() {
    let pair = Arc::new(Signer::new("client-1").pair);
    let key = BankIdClientKey {
        id: "client-1".to_owned(),
        pair: Arc::clone(&pair),
    };
    let provider = FakeProvider::start([]).await;
    let config = config(&provider.url);
    let token_url = config.token_url.clone();
    let bankid = BankId::new(config, BankIdCredentials::Key(key), unobserved()).expect("loopback");
    for _ in 0..2 {
        let _closed_without_a_word = bankid.exchange(&"c".into(), &"verifier".into(), trace(), now()).await;
    }
    let proofs: Vec<Value> = provider
        .seen()
        .iter()
        .map(|seen| {
            let form = Url::parse(&format!("form:?{}", seen.body)).expect("a form");
            let form: Vec<_> = form.query_pairs().into_owned().collect();
            let names: Vec<_> = form.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(
                names,
                [
                    "grant_type",
                    "code",
                    "redirect_uri",
                    "client_id",
                    "code_verifier",
                    "client_assertion_type",
                    "client_assertion"
                ]
            );
            assert_eq!(form[5].1, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
            let (signed, signature) = form[6].1.rsplit_once('.').expect("a JWT");
            let signature = base64::decode_url(signature).expect("base64url");
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key())
                .verify(signed.as_bytes(), &signature)
                .expect("signed by the key");
            let (header, claims) = signed.split_once('.').expect("two parts");
            let part =
                |text| serde_json::from_slice::<Value>(&base64::decode_url(text).expect("base64url")).expect("JSON");
            assert_eq!(part(header), json!({"alg": "ES256", "typ": "JWT", "kid": "client-1"}));
            part(claims)
        })
        .collect();
    for proof in &proofs {
        let at = now().timestamp();
        let expected = json!({
            "iss": "drop", "sub": "drop", "aud": token_url, "iat": at, "exp": at + 60, "jti": proof["jti"],
        });
        assert_eq!(proof, &expected);
    }
    assert_ne!(proofs[0]["jti"], proofs[1]["jti"]);
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
#[case(reply(200, r#"{"id_token":"a.b.c"}"#), "unusable_answer", false)]
#[case(reply(200, r#"{"id_token":"","token_type":"Bearer"}"#), "unusable_answer", false)]
#[case(
    answer(200, "content-type: text/html\r\n", r#"{"id_token":"a.b.c","token_type":"Bearer"}"#),
    "exchange",
    false
)]
#[tokio::test]
async fn a_failed_exchange_is_never_repeated(#[case] answered: String, #[case] reason: &str, #[case] ops: bool) {
    let (result, provider) = exchange(vec![answered.clone(), answered]).await;
    let refused = result.expect_err("refused");
    assert_eq!(
        (refused.failure().code(), refused.reason(), refused.needs_ops()),
        ("token_exchange_failed", reason, ops)
    );
    assert_eq!(provider.seen().len(), 1);
    assert!(!format!("{refused:?}").contains("private"));
}
