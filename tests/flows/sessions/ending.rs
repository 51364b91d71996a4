//! What the end of a session ends.

use chrono::TimeDelta;
use drop_tests::{
    app::{TestApp, eventually},
    person::{Answer, browser},
};
use reqwest::Method;
use serde_json::json;

use super::{REFRESH, REFRESH_COOKIE, endings, live, me, over, refresh};
use crate::paying::{pays_later, value};

#[tokio::test]
async fn a_payment_that_was_under_way_is_not_accepted_after_the_person_logged_out_everywhere() {
    let app = TestApp::start().await;
    let (mut browser, login) = app.logged_in_browser("anna").await;
    let anna = app.person(&login);
    let account = anna.has_an_account().await;
    // Another of Anna's requests holds the lock that a payment takes first; the session was found live by then.
    let mut other = app.db.begin().await.unwrap();
    sqlx::query("SELECT FROM users FOR NO KEY UPDATE")
        .execute(&mut *other)
        .await
        .unwrap();
    let ended = async {
        let waits =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        assert!(eventually(async || value::<i64>(&app, waits).await == 1).await);
        let ended = browser.delete("/v1/sessions").await;
        other.commit().await.unwrap();
        ended
    };
    let (paid, ended) = tokio::join!(pays_later(&anna, &account, "late"), ended);
    assert_eq!((paid.problem(), ended.status.as_u16()), ((401, "unauthenticated"), 204));
    assert_eq!(value::<i64>(&app, "SELECT count(*) FROM transactions").await, 0);
    app.finish().await;
}

#[tokio::test]
async fn a_login_ends_the_session_that_its_browser_had_and_no_other() {
    let app = TestApp::start().await;
    let (mut elsewhere, _) = app.logged_in_browser("anna").await;
    let (mut browser, _) = app.logged_in_browser("anna").await;
    for person in ["anna", "marko"] {
        let mut before = app.browser();
        before.cookies = browser.cookies.clone();
        // Whoever comes back after a break has an access token that is over.
        app.advance(TimeDelta::minutes(30)).await;
        app.logs_in_with(&mut browser, person).await;
        assert_eq!(refresh(&mut before).await.problem(), (401, "unauthenticated"));
        assert_eq!(me(&mut before).await, over());
        assert_eq!(me(&mut browser).await, live());
        assert_eq!(refresh(&mut elsewhere).await.status, 200);
    }
    assert_eq!(endings(&app).await, ["replaced"; 2]);
    app.finish().await;
}

#[tokio::test]
async fn a_logout_acts_at_once_on_every_route_and_can_be_repeated() {
    let app = TestApp::start().await;
    let (mut anna, login) = app.logged_in_browser("anna").await;
    let stolen = login.body["accessToken"].as_str().unwrap();
    let mut copy = app.browser();
    copy.cookies = anna.cookies.clone();
    assert_eq!(anna.post("/v1/auth/logout", &json!({})).await.status, 204);
    assert!(anna.cookies.is_empty());
    assert_eq!(anna.post("/v1/auth/logout", &json!({})).await.status, 204);
    assert_eq!(refresh(&mut copy).await.problem(), (401, "unauthenticated"));
    for path in [
        "/v1/transactions",
        "/v1/bank-accounts",
        "/v1/kyc",
        "/v1/me",
        "/v1/sessions",
    ] {
        let request = browser().get(format!("{}{path}", app.url)).bearer_auth(stolen);
        let answer = Answer::of(request.send().await.unwrap()).await;
        assert_eq!(answer.problem(), (401, "unauthenticated"), "{path}");
    }
    let payment = browser()
        .post(format!("{}/v1/transactions", app.url))
        .bearer_auth(stolen);
    let payment = payment.header("Idempotency-Key", "after").json(&json!({})).send().await;
    assert_eq!(Answer::of(payment.unwrap()).await.problem(), (401, "unauthenticated"));
    assert_eq!(endings(&app).await, ["logout"]);
    app.finish().await;
}

#[tokio::test]
async fn a_person_whose_access_token_is_over_can_still_log_out() {
    let app = TestApp::start().await;
    let (mut anna, _) = app.logged_in_browser("anna").await;
    let refresh_cookie = anna.cookies[REFRESH_COOKIE].clone();
    app.advance(TimeDelta::minutes(30)).await;
    assert_eq!(anna.post("/v1/auth/logout", &json!({})).await.status, 204);
    anna.cookies.insert(REFRESH_COOKIE.to_owned(), refresh_cookie);
    assert_eq!(refresh(&mut anna).await.problem(), (401, "unauthenticated"));
    assert_eq!(endings(&app).await, ["logout"]);
    app.finish().await;
}

#[tokio::test]
async fn a_person_sees_their_sessions_and_ends_one_or_all_of_them() {
    let app = TestApp::start().await;
    let (mut here, _) = app.logged_in_browser("anna").await;
    let (mut there, _) = app.logged_in_browser("anna").await;
    let (mut stranger, _) = app.logged_in_browser("marko").await;
    let listed = here.get("/v1/sessions").await;
    let sessions: Vec<(bool, &str)> = listed.body["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|session| (session["current"] == true, session["channel"].as_str().unwrap()))
        .collect();
    assert_eq!(sessions, [(false, "web"), (true, "web")], "the newest first");
    let other = listed.body["sessions"][0]["id"].as_str().unwrap();

    let foreign = stranger.delete(&format!("/v1/sessions/{other}")).await;
    let unknown = stranger
        .delete("/v1/sessions/ses_0190a5a47c7e7d5ab8a1f2d3c4b5a697")
        .await;
    assert_eq!(
        (foreign.problem(), unknown.problem()),
        ((404, "not_found"), (404, "not_found"))
    );
    assert_eq!(me(&mut there).await, live());

    assert_eq!(here.delete(&format!("/v1/sessions/{other}")).await.status, 204);
    assert_eq!(me(&mut there).await, over());
    assert_eq!(me(&mut here).await, live());
    assert_eq!(
        here.delete(&format!("/v1/sessions/{other}")).await.problem(),
        (404, "not_found")
    );

    let (mut third, _) = app.logged_in_browser("anna").await;
    assert_eq!(here.delete("/v1/sessions").await.status, 204);
    assert!(here.cookies.is_empty());
    assert_eq!(me(&mut third).await, over());
    assert_eq!(me(&mut stranger).await, live());
    assert_eq!(endings(&app).await, ["ended_by_user"; 3]);
    app.finish().await;
}

#[tokio::test]
async fn a_foreign_page_can_neither_refresh_nor_end_a_session_with_the_persons_cookies() {
    let app = TestApp::start().await;
    let (mut anna, _) = app.logged_in_browser("anna").await;
    let held = anna.cookies.clone();
    anna.origin = "https://evil.example".to_owned();
    for (method, path) in [
        (Method::POST, REFRESH),
        (Method::POST, "/v1/auth/logout"),
        (Method::DELETE, "/v1/sessions"),
    ] {
        let body = json!({});
        let answer = anna.send(method, path, Some(&body)).await;
        assert_eq!(answer.problem(), (403, "forbidden"), "{path}");
    }
    assert_eq!(anna.cookies, held);
    anna.origin.clone_from(&app.url);
    assert_eq!(refresh(&mut anna).await.status, 200);
    assert_eq!(endings(&app).await, [""; 0]);
    app.finish().await;
}
