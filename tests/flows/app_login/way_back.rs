//! From the start in the app to `BankID`, and back into the app.

use drop_sandbox::Operation;
use drop_tests::{
    app::TestApp,
    app_person::{CHALLENGE, VERIFIER},
    person::{Answer, browser},
};
use futures_util::future::join_all;
use reqwest::header::SET_COOKIE;
use rstest::rstest;
use serde_json::json;

use super::{GUESS, INVALID_STATE, parameter};
use crate::balances::count;

#[tokio::test]
async fn an_app_logs_in_with_the_code_of_its_link_and_its_verifier_and_gets_tokens_in_json() {
    let app = TestApp::start().await;
    let started = app.asks_to_start_in_app(&json!({ "appChallenge": CHALLENGE })).await;
    assert_eq!(started.status, 201);
    assert_eq!(started.body["expiresIn"], 900);
    let login = app.start_app_login().await;
    assert_eq!(login.place, format!("/v1/auth/bankid/logins/{}/redeem", login.id));
    assert_eq!(parameter(&login.authorization_url, "ui_locales"), None);

    let code = app.comes_back_into_app(&login, "anna").await;
    let response = app.redemption(&login.id, &code, VERIFIER).send().await.unwrap();
    assert!(!response.headers().contains_key(SET_COOKIE));
    assert_eq!(response.headers()["cache-control"], "no-store");
    let redeemed = Answer::of(response).await;
    assert_eq!(redeemed.status, 200, "{:?}", redeemed.problem());
    assert_eq!(
        (&redeemed.body["tokenType"], &redeemed.body["expiresIn"]),
        (&json!("Bearer"), &json!(600))
    );
    assert_eq!(redeemed.body["user"]["firstName"], "Anna");
    let anna = app.person(&redeemed);
    assert_eq!(anna.get("/v1/me").await.body, redeemed.body["user"]);
    let refresh = json!({ "refreshToken": redeemed.body["refreshToken"] });
    let refreshed = anna.post("/v1/auth/refresh", &refresh).await;
    assert_eq!(refreshed.status, 200, "{:?}", refreshed.problem());

    assert_eq!(
        app.signed_in("anna").await.user,
        anna.user,
        "the same person in a browser"
    );
    let channels = "SELECT channel FROM sessions ORDER BY created_at";
    let channels: Vec<String> = sqlx::query_scalar(channels).fetch_all(&app.db).await.unwrap();
    assert_eq!(channels, ["mobile", "web"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_comes_ten_times_opens_the_app_once() {
    let app = TestApp::start().await;
    let login = app.start_app_login().await;
    let callback = app.signs_in_for(&login, "anna");
    let answers = join_all((0..10).map(|_| app.come_back(&callback, ""))).await;
    let opened: Vec<_> = answers.iter().filter(|answer| answer.status == 303).collect();
    assert_eq!(opened.len(), 1);
    let others = answers.iter().filter(|answer| answer.status != 303);
    for answer in others {
        assert_eq!(answer.problem(), INVALID_STATE);
    }
    let code = parameter(opened[0].location.as_deref().unwrap(), "login_code").unwrap();
    assert_eq!(app.redeem(&login.id, &code, VERIFIER).await.status, 200);
    app.finish().await;
}

#[rstest]
#[case::cancelled("error=access_denied&error_description=%3Cb%3ENora%3C%2Fb%3E", "bankid_cancelled")]
#[case::failed("error=server_error%22%3E&code=stolen", "bankid_error")]
#[case::mixed_up("code=c&iss=https%3A%2F%2Felsewhere.example", "invalid_callback")]
#[case::without_a_code("code=", "invalid_callback")]
#[tokio::test]
async fn a_login_that_ends_on_the_way_back_opens_the_app_with_our_word_for_why(
    #[case] came_back: &str,
    #[case] code: &str,
) {
    let app = TestApp::start().await;
    let login = app.start_app_login().await;
    let state = parameter(&login.authorization_url, "state").unwrap();
    let back = format!("{}/api/auth/bankid/callback?state={state}&{came_back}", app.url);
    let opened = app.opens_app(&back).await;
    let expected = [("error", code), ("login", &login.id)].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(opened, expected.into());
    assert_eq!(app.redeem(&login.id, GUESS, VERIFIER).await.problem(), INVALID_STATE);
    assert_eq!(app.come_back(&back, "").await.problem(), INVALID_STATE);
    let audited: (String, String) =
        sqlx::query_as("SELECT object, detail ->> 'failure' FROM audit_log WHERE action = 'login.refused'")
            .fetch_one(&app.db)
            .await
            .unwrap();
    assert_eq!(audited, (login.id, code.to_owned()));
    let left = "SELECT count(*) FROM logins WHERE nonce_sealed IS NOT NULL OR verifier_sealed IS NOT NULL";
    assert_eq!(count(&app, left).await, 0);
    assert!(app.sandbox.journal().entries_of(Operation::BankidToken).is_empty());
    app.finish().await;
}

#[tokio::test]
async fn without_a_link_into_the_app_there_are_no_logins_for_apps() {
    let app = TestApp::start().await;
    let login = app.start_app_login().await;
    // An API that was started anew without it, while the person was at BankID.
    let turned_off = app.start_replica(&[("DROP_APP_LINK", "")]).await;
    let request = browser().post(format!("{turned_off}/v1/auth/bankid/logins"));
    let start = request
        .json(&json!({ "appChallenge": CHALLENGE }))
        .send()
        .await
        .unwrap();
    assert_eq!(Answer::of(start).await.problem(), (404, "not_found"));
    let callback = app.signs_in_for(&login, "anna");
    let there = callback.replace(&app.url, &turned_off);
    assert_eq!(app.come_back(&there, "").await.problem(), INVALID_STATE);
    let opened = app.opens_app(&callback).await;
    assert_eq!(app.redeem(&login.id, &opened["login_code"], VERIFIER).await.status, 200);
    app.finish().await;
}

#[tokio::test]
async fn the_starts_of_browsers_and_apps_share_one_limit_and_redemptions_have_their_own() {
    let app = TestApp::start().await;
    let mut last = None;
    for _ in 0..5 {
        app.start_login().await;
        last = Some(app.start_app_login().await);
    }
    let refused = app.asks_to_start_in_app(&json!({ "appChallenge": CHALLENGE })).await;
    assert_eq!(refused.problem(), (429, "rate_limited"));
    assert!((1..=60).contains(&refused.retry_after.unwrap()));
    let start = browser().get(format!("{}/api/auth/bankid/login", app.url));
    assert_eq!(start.send().await.unwrap().status(), 429);

    let login = last.unwrap();
    let code = app.comes_back_into_app(&login, "anna").await;
    for _ in 0..10 {
        assert_eq!(app.redeem(&login.id, GUESS, VERIFIER).await.problem(), INVALID_STATE);
    }
    let limited = app.redeem(&login.id, &code, VERIFIER).await;
    assert_eq!(limited.problem(), (429, "rate_limited"));
    assert!((1..=60).contains(&limited.retry_after.unwrap()));
    // Only the redemptions: the window of the callbacks has room, and the code is still good.
    let unknown = format!("{}/api/auth/bankid/callback?state=x&code=c", app.url);
    assert_eq!(app.come_back(&unknown, "").await.problem(), INVALID_STATE);
    app.finish().await;
}

#[tokio::test]
async fn what_is_not_of_the_required_form_is_named_and_costs_nothing() {
    let app = TestApp::start().await;
    let short = &GUESS[1..];
    let long = "a".repeat(129);
    for (body, field) in [
        (json!({ "appChallenge": short }), Some("appChallenge")),
        (json!({ "appChallenge": format!("{short}=") }), Some("appChallenge")),
        (json!({ "appChallenge": CHALLENGE, "uiLocales": "de" }), None),
        (json!({}), None),
    ] {
        let answer = app.asks_to_start_in_app(&body).await;
        assert_eq!(answer.problem(), (422, "validation_failed"), "{body}");
        assert_eq!(answer.body["errors"][0]["field"].as_str(), field, "{body}");
    }
    let login = app.start_app_login().await;
    let code = app.comes_back_into_app(&login, "anna").await;
    for (code, verifier, field) in [
        (code.as_str(), short, "appVerifier"),
        (&code, &long, "appVerifier"),
        (&code, "not an unreserved character in a verifier of 43", "appVerifier"),
        (&code[1..], VERIFIER, "loginCode"),
    ] {
        let answer = app.redeem(&login.id, code, verifier).await;
        assert_eq!(answer.problem(), (422, "validation_failed"));
        assert_eq!(answer.body["errors"][0]["field"], field);
    }
    let nonsense = app.redeem("lgn_1", &code, VERIFIER).await;
    assert_eq!(nonsense.problem(), (404, "not_found"));
    assert_eq!(app.redeem(&login.id, &code, VERIFIER).await.status, 200);
    app.finish().await;
}

#[tokio::test]
async fn an_app_chooses_the_language_of_bankid() {
    let app = TestApp::start().await;
    for language in ["no", "en"] {
        let wish = json!({ "appChallenge": CHALLENGE, "uiLocales": language });
        let started = app.asks_to_start_in_app(&wish).await;
        let page = started.body["authorizationUrl"].as_str().unwrap();
        assert_eq!(parameter(page, "ui_locales").as_deref(), Some(language));
    }
    app.finish().await;
}
