use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use super::config;
use crate::{
    alerts,
    config::{BankIdConfig, BankIdDiscovery, BankIdEndpoint},
    providers::{
        bankid::{
            DiscoveryError,
            discovery::{Patience, discover},
        },
        testing::{FakeProvider, answer, json as reply},
        unobserved,
    },
};

/// An issuer that answers with its own document, in which `change` is merged (null removes a member).
async fn issuer(change: &Value) -> FakeProvider {
    FakeProvider::start_with(|url| {
        let mut document = json!({
            "issuer": url, "authorization_endpoint": format!("{url}/auth"), "token_endpoint": format!("{url}/tokens"),
            "jwks_uri": format!("{url}/jwks"), "userinfo_endpoint": "https://another.example/userinfo",
            "response_types_supported": ["code", "code id_token"], "code_challenge_methods_supported": ["plain", "S256"],
            "id_token_signing_alg_values_supported": ["HS256", "none"],
            "authorization_response_iss_parameter_supported": true,
        });
        for (name, value) in change.as_object().expect("an object") {
            let text = value.to_string().replace("ISSUER", url);
            document[name] = serde_json::from_str(&text).expect("as it was");
        }
        document.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
        vec![reply(200, &document.to_string())]
    })
    .await
}

fn asking(url: &str) -> BankIdConfig {
    BankIdConfig {
        issuer: url.to_owned(),
        discovery: Some(BankIdDiscovery {
            allowed_hosts: vec![url.trim_start_matches("http://").to_owned()],
            loopback_http: true,
            wanted: BankIdEndpoint::ALL.to_vec(),
        }),
        ..config(url)
    }
}

async fn ask(config: BankIdConfig) -> Result<BankIdConfig, DiscoveryError> {
    let patience = Patience {
        first: Duration::from_millis(1),
        whole: Duration::from_millis(200),
    };
    discover(config, unobserved(), &patience).await
}

/// The variables that a refusal names.
async fn refusal(config: BankIdConfig) -> Vec<String> {
    match ask(config).await {
        Err(DiscoveryError::Refused(error)) => error.problems.into_iter().map(|problem| problem.variable).collect(),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn the_endpoints_are_those_that_the_issuer_names_and_a_promised_iss_is_required() {
    let provider = issuer(&json!({})).await;
    let found = ask(asking(&provider.url)).await.expect("a good document");
    assert_eq!(
        [found.authorization_url, found.token_url, found.jwks_url],
        ["auth", "tokens", "jwks"].map(|name| format!("{}/{name}", provider.url))
    );
    assert!(found.require_iss_param);
    let asked = provider.seen();
    assert_eq!(asked[0].line(), "GET /.well-known/openid-configuration HTTP/1.1");
    assert_eq!(asked.len(), 1);
}

#[tokio::test]
async fn an_endpoint_with_a_variable_of_its_own_stays_where_it_is_whatever_the_document_says() {
    let provider = issuer(&json!({
        "token_endpoint": "https://elsewhere.example/token", "jwks_uri": null,
        "authorization_response_iss_parameter_supported": null,
    }))
    .await;
    let mut config = asking(&provider.url);
    config.discovery.as_mut().expect("asked for").wanted = vec![BankIdEndpoint::Authorization];
    let found = ask(config.clone()).await.expect("the rest is good");
    assert_eq!(
        (&found.token_url, &found.jwks_url),
        (&config.token_url, &config.jwks_url)
    );
    assert_eq!(found.authorization_url, format!("{}/auth", provider.url));
    assert!(!found.require_iss_param);
}

#[tokio::test]
async fn nothing_is_asked_where_nothing_is_to_be_discovered() {
    let provider = FakeProvider::start([]).await;
    let found = ask(config(&provider.url)).await.expect("as it was");
    assert_eq!(found.token_url, config(&provider.url).token_url);
    assert!(provider.seen().is_empty());
}

#[rstest]
#[case::other_issuer(json!({"issuer": "https://evil.example"}), &["BANKID_ISSUER"])]
#[case::issuer_with_a_slash(json!({"issuer": "ISSUER/"}), &["BANKID_ISSUER"])]
#[case::foreign_token_host(json!({"token_endpoint": "https://evil.example/token"}), &["BANKID_TOKEN_URL"])]
#[case::foreign_key_host(json!({"jwks_uri": "https://evil.example/jwks"}), &["BANKID_JWKS_URL"])]
#[case::foreign_login_page(json!({"authorization_endpoint": "https://evil.example/"}), &["BANKID_AUTHORIZATION_URL"])]
#[case::other_port(json!({"token_endpoint": "http://127.0.0.1:1/token"}), &["BANKID_TOKEN_URL"])]
#[case::host_in_the_user_part(json!({"token_endpoint": "ISSUER@evil.example/token"}), &["BANKID_TOKEN_URL"])]
#[case::plain_http_elsewhere(json!({"token_endpoint": "http://evil.example/token"}), &["BANKID_TOKEN_URL"])]
#[case::relative(json!({"token_endpoint": "/token"}), &["BANKID_TOKEN_URL"])]
#[case::no_keys(json!({"jwks_uri": null}), &["BANKID_JWKS_URL"])]
#[case::no_endpoint_at_all(
    json!({"authorization_endpoint": null, "token_endpoint": null, "jwks_uri": null}),
    &["BANKID_AUTHORIZATION_URL", "BANKID_TOKEN_URL", "BANKID_JWKS_URL"]
)]
#[case::no_code_flow(json!({"response_types_supported": ["id_token"]}), &["BANKID_DISCOVERY"])]
#[case::no_s256(json!({"code_challenge_methods_supported": ["plain"]}), &["BANKID_DISCOVERY"])]
#[case::another_type(json!({"jwks_uri": ["ISSUER/jwks"]}), &["BANKID_ISSUER"])]
#[tokio::test]
async fn a_document_that_is_not_to_be_trusted_is_refused_at_once(#[case] change: Value, #[case] problems: &[&str]) {
    let provider = issuer(&change).await;
    assert_eq!(refusal(asking(&provider.url)).await, problems);
    assert_eq!(provider.seen().len(), 1, "asked again");
}

#[tokio::test]
async fn endpoints_without_encryption_are_refused_unless_the_configuration_may_name_such() {
    let provider = issuer(&json!({})).await;
    let mut config = asking(&provider.url);
    config.discovery.as_mut().expect("asked for").loopback_http = false;
    let endpoints = BankIdEndpoint::ALL.map(BankIdEndpoint::variable);
    assert_eq!(refusal(config).await, endpoints);
}

#[rstest]
#[case::redirect(answer(302, "location: http://127.0.0.1:1/\r\n", ""))]
#[case::not_found(reply(404, "{}"))]
#[case::html(answer(200, "content-type: text/html\r\n", "<html>"))]
#[case::huge(reply(200, &" ".repeat(256 * 1024 + 1)))]
#[tokio::test]
async fn an_answer_that_is_no_document_is_refused_at_once(#[case] answered: String) {
    let provider = FakeProvider::start([answered.clone(), answered]).await;
    assert_eq!(refusal(asking(&provider.url)).await, ["BANKID_ISSUER"]);
    assert_eq!(provider.seen().len(), 1);
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_asked_again_and_then_given_up() {
    let provider = FakeProvider::start_with(|url| {
        let document = json!({
            "issuer": url, "authorization_endpoint": format!("{url}/auth"), "token_endpoint": format!("{url}/token"),
            "jwks_uri": format!("{url}/jwks"),
        });
        vec![reply(503, ""), String::new(), reply(200, &document.to_string())]
    })
    .await;
    ask(asking(&provider.url)).await.expect("the third answer");
    assert_eq!(provider.seen().len(), 3);
    let silent = FakeProvider::start([]).await;
    let told = alerts::raised(&alerts::BANKID_UNREACHABLE);
    let given_up = ask(asking(&silent.url)).await;
    assert!(matches!(given_up, Err(DiscoveryError::Unreachable(_))), "{given_up:?}");
    assert!(silent.seen().len() > 3, "{}", silent.seen().len());
    assert_eq!(alerts::raised(&alerts::BANKID_UNREACHABLE), told + 1, "nobody logs in");
}
