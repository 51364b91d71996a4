//! What an ID token says, apart from who the person is: rows 1, 2, 11 to 17 and 31.

use drop_sandbox::Mutation;
use serde_json::{Value, json};

use crate::login::scene::{
    Browser, FAILS_A_CHECK, NO_TOKEN, gets_in, is_accepted, is_refused, parameter, service, service_with, signed_in,
};

#[tokio::test]
async fn the_issuer_of_a_token_is_compared_byte_by_byte() {
    let app = service().await;
    let address = app.sandbox.url().replace("http://", "");
    for (way, issuer) in [
        ("another", "https://auth.bankid.no/auth/realms/prod".to_owned()),
        ("a slash behind it", format!("http://{address}/bankid/")),
        ("another letter case", format!("HTTP://{address}/bankid")),
        ("another way there", format!("http://{address}/x/../bankid")),
    ] {
        is_refused(&app, way, vec![Mutation::claim("iss", issuer)], FAILS_A_CHECK).await;
    }
    is_refused(&app, "none", vec![Mutation::claim("iss", Value::Null)], NO_TOKEN).await;
    app.finish().await;
}

#[tokio::test]
async fn a_token_is_for_us_alone_whatever_its_azp_says() {
    let app = service().await;
    for (way, spoilt) in [
        ("for another", Mutation::claim("aud", "another-client")),
        ("for nobody", Mutation::claim("aud", json!([]))),
        ("for whom is missing", Mutation::claim("aud", Value::Null)),
        (
            "for us and another",
            Mutation::claim("aud", json!(["drop-test", "another-client"])),
        ),
        ("asked for by another", Mutation::claim("azp", "another-client")),
    ] {
        is_refused(&app, way, vec![spoilt], FAILS_A_CHECK).await;
    }
    for (way, changed) in [
        ("as a text", Mutation::claim("aud", "drop-test")),
        ("as a list", Mutation::claim("aud", json!(["drop-test"]))),
        ("asked for by nobody", Mutation::claim("azp", Value::Null)),
    ] {
        is_accepted(&app, way, vec![changed]).await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_token_is_good_for_its_time_and_ten_seconds_between_the_clocks() {
    let app = service().await;
    for (way, spoilt, code) in [
        ("ended", Mutation::time("exp", -12), FAILS_A_CHECK),
        ("ended in 1970", Mutation::claim("exp", 1), FAILS_A_CHECK),
        ("without an end", Mutation::claim("exp", Value::Null), NO_TOKEN),
        ("an end that is no number", Mutation::claim("exp", "later"), NO_TOKEN),
        ("without a beginning", Mutation::claim("iat", Value::Null), NO_TOKEN),
        ("a beginning that is no number", Mutation::claim("iat", "now"), NO_TOKEN),
        ("issued too far ahead", Mutation::time("iat", 20), FAILS_A_CHECK),
        ("issued too long ago", Mutation::time("iat", -312), FAILS_A_CHECK),
        ("not good yet", Mutation::time("nbf", 20), FAILS_A_CHECK),
        ("good from no number on", Mutation::claim("nbf", "soon"), FAILS_A_CHECK),
    ] {
        is_refused(&app, way, vec![spoilt], code).await;
    }
    for (way, changed) in [
        ("just ended", vec![Mutation::time("exp", -3)]),
        ("just ahead", vec![Mutation::time("iat", 9), Mutation::time("nbf", 9)]),
        ("nearly too old", vec![Mutation::time("iat", -300)]),
    ] {
        is_accepted(&app, way, changed).await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_token_needs_a_usable_subject() {
    let app = service().await;
    for (way, subject, code) in [
        ("missing", Value::Null, NO_TOKEN),
        ("a number", json!(7), NO_TOKEN),
        ("empty", json!(""), FAILS_A_CHECK),
        ("too long", json!("s".repeat(256)), FAILS_A_CHECK),
    ] {
        is_refused(&app, way, vec![Mutation::claim("sub", subject)], code).await;
    }
    is_accepted(&app, "the longest", vec![Mutation::claim("sub", "s".repeat(255))]).await;
    app.finish().await;
}

#[tokio::test]
async fn a_token_holds_the_nonce_of_its_own_login() {
    let app = service().await;
    let browser = Browser::of(&app);
    let earlier = browser.starts().await;
    let back = signed_in(&app, &earlier, "anna");
    assert_eq!(browser.returns(&back, &earlier.cookies).await.status, 200);
    for (way, nonce) in [
        ("wrong", json!("a-nonce-of-nobody")),
        ("empty", json!("")),
        ("missing", Value::Null),
        (
            "of an earlier login",
            json!(parameter(&earlier.authorization_url, "nonce")),
        ),
    ] {
        is_refused(&app, way, vec![Mutation::claim("nonce", nonce)], FAILS_A_CHECK).await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_hash_in_a_token_is_that_of_the_access_token_beside_it() {
    let app = service().await;
    for (way, spoilt) in [
        ("of another", Mutation::answer("access_token", "another-access-token")),
        ("of nothing", Mutation::claim("at_hash", "bm90aGluZw")),
        ("without one beside it", Mutation::answer("access_token", Value::Null)),
    ] {
        is_refused(&app, way, vec![spoilt], FAILS_A_CHECK).await;
    }
    is_accepted(&app, "without a hash", vec![Mutation::claim("at_hash", Value::Null)]).await;
    app.finish().await;
}

#[tokio::test]
async fn a_token_is_of_the_level_that_was_asked_for() {
    let app = service().await;
    for acr in ["urn:bankid:bis", "urn:bankid:bis;LOA=4", "urn:example:high", ""] {
        is_refused(&app, acr, vec![Mutation::claim("acr", acr)], FAILS_A_CHECK).await;
    }
    for (way, acr) in [("higher", json!("urn:bankid:bid;LOA=4")), ("none", Value::Null)] {
        is_accepted(&app, way, vec![Mutation::claim("acr", acr)]).await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_token_without_a_level_is_refused_where_one_is_required() {
    let app = service_with(&[("BANKID_REQUIRE_ACR", "true")]).await;
    is_refused(&app, "none", vec![Mutation::claim("acr", Value::Null)], FAILS_A_CHECK).await;
    app.finish().await;
}

#[tokio::test]
async fn a_token_of_another_kind_is_no_id_token() {
    let app = service().await;
    for (way, spoilt) in [
        ("an access token by its header", Mutation::header("typ", "at+jwt")),
        ("another object by its header", Mutation::header("typ", "JOSE")),
        ("an access token by its payload", Mutation::claim("typ", "Bearer")),
        ("a payload of a list of kinds", Mutation::claim("typ", json!(["ID"]))),
    ] {
        is_refused(&app, way, vec![spoilt], FAILS_A_CHECK).await;
    }
    let silent = vec![
        Mutation::header("typ", Value::Null),
        Mutation::claim("typ", Value::Null),
    ];
    is_accepted(&app, "of no kind", silent).await;
    app.finish().await;
}

#[tokio::test]
async fn claims_that_nobody_asked_for_change_nothing_and_userinfo_is_not_called() {
    let app = service().await;
    let browser = Browser::of(&app);
    let before = gets_in(&app, &browser, "anna").await;
    let unasked = json!({
        "amr": "BID", "auth_time": "never", "tid": { "any": [1] }, "originator": 7, "session_state": [],
        "additionalCertInfo": { "certValidFrom": 1 }, "role": "admin", "nationalId": "17829049236", "user_id": "usr_1",
    });
    let unasked = unasked.as_object().unwrap().iter();
    let unasked = unasked.map(|(name, value)| Mutation::claim(name, value.clone()));
    app.sandbox.bankid().spoil_next(unasked.collect());
    assert_eq!(gets_in(&app, &browser, "anna").await, before);
    let asked = app.sandbox.bankid().journal();
    assert!(
        asked
            .iter()
            .all(|entry| matches!(entry.operation, Some("token" | "certs"))),
        "{asked:?}"
    );
    app.finish().await;
}
