//! ID tokens and ways back that are wrong, each in the asked way and in no other.

use drop_sandbox::{Algorithm, Forgery, Mutation, Parameter, Sandbox};
use reqwest::Client;
use ring::hmac;
use serde_json::{Value, json};

use crate::{
    bankid::{id_token, published_key, verifies},
    client::{code_for, from_base64url, login_address, query_of, redeem, start},
};

async fn spoilt(sandbox: &Sandbox, client: &Client, mutations: Vec<Mutation>) -> (Value, Value, String) {
    sandbox.bankid().spoil_next(mutations);
    id_token(sandbox, client, "anna").await
}

fn has_mac(token: &str, key: &str) -> bool {
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    hmac::verify(&key, signed.as_bytes(), &from_base64url(signature)).is_ok()
}

#[tokio::test]
async fn claims_and_header_are_spoilt_before_signing_and_the_next_token_is_good_again() {
    let (sandbox, client) = start().await;
    let mutations = vec![
        Mutation::claim("nonce", "another"),
        Mutation::claim("pid", Value::Null),
        Mutation::time("iat", -400),
        Mutation::header("typ", "at+jwt"),
    ];
    let (header, claims, token) = spoilt(&sandbox, &client, mutations).await;
    let key = published_key(&sandbox, &client, &header["kid"]).await.unwrap();
    assert!(verifies(&key, &token), "only what it says was to be wrong");
    assert_eq!(
        (&claims["nonce"], &header["typ"]),
        (&json!("another"), &json!("at+jwt"))
    );
    assert!(claims.get("pid").is_none());
    let (issued, ends) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert!((699..=701).contains(&(ends - issued)), "{issued} {ends}");

    let (header, claims, token) = id_token(&sandbox, &client, "anna").await;
    assert!(verifies(&key, &token));
    assert_eq!(
        (&claims["nonce"], &claims["pid"], &header["typ"]),
        (&json!("the-nonce"), &json!("13897249477"), &json!("JWT"))
    );
}

#[tokio::test]
async fn each_forged_signature_is_what_it_says() {
    let (sandbox, client) = start().await;
    let forged = async |made| spoilt(&sandbox, &client, vec![Mutation::signature(made)]).await;
    let (header, _, flipped) = forged(Forgery::Flipped).await;
    let key = published_key(&sandbox, &client, &header["kid"]).await.unwrap();
    assert!(!verifies(&key, &flipped));
    assert!(forged(Forgery::Empty).await.2.ends_with('.'));

    let (header, _, token) = forged(Forgery::ByAnotherKey).await;
    let unpublished = sandbox.bankid().unpublished_key();
    assert_eq!((&header["kid"], &unpublished["kid"]), (&key["kid"], &key["kid"]));
    assert!(verifies(&unpublished, &token) && !verifies(&key, &token));

    let (.., token) = forged(Forgery::WithTheClientSecret).await;
    assert!(has_mac(&token, "bankid-secret-for-local-use"));
    let (.., token) = forged(Forgery::WithThePublicKey).await;
    assert!(has_mac(&token, &key.to_string()));
}

#[tokio::test]
async fn a_claim_swapped_after_signing_breaks_the_signature_alone() {
    let (sandbox, client) = start().await;
    let swap = Mutation::ClaimAfterSigning {
        name: "pid".to_owned(),
        value: json!("17829049236"),
    };
    let (header, claims, token) = spoilt(&sandbox, &client, vec![swap]).await;
    assert_eq!(
        (&claims["pid"], &claims["nonce"]),
        (&json!("17829049236"), &json!("the-nonce"))
    );
    let key = published_key(&sandbox, &client, &header["kid"]).await.unwrap();
    assert!(!verifies(&key, &token));
}

#[tokio::test]
async fn an_rs512_token_names_the_rsa_key() {
    let (sandbox, client) = start().await;
    sandbox.bankid().sign_with(Algorithm::Rs512);
    let (header, _, token) = id_token(&sandbox, &client, "anna").await;
    assert_eq!((&header["alg"], &header["kid"]), (&json!("RS512"), &json!("rs-1")));
    let key = published_key(&sandbox, &client, &header["kid"]).await.unwrap();
    assert!(!verifies(&key, &token), "it is not an RS256 signature");
}

#[tokio::test]
async fn members_of_the_token_answer_are_changed_and_taken_away() {
    let (sandbox, client) = start().await;
    sandbox.bankid().spoil_next(vec![
        Mutation::answer("token_type", "mac"),
        Mutation::answer("id_token", Value::Null),
    ]);
    let answer = redeem(&sandbox, &client, &code_for(&sandbox, "anna"), &[]).send().await;
    let body: Value = answer.unwrap().json().await.unwrap();
    assert_eq!(body["token_type"], "mac");
    assert!(body.get("id_token").is_none() && body["access_token"].is_string());
}

#[tokio::test]
async fn the_way_back_leaves_out_replaces_and_repeats_what_it_is_told_to() {
    let (sandbox, _client) = start().await;
    let bankid = sandbox.bankid();
    bankid.spoil_next_return(vec![
        Parameter::absent("code"),
        Parameter::set("iss", "https://other.example"),
        Parameter::set("state", "one"),
        Parameter::set("state", "two"),
    ]);
    let back = bankid.sign_in(&login_address(&sandbox), "anna").unwrap();
    assert_eq!(query_of(&back, "code"), None);
    assert_eq!(query_of(&back, "iss").as_deref(), Some("https://other.example"));
    assert!(back.ends_with("&state=one&state=two"), "{back}");

    let back = bankid.sign_in(&login_address(&sandbox), "anna").unwrap();
    assert!(query_of(&back, "code").is_some());
    assert_eq!(query_of(&back, "state").as_deref(), Some("the-state"));
}

#[tokio::test]
async fn a_provider_that_does_not_know_pkce_takes_any_verifier() {
    let (sandbox, client) = start().await;
    sandbox.bankid().ignore_pkce(true);
    let wrong = [("code_verifier", "another-verifier-that-is-long-enough-for-pkce")];
    let answer = redeem(&sandbox, &client, &code_for(&sandbox, "anna"), &wrong)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_token_can_be_asked_for_over_http() {
    let (sandbox, client) = start().await;
    let control = format!("{}/control/bankid", sandbox.url());
    let tokens = json!({
        "ignorePkce": true,
        "next": [
            { "kind": "claim", "name": "pid" },
            { "kind": "time", "name": "exp", "seconds": -60 },
            { "kind": "header", "name": "kid", "value": "../../es-1" },
            { "kind": "claimAfterSigning", "name": "sub", "value": "somebody" },
            { "kind": "signature", "made": "byAnotherKey" },
            { "kind": "answer", "name": "token_type", "value": "mac" },
        ],
    });
    let returns = json!({ "next": [{ "name": "error", "value": "server_error" }, { "name": "code" }] });
    for (route, body) in [("tokens", tokens), ("returns", returns)] {
        let answer = client.post(format!("{control}/{route}")).json(&body).send().await;
        assert_eq!(answer.unwrap().status(), 204, "{route}");
    }
    let back = sandbox.bankid().sign_in(&login_address(&sandbox), "anna").unwrap();
    assert_eq!(query_of(&back, "error").as_deref(), Some("server_error"));
    let (header, claims, _) = id_token(&sandbox, &client, "anna").await;
    assert_eq!(
        (&header["kid"], &claims["sub"]),
        (&json!("../../es-1"), &json!("somebody"))
    );
    let misspelt = json!({ "next": [{ "kind": "signature", "made": "well" }] });
    let refused = client.post(format!("{control}/tokens")).json(&misspelt).send().await;
    assert_eq!(refused.unwrap().status(), 400);
}
