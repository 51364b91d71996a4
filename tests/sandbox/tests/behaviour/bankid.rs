use drop_sandbox::{Algorithm, Sandbox};
use reqwest::Client;
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::{Value, json};

use crate::client::{CALLBACK, base64url, code_for, from_base64url, login_address, query_of, redeem, start};

/// The header, the claims and the text of a fresh login's ID token.
pub(crate) async fn id_token(sandbox: &Sandbox, client: &Client, person: &str) -> (Value, Value, String) {
    let answer = redeem(sandbox, client, &code_for(sandbox, person), &[])
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.expect("JSON");
    let token = body["id_token"].as_str().expect("a token").to_owned();
    let part = |index| {
        let part = token.split('.').nth(index).expect("three parts");
        serde_json::from_slice::<Value>(&from_base64url(part)).expect("JSON")
    };
    (part(0), part(1), token.clone())
}

pub(crate) async fn published_key(sandbox: &Sandbox, client: &Client, kid: &Value) -> Option<Value> {
    let answer = client
        .get(format!("{}/bankid/protocol/openid-connect/certs", sandbox.url()))
        .send()
        .await;
    let keys: Value = answer.expect("an answer").json().await.expect("JSON");
    keys["keys"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|key| key["kid"] == *kid)
        .cloned()
}

pub(crate) fn verifies(key: &Value, token: &str) -> bool {
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let signature = from_base64url(signature);
    let member = |name: &str| from_base64url(key[name].as_str().expect("a member"));
    if key["kty"] == "EC" {
        let point = [vec![4], member("x"), member("y")].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(signed.as_bytes(), &signature)
            .is_ok()
    } else {
        let components = RsaPublicKeyComponents {
            n: member("n"),
            e: member("e"),
        };
        components
            .verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
            .is_ok()
    }
}

#[tokio::test]
async fn an_es256_token_verifies_with_the_published_key_and_carries_the_logins_claims() {
    let (sandbox, client) = start().await;
    let (header, claims, token) = id_token(&sandbox, &client, "anna").await;
    assert_eq!(header["alg"], "ES256");
    let key = published_key(&sandbox, &client, &header["kid"]).await.unwrap();
    assert!(verifies(&key, &token));
    assert_eq!(claims["iss"], json!(sandbox.bankid().issuer()));
    assert_eq!(claims["aud"], "drop-local");
    assert_eq!(claims["nonce"], "the-nonce");
    assert_eq!(claims["pid"], "13897249477");
    assert_eq!(claims["birthdate"], "1972-09-13");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
}

#[tokio::test]
async fn an_rs256_token_verifies_with_the_published_key() {
    let (sandbox, client) = start().await;
    sandbox.bankid().sign_with(Algorithm::Rs256);
    let (header, _, token) = id_token(&sandbox, &client, "marko").await;
    assert_eq!(header["alg"], "RS256");
    assert!(verifies(
        &published_key(&sandbox, &client, &header["kid"]).await.unwrap(),
        &token
    ));
}

#[tokio::test]
async fn after_a_rotation_the_old_key_is_published_only_if_kept() {
    let (sandbox, client) = start().await;
    let (first, _, _) = id_token(&sandbox, &client, "anna").await;
    sandbox.bankid().rotate_keys(true).unwrap();
    let (second, _, _) = id_token(&sandbox, &client, "anna").await;
    assert_ne!(first["kid"], second["kid"]);
    assert!(published_key(&sandbox, &client, &first["kid"]).await.is_some());
    sandbox.bankid().rotate_keys(false).unwrap();
    assert!(published_key(&sandbox, &client, &second["kid"]).await.is_none());
}

#[tokio::test]
async fn a_code_is_good_for_one_try_and_one_minute() {
    let (sandbox, client) = start().await;
    let code = code_for(&sandbox, "anna");
    assert_eq!(
        redeem(&sandbox, &client, &code, &[]).send().await.unwrap().status(),
        200
    );
    let again = redeem(&sandbox, &client, &code, &[]).send().await.unwrap();
    assert_eq!(again.status(), 400);
    assert_eq!(again.json::<Value>().await.unwrap()["error"], "invalid_grant");

    let old = code_for(&sandbox, "anna");
    sandbox.clock().advance(chrono::TimeDelta::seconds(61));
    assert_eq!(redeem(&sandbox, &client, &old, &[]).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_wrong_verifier_or_redirect_address_is_an_invalid_grant() {
    let (sandbox, client) = start().await;
    let wrong_verifier = "another-verifier-that-is-long-enough-for-pkce";
    for change in [
        ("code_verifier", wrong_verifier),
        ("code_verifier", ""),
        ("redirect_uri", "http://127.0.0.1:8080/"),
    ] {
        let answer = redeem(&sandbox, &client, &code_for(&sandbox, "anna"), &[change])
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 400, "{change:?}");
        assert_eq!(answer.json::<Value>().await.unwrap()["error"], "invalid_grant");
    }
}

#[tokio::test]
async fn the_client_authenticates_in_the_body_and_by_no_other_way() {
    let (sandbox, client) = start().await;
    let code = code_for(&sandbox, "anna");
    let wrong = redeem(&sandbox, &client, &code, &[("client_secret", "wrong")])
        .send()
        .await
        .unwrap();
    assert_eq!(wrong.status(), 401);
    assert_eq!(wrong.json::<Value>().await.unwrap()["error"], "invalid_client");
    let basic = redeem(&sandbox, &client, &code, &[]).basic_auth("drop-local", Some("bankid-secret-for-local-use"));
    assert_eq!(basic.send().await.unwrap().status(), 401);
    assert_eq!(
        redeem(&sandbox, &client, &code, &[]).send().await.unwrap().status(),
        200,
        "the code is still unused"
    );
}

#[tokio::test]
async fn the_login_page_offers_the_people_and_a_choice_leads_straight_back() {
    let (sandbox, client) = start().await;
    let address = login_address(&sandbox);
    let page = client.get(&address).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let html = page.text().await.unwrap();
    assert!(html.contains("Anna Berg") && html.contains("person=anna") && !html.contains("<script"));

    let back = client.get(format!("{address}&person=anna")).send().await.unwrap();
    assert_eq!(back.status(), 303);
    let location = back.headers()["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with(CALLBACK));
    assert_eq!(query_of(&location, "state").as_deref(), Some("the-state"));
    assert_eq!(query_of(&location, "iss"), Some(sandbox.bankid().issuer()));
    assert!(query_of(&location, "code").is_some());

    let cancelled = sandbox.bankid().sign_in(&address, "cancel").unwrap();
    assert_eq!(query_of(&cancelled, "error").as_deref(), Some("access_denied"));
    assert_eq!(query_of(&cancelled, "code"), None);
}

#[tokio::test]
async fn an_unregistered_redirect_address_gets_a_page_and_no_redirect() {
    let (sandbox, client) = start().await;
    let address = login_address(&sandbox).replace("callback", "callback2") + "&person=anna";
    let answer = client.get(address).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert!(!answer.headers().contains_key("location"));
}

#[tokio::test]
async fn plain_pkce_and_a_missing_nonce_are_sent_back_as_invalid_requests() {
    let (sandbox, _client) = start().await;
    for address in [
        login_address(&sandbox).replace("S256", "plain"),
        login_address(&sandbox).replace("nonce=the-nonce", ""),
    ] {
        let back = sandbox.bankid().sign_in(&address, "anna").unwrap();
        assert_eq!(query_of(&back, "error").as_deref(), Some("invalid_request"));
    }
}

#[tokio::test]
async fn discovery_names_this_issuer_and_its_endpoints() {
    let (sandbox, client) = start().await;
    let issuer = sandbox.bankid().issuer();
    let found: Value = client
        .get(format!("{issuer}/.well-known/openid-configuration"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(found["issuer"], json!(issuer));
    assert_eq!(
        found["jwks_uri"],
        json!(format!("{issuer}/protocol/openid-connect/certs"))
    );
}

#[test]
fn the_tests_own_base64url_reads_what_it_writes() {
    assert_eq!(base64url(b"foob"), "Zm9vYg");
    assert_eq!(from_base64url("Zm9vYg"), b"foob");
}
