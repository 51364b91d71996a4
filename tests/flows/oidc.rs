//! Login against a provider that shares nothing with us (`tests/oidc`): what is said here about `BankID` is not only what
//! our own simulation believes.

use drop_tests::{app::TestApp, oidc::OpenIdProvider, person::Answer};
use reqwest::Url;
use serde_json::{Value, json};

/// The service with that provider as its `BankID`, and some variables set otherwise.
async fn service(changes: &[(&'static str, &str)]) -> Option<(TestApp, OpenIdProvider)> {
    let provider = OpenIdProvider::start().await?;
    let own = provider.variables();
    let mut variables: Vec<_> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
    variables.extend(changes);
    let app = TestApp::start_with(&variables).await;
    provider.register(&app.url).await;
    Some((app, provider))
}

async fn log_in(app: &TestApp, provider: &OpenIdProvider, person: &str) -> Answer {
    let login = app.start_login().await;
    let callback = provider.sign_in(&login.authorization_url, person).await;
    app.come_back(&callback, &login.cookie).await
}

fn parameter(url: &str, name: &str) -> Option<String> {
    let url = Url::parse(url).expect("a URL");
    let found = url.query_pairs().find(|(key, _)| key == name);
    found.map(|(_, value)| value.into_owned())
}

/// The same address with another value of one parameter.
fn with(url: &str, name: &str, value: Option<&str>) -> String {
    let mut url = Url::parse(url).expect("a URL");
    let others = url.query_pairs().into_owned().filter(|(key, _)| key != name);
    let mut pairs: Vec<_> = others.collect();
    pairs.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    url.query_pairs_mut().clear().extend_pairs(pairs);
    url.into()
}

#[tokio::test]
async fn an_adult_logs_in_at_a_certified_provider_and_is_the_same_user_whichever_key_signs() {
    let Some((app, provider)) = service(&[("BANKID_REQUIRE_ACR", "true")]).await else {
        return;
    };
    let mut users = Vec::new();
    for algorithm in ["ES256", "RS256"] {
        provider.sign_with(algorithm).await;
        let login = log_in(&app, &provider, "anna").await;
        assert_eq!(login.status, 200, "{algorithm}: {:?}", login.problem());
        assert_eq!(login.body["user"]["firstName"], "Anna");
        let answered = provider.record_of("token").await.pop().unwrap();
        assert_eq!(answered["signed"]["alg"], algorithm);
        assert_eq!(answered["amr"], "BID", "a plain string, as BankID writes it");
        // The token is good for the person's own routes.
        let person = app.person(&login);
        assert_eq!(person.get("/v1/kyc").await.status, 200);
        users.push(person.user);
    }
    assert_eq!(users[0], users[1]);
    let other = log_in(&app, &provider, "bjorn").await;
    assert_eq!(other.status, 200, "{:?}", other.problem());
    assert_ne!(app.person(&other).user, users[0]);
    app.finish().await;
}

#[tokio::test]
async fn keys_that_change_between_two_logins_cost_one_fetch_and_no_restart() {
    let Some((app, provider)) = service(&[]).await else {
        return;
    };
    assert_eq!(log_in(&app, &provider, "anna").await.status, 200);
    let before = provider.record_of("token").await.pop().unwrap();
    assert_eq!(provider.record_of("jwks").await.len(), 1);
    provider.rotate_keys().await;
    for _ in 0..2 {
        let login = log_in(&app, &provider, "anna").await;
        assert_eq!(login.status, 200, "{:?}", login.problem());
        let after = provider.record_of("token").await.pop().unwrap();
        assert_ne!(after["signed"]["kid"], before["signed"]["kid"]);
        assert_eq!(provider.record_of("jwks").await.len(), 2);
    }
    app.finish().await;
}

#[tokio::test]
async fn a_person_who_cancels_there_is_400_bankid_cancelled() {
    let Some((app, provider)) = service(&[("BANKID_REQUIRE_ISS_PARAM", "true")]).await else {
        return;
    };
    let login = app.start_login().await;
    let callback = provider.cancel(&login.authorization_url).await;
    assert_eq!(parameter(&callback, "error").as_deref(), Some("access_denied"));
    let answer = app.come_back(&callback, &login.cookie).await;
    assert_eq!(answer.problem(), (400, "bankid_cancelled"));
    assert!(
        !answer.body.to_string().contains("pressed"),
        "the provider's text is shown"
    );
    assert!(provider.record_of("token").await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn a_client_secret_the_provider_does_not_know_is_502_token_exchange_failed() {
    let Some((app, provider)) = service(&[("BANKID_CLIENT_SECRET", "not the secret")]).await else {
        return;
    };
    let answer = log_in(&app, &provider, "anna").await;
    assert_eq!(answer.problem(), (502, "token_exchange_failed"));
    let asked = provider.record_of("token").await;
    assert_eq!(asked.len(), 1, "asked again: {asked:?}");
    assert_eq!(
        (&asked[0]["status"], &asked[0]["error"]),
        (&401.into(), &"invalid_client".into())
    );
    app.finish().await;
}

/// A P-256 key in PKCS#8 made for these tests; it signs nothing else.
pub(crate) const CLIENT_KEY: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9Bwbs/W5GWWizDLdG8LB3LUQpTm80fFY3eSKbCEuOQ6hRANCAARr\
    Mr3DhFIxL/B4mcztAsYQ0B4s33e56VKLAKMlC8g+8RwElGmd901TfrAOgF14gJgr4jvt7QfToae4WXMP2qvF";

/// Its public half.
fn client_jwk() -> Value {
    json!({
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "client-1",
        "x": "azK9w4RSMS_weJnM7QLGENAeLN93uelSiwCjJQvIPvE", "y": "HASUaZ33TVN-sA6AXXiAmCviO-3tB9Ohp7hZcw_aq8U",
    })
}

#[tokio::test]
async fn a_service_that_proves_itself_by_its_key_logs_people_in_and_keeps_its_secret_to_itself() {
    let by_key = [
        ("BANKID_CLIENT_AUTH", "private_key_jwt"),
        ("BANKID_CLIENT_KEY", CLIENT_KEY),
        ("BANKID_CLIENT_KEY_ID", "client-1"),
    ];
    let Some((app, provider)) = service(&by_key).await else {
        return;
    };
    provider.know_client_by(&client_jwk()).await;
    // Twice: a proof is good for one request.
    for person in ["anna", "bjorn"] {
        let login = log_in(&app, &provider, person).await;
        assert_eq!(login.status, 200, "{:?}", login.problem());
        // The provider refuses who sends a secret beside.
        let asked = provider.record_of("token").await.pop().unwrap();
        assert_eq!(asked["clientAuthMethod"], "private_key_jwt");
    }
    let mut another = client_jwk();
    (another["x"], another["y"]) = (
        json!("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"),
        json!("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"),
    );
    provider.know_client_by(&another).await;
    let refused = log_in(&app, &provider, "anna").await;
    assert_eq!(refused.problem(), (502, "token_exchange_failed"));
    let asked = provider.record_of("token").await;
    assert_eq!((asked.len(), &asked[2]["error"]), (3, &json!("invalid_client")));
    app.finish().await;
}

#[tokio::test]
async fn a_code_is_worth_nothing_there_without_the_verifier_that_only_our_server_has() {
    let Some((app, provider)) = service(&[]).await else {
        return;
    };
    let login = app.start_login().await;
    let callback = provider.sign_in(&login.authorization_url, "anna").await;
    let (code, back) = (
        parameter(&callback, "code").unwrap(),
        format!("{}/api/auth/bankid/callback", app.url),
    );
    let stolen = [("code", code.as_str()), ("redirect_uri", back.as_str())];
    let guess = "a".repeat(43);
    for verifier in [None, Some(("code_verifier", guess.as_str()))] {
        let fields: Vec<_> = stolen.into_iter().chain(verifier).collect();
        let answer = provider.ask_for_tokens(&fields).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body["error"].as_str()),
            (400, Some("invalid_grant"))
        );
        let refused = provider.record_of("token").await.pop().unwrap();
        assert_eq!(refused["detail"], "PKCE verification failed");
    }
    // Nothing but the verifier was missing.
    let answer = app.come_back(&callback, &login.cookie).await;
    assert_eq!(answer.status, 200, "{:?}", answer.problem());
    let asked = provider.record_of("authorization").await;
    assert_eq!(asked[0]["codeChallengeMethod"], "S256");
    // And a login without a challenge would not have begun.
    let bare = with(&login.authorization_url, "code_challenge", None);
    let refused = provider
        .sign_in(&with(&bare, "code_challenge_method", None), "anna")
        .await;
    assert_eq!(parameter(&refused, "error").as_deref(), Some("invalid_request"));
    app.finish().await;
}

#[tokio::test]
async fn the_issuer_in_the_callback_is_accepted_and_another_one_is_400_before_any_token_request() {
    let Some((app, provider)) = service(&[("BANKID_REQUIRE_ISS_PARAM", "true")]).await else {
        return;
    };
    for issuer in [None, Some("https://other.example")] {
        let login = app.start_login().await;
        let callback = provider.sign_in(&login.authorization_url, "anna").await;
        assert_eq!(parameter(&callback, "iss").as_deref(), Some(provider.issuer.as_str()));
        let answer = app.come_back(&with(&callback, "iss", issuer), &login.cookie).await;
        assert_eq!(answer.problem(), (400, "invalid_callback"), "{issuer:?}");
    }
    assert!(provider.record_of("token").await.is_empty());
    let answer = log_in(&app, &provider, "anna").await;
    assert_eq!(answer.status, 200, "{:?}", answer.problem());
    app.finish().await;
}
