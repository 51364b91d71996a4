//! Our own access tokens: whose signature counts, and for what.

use chrono::{DateTime, TimeDelta, Utc};
use drop_common::{keyring::base64url, session_token::SessionTokens};
use drop_tests::{
    app::TestApp,
    person::{Answer, browser},
    web::Browser,
};
use reqwest::Method;
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use uuid::Uuid;

/// Another Ed25519 key in PKCS#8, as a variable has it; it signs nothing else.
pub(crate) const NEW_KEY: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";

async fn me(url: &str, token: &str) -> (u16, String) {
    let answer = browser().get(format!("{url}/v1/me")).bearer_auth(token).send().await;
    let answer = Answer::of(answer.unwrap()).await;
    (answer.status.as_u16(), answer.problem().1.to_owned())
}

fn live() -> (u16, String) {
    (200, String::new())
}

fn refused() -> (u16, String) {
    (401, "unauthenticated".to_owned())
}

/// A token as the service issues them, with what may be wrong about it.
struct Issuer<'a> {
    name: &'a str,
    audience: &'a str,
    key: Vec<u8>,
    at: DateTime<Utc>,
}

impl Issuer<'_> {
    fn issue(&self, user: Uuid, session: Uuid) -> String {
        let tokens = SessionTokens::new(self.name, self.audience, &self.key, &[]).unwrap();
        let token = tokens.issue(user, session, Uuid::now_v7(), self.at);
        token.expose_secret().to_owned()
    }
}

#[tokio::test]
async fn a_token_that_is_not_ours_or_not_of_a_live_session_is_401() {
    let app = TestApp::start().await;
    app.signed_in("anna").await;
    let (user, session): (Uuid, Uuid) = sqlx::query_as("SELECT user_id, id FROM sessions")
        .fetch_one(&app.db)
        .await
        .unwrap();
    app.signed_in("marko").await;
    let marko: Uuid = sqlx::query_scalar("SELECT id FROM users WHERE id <> $1")
        .bind(user)
        .fetch_one(&app.db)
        .await
        .unwrap();
    let key = app.session_key();
    let ours = || Issuer {
        name: &app.url,
        audience: &app.url,
        key: key.clone(),
        at: app.now(),
    };
    let good = ours().issue(user, session);
    assert_eq!(
        me(&app.url, &good).await,
        live(),
        "each of the others differs in one thing"
    );

    let foreign_key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let other = "https://other.example";
    let minutes_ago = app.now() - TimeDelta::seconds(606);
    let wrong = [
        (
            "another key",
            Issuer {
                key: foreign_key.as_ref().to_vec(),
                ..ours()
            }
            .issue(user, session),
        ),
        ("another issuer", Issuer { name: other, ..ours() }.issue(user, session)),
        (
            "another audience",
            Issuer {
                audience: other,
                ..ours()
            }
            .issue(user, session),
        ),
        (
            "an old one",
            Issuer {
                at: minutes_ago,
                ..ours()
            }
            .issue(user, session),
        ),
        ("a session that never was", ours().issue(user, Uuid::now_v7())),
        ("another person's session", ours().issue(marko, session)),
        ("nobody's session", ours().issue(Uuid::now_v7(), session)),
        ("no token", "x".to_owned()),
        ("no signature", good.rsplit_once('.').unwrap().0.to_owned() + "."),
    ];
    for (what, token) in wrong {
        assert_eq!(me(&app.url, &token).await, refused(), "{what}");
    }

    // Over the same claims, by whoever knows the public key.
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&key).unwrap();
    let (public, kid) = (pair.public_key().as_ref(), published(&app.url).await[0]["kid"].clone());
    let claims = good.split('.').nth(1).unwrap();
    for (algorithm, secret) in [("none", None), ("HS256", Some(public.to_vec()))] {
        let header = json!({ "alg": algorithm, "typ": "JWT", "kid": kid }).to_string();
        let message = format!("{}.{claims}", base64url(header.as_bytes()));
        let signature = secret.map(|secret| {
            let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
            base64url(hmac::sign(&secret, message.as_bytes()).as_ref())
        });
        let forged = format!("{message}.{}", signature.unwrap_or_default());
        assert_eq!(me(&app.url, &forged).await, refused(), "{algorithm}");
    }

    sqlx::query("UPDATE sessions SET revoked_at = clock_timestamp()")
        .execute(&app.db)
        .await
        .unwrap();
    assert_eq!(me(&app.url, &good).await, refused(), "a revoked session");
    app.finish().await;
}

async fn published(url: &str) -> Vec<Value> {
    let answer = browser()
        .get(format!("{url}/.well-known/jwks.json"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["cache-control"], "public, max-age=300");
    let keys: Value = answer.json().await.unwrap();
    keys["keys"].as_array().unwrap().clone()
}

#[tokio::test]
async fn the_key_that_signs_is_published_under_the_id_that_tokens_carry() {
    let app = TestApp::start().await;
    let login = app.log_in("anna").await;
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&app.session_key()).unwrap();
    let keys = published(&app.url).await;
    let [key] = &keys[..] else { panic!("{keys:?}") };
    let kid = key["kid"].as_str().unwrap();
    let x = base64url(pair.public_key().as_ref());
    assert_eq!(
        key,
        &json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": x })
    );
    let header = format!(r#"{{"typ":"JWT","alg":"EdDSA","kid":"{kid}"}}"#);
    let token = login.body["accessToken"].as_str().unwrap();
    assert_eq!(token.split('.').next(), Some(base64url(header.as_bytes()).as_str()));
    app.finish().await;
}

/// A refresh at one replica; the access token from there.
async fn refreshed_at(url: &str, anna: &mut Browser) -> String {
    url.clone_into(&mut anna.url);
    let answer = anna.send(Method::POST, "/v1/auth/refresh", Some(&json!({}))).await;
    assert_eq!(answer.status, 200, "{:?}", answer.problem());
    answer.body["accessToken"].as_str().unwrap().to_owned()
}

/// As in the runbook: every replica learns the new key, then every replica signs with it, then the old one goes.
#[tokio::test]
async fn a_change_of_the_signing_key_logs_nobody_out_while_replicas_restart_one_by_one() {
    let app = TestApp::start().await;
    let (mut anna, login) = app.logged_in_browser("anna").await;
    let by_old = login.body["accessToken"].as_str().unwrap().to_owned();
    let old_key = drop_tests::settings::SESSION_KEY;

    let knows_new = app.start_replica(&[("DROP_SESSION_KEY_PREVIOUS", NEW_KEY)]).await;
    assert_eq!(me(&knows_new, &by_old).await, live());
    let by_knowing = refreshed_at(&knows_new, &mut anna).await;
    assert_eq!(
        me(&app.url, &by_knowing).await,
        live(),
        "the others do not know the new key yet"
    );

    let signs_new = [("DROP_SESSION_KEY", NEW_KEY), ("DROP_SESSION_KEY_PREVIOUS", old_key)];
    let signs_new = app.start_replica(&signs_new).await;
    assert_eq!(me(&signs_new, &by_knowing).await, live());
    let by_new = refreshed_at(&signs_new, &mut anna).await;
    assert_eq!(
        me(&knows_new, &by_new).await,
        live(),
        "those that do not sign with it accept it"
    );
    let kids = async |url| -> Vec<Value> { published(url).await.into_iter().map(|key| key["kid"].clone()).collect() };
    let (before, after) = (kids(&knows_new).await, kids(&signs_new).await);
    assert_eq!(
        before,
        [after[1].clone(), after[0].clone()],
        "the one that signs is the first"
    );

    let forgot_old = app.start_replica(&[("DROP_SESSION_KEY", NEW_KEY)]).await;
    assert_eq!(me(&forgot_old, &by_new).await, live());
    assert_eq!(me(&forgot_old, &by_old).await, refused());
    // A token of the old key ends after ten minutes anyway; the session does not.
    let again = refreshed_at(&forgot_old, &mut anna).await;
    assert_eq!(me(&forgot_old, &again).await, live());
    app.finish().await;
}
