//! The exchange of the code and the answer to it: rows 18, 21, 23 and 24.

use std::time::{Duration, Instant};

use drop_sandbox::{Fault, Mutation, Operation, Parameter, Sandbox, SandboxConfig};
use drop_tests::{app::TestApp, person::Answer};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::login::scene::{
    Browser, FAILS_A_CHECK, NO_TOKEN, THEIR_WORDS, ends_with, gets_in, is_accepted, is_refused, newcomer, parameter,
    service, signed_in, token_requests, with,
};

#[tokio::test]
async fn an_id_token_that_is_none_ends_the_login() {
    let app = service().await;
    for (way, token) in [
        ("missing", Value::Null),
        ("empty", json!("")),
        ("no text", json!(17)),
        ("no token", json!("not a token")),
        ("two parts", json!("eyJhbGciOiJFUzI1NiJ9.e30")),
        ("four parts", json!("eyJhbGciOiJFUzI1NiJ9.e30.AA.AA")),
        (
            "encrypted",
            json!("eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.AAAA.AAAA.AAAA.AAAA"),
        ),
        ("no JSON", json!("AAAA.AAAA.AAAA")),
        ("no base64", json!("{}.{}.{}")),
        ("lists", json!("W10.W10.AA")),
        ("oversized", json!("A".repeat(300 * 1024))),
    ] {
        is_refused(&app, way, vec![Mutation::answer("id_token", token)], NO_TOKEN).await;
    }
    let long = Mutation::claim("name", "n".repeat(300 * 1024));
    is_refused(&app, "an oversized claim", vec![long], NO_TOKEN).await;
    app.finish().await;
}

fn answered(code: u16, body: Value) -> Fault {
    let body = Some(body);
    Fault::Status { code, body }
}

#[tokio::test]
async fn a_token_endpoint_that_fails_ends_the_login_after_one_request() {
    let app = service().await;
    let refused = |code, error| answered(code, json!({ "error": error, "error_description": THEIR_WORDS }));
    for fault in [
        refused(400, "invalid_grant"),
        refused(401, "invalid_client"),
        refused(400, THEIR_WORDS),
        Fault::status(401),
        Fault::Limited { retry_after: 1 },
        Fault::status(500),
        answered(503, json!(format!("<html>{THEIR_WORDS}"))),
        answered(200, json!(format!("<html>{THEIR_WORDS}"))),
        Fault::Garbage,
        Fault::Truncate,
        Fault::Drop,
        Fault::ExecuteThenDrop,
        Fault::Oversize {
            bytes: 64 * 1024 * 1024,
        },
    ] {
        let way = format!("{fault:?}");
        app.sandbox.fault(Operation::BankidToken, fault, 1);
        ends_with(&app, &way, (502, NO_TOKEN), 1, async |browser, person| {
            browser.logs_in(person).await
        })
        .await;
    }
    app.finish().await;
}

#[tokio::test]
async fn the_access_token_is_a_bearer_token_in_any_letter_case() {
    let app = service().await;
    for (way, kind) in [
        ("another", json!("mac")),
        ("missing", Value::Null),
        ("a list", json!(["Bearer"])),
    ] {
        is_refused(&app, way, vec![Mutation::answer("token_type", kind)], NO_TOKEN).await;
    }
    for kind in ["Bearer", "bearer", "BEARER"] {
        let changed = vec![
            Mutation::answer("token_type", kind),
            Mutation::answer("not_before_policy", 0),
        ];
        is_accepted(&app, kind, changed).await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_token_endpoint_that_is_slow_ends_the_login_after_ten_seconds_and_one_request() {
    let app = service().await;
    for slow in [
        Fault::ExecuteThenHang,
        Fault::Delay { ms: 60_000 },
        Fault::Drip { ms: 100 },
    ] {
        app.sandbox.fault(Operation::BankidToken, slow, 1);
    }
    let logins = [newcomer(&app), newcomer(&app), newcomer(&app)].map(|person| (Browser::of(&app), person));
    let begun = Instant::now();
    let ends = join_all(logins.iter().map(|(browser, person)| browser.logs_in(person))).await;
    let took = begun.elapsed();
    for end in ends {
        assert_eq!(end.problem(), (502, NO_TOKEN));
    }
    assert!(took < Duration::from_secs(14), "{took:?}");
    assert_eq!(token_requests(&app), 3);
    for (browser, person) in &logins {
        gets_in(&app, browser, person).await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_token_endpoint_that_redirects_is_not_followed_with_code_and_secret() {
    let app = service().await;
    let elsewhere = Sandbox::start(SandboxConfig::default()).await.unwrap();
    for issuer in [app.sandbox.bankid().issuer(), elsewhere.bankid().issuer()] {
        let to = format!("{issuer}/protocol/openid-connect/token");
        app.sandbox.fault(Operation::BankidToken, Fault::Redirect { to }, 1);
        ends_with(&app, &issuer, (502, NO_TOKEN), 1, async |browser, person| {
            browser.logs_in(person).await
        })
        .await;
    }
    assert!(elsewhere.bankid().journal().is_empty());
    app.finish().await;
}

/// A victim's login comes back with the code of an attacker's own.
async fn comes_back_with_a_foreign_code(app: &TestApp, victim: &Browser<'_>, person: &str) -> Answer {
    let attackers = Browser::of(app).starts().await;
    let code = parameter(&signed_in(app, &attackers, "marko"), "code");
    let underway = victim.starts().await;
    let back = signed_in(app, &underway, person);
    let injected = with(&back, &[Parameter::set("code", &code)]);
    victim.returns(&injected, &underway.cookies).await
}

#[tokio::test]
async fn the_code_of_another_login_fails_for_want_of_its_verifier() {
    let app = service().await;
    ends_with(&app, "a foreign code", (502, NO_TOKEN), 1, async |victim, person| {
        comes_back_with_a_foreign_code(&app, victim, person).await
    })
    .await;
    app.finish().await;
}

#[tokio::test]
async fn the_code_of_another_login_fails_by_its_nonce_where_bankid_does_not_look_at_the_verifier() {
    let app = service().await;
    app.sandbox.bankid().ignore_pkce(true);
    ends_with(
        &app,
        "a foreign code",
        (502, FAILS_A_CHECK),
        1,
        async |victim, person| comes_back_with_a_foreign_code(&app, victim, person).await,
    )
    .await;
    app.finish().await;
}
