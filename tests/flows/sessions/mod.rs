//! Sessions after the login: refreshing, listing and ending them.

mod ending;
mod limits;

use std::collections::BTreeSet;

use chrono::TimeDelta;
use drop_sandbox::{Fault, Operation};
use drop_tests::{
    app::TestApp,
    person::{Answer, browser},
    web::Browser,
};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

const REFRESH: &str = "/v1/auth/refresh";
const REFRESH_COOKIE: &str = "drop_refresh";
const SESSION_COOKIE: &str = "drop_session";

async fn refresh(browser: &mut Browser) -> Answer {
    browser.post(REFRESH, &json!({})).await
}

async fn me(browser: &mut Browser) -> (u16, String) {
    let answer = browser.get("/v1/me").await;
    (answer.status.as_u16(), answer.problem().1.to_owned())
}

fn over() -> (u16, String) {
    (401, "unauthenticated".to_owned())
}

fn live() -> (u16, String) {
    (200, String::new())
}

/// What the audit log says of sessions that ended, oldest first.
async fn endings(app: &TestApp) -> Vec<String> {
    sqlx::query_scalar("SELECT detail ->> 'because' FROM audit_log WHERE action = 'session.revoked' ORDER BY id")
        .fetch_all(&app.db)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_browser_has_its_tokens_as_cookies_and_no_script_can_read_the_refresh_token() {
    let app = TestApp::start().await;
    let (mut anna, login) = app.logged_in_browser("anna").await;
    assert!(login.body.get("refreshToken").is_none());
    assert_eq!(anna.attributes[SESSION_COOKIE], "HttpOnly; SameSite=Lax; Path=/");
    assert_eq!(anna.attributes[REFRESH_COOKIE], "HttpOnly; SameSite=Strict; Path=/");
    let me = anna.get("/v1/me").await;
    assert_eq!(me.status, 200);
    assert_eq!(me.body, login.body["user"]);
    let refreshed = refresh(&mut anna).await;
    assert_eq!(refreshed.status, 200);
    assert!(refreshed.body.get("refreshToken").is_none());
    app.finish().await;
}

#[tokio::test]
async fn a_refresh_outlives_the_access_token_in_the_same_session() {
    let app = TestApp::start().await;
    let (mut anna, _) = app.logged_in_browser("anna").await;
    let before = (
        anna.cookies[SESSION_COOKIE].clone(),
        anna.cookies[REFRESH_COOKIE].clone(),
    );
    app.advance(TimeDelta::minutes(11)).await;
    assert_eq!(me(&mut anna).await, over());
    let answer = refresh(&mut anna).await;
    assert_eq!((answer.status.as_u16(), &answer.body["expiresIn"]), (200, &json!(600)));
    let after = (
        anna.cookies[SESSION_COOKIE].clone(),
        anna.cookies[REFRESH_COOKIE].clone(),
    );
    assert!(before.0 != after.0 && before.1 != after.1);
    assert_eq!(me(&mut anna).await, live());
    let listed = anna.get("/v1/sessions").await;
    assert_eq!(listed.body["sessions"].as_array().unwrap().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn tabs_that_refresh_at_once_are_given_one_successor() {
    let app = TestApp::start().await;
    let (mut anna, _) = app.logged_in_browser("anna").await;
    let tabs = (0..50).map(|_| anna.request(Method::POST, REFRESH, Some(&json!({}))).send());
    let mut successors = BTreeSet::new();
    for answer in join_all(tabs).await {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200);
        for cookie in answer.headers().get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
            successors.extend(cookie.strip_prefix("drop_refresh=").map(str::to_owned));
        }
    }
    assert_eq!(successors.len(), 1, "{}", successors.len());
    let tokens: i64 = sqlx::query_scalar("SELECT count(*) FROM refresh_tokens")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(tokens, 2);
    anna.cookies
        .insert(REFRESH_COOKIE.to_owned(), successors.pop_first().unwrap());
    assert_eq!(refresh(&mut anna).await.status, 200);
    assert_eq!(me(&mut anna).await, live());
    app.finish().await;
}

#[tokio::test]
async fn an_answer_that_was_lost_can_be_asked_for_again_within_ten_seconds() {
    let app = TestApp::start().await;
    let (mut anna, _) = app.logged_in_browser("anna").await;
    let first = anna.cookies[REFRESH_COOKIE].clone();
    assert_eq!(refresh(&mut anna).await.status, 200);
    let successor = anna.cookies[REFRESH_COOKIE].clone();
    app.advance(TimeDelta::seconds(9)).await;
    anna.cookies.insert(REFRESH_COOKIE.to_owned(), first);
    assert_eq!(refresh(&mut anna).await.status, 200);
    assert_eq!(anna.cookies[REFRESH_COOKIE], successor);
    app.finish().await;
}

#[tokio::test]
async fn a_refresh_token_that_comes_again_later_ends_the_whole_session() {
    let app = TestApp::start().await;
    let (mut anna, _) = app.logged_in_browser("anna").await;
    let (mut other, _) = app.logged_in_browser("anna").await;
    let mut thief = app.browser();
    thief
        .cookies
        .insert(REFRESH_COOKIE.to_owned(), anna.cookies[REFRESH_COOKIE].clone());
    assert_eq!(refresh(&mut anna).await.status, 200);
    app.advance(TimeDelta::seconds(11)).await;
    assert_eq!(refresh(&mut thief).await.problem(), (401, "unauthenticated"));
    // What Anna had from the refresh is worth nothing any more: nobody knows who of the two is Anna.
    assert_eq!(me(&mut anna).await, over());
    assert_eq!(refresh(&mut anna).await.problem(), (401, "unauthenticated"));
    assert_eq!(endings(&app).await, ["refresh_token_reused"]);
    assert_eq!(me(&mut other).await, live());
    app.finish().await;
}

#[tokio::test]
async fn a_slow_tab_is_given_the_newest_token_for_ten_seconds_however_often_the_others_refreshed() {
    let app = TestApp::start().await;
    let (mut anna, _) = app.logged_in_browser("anna").await;
    let first = anna.cookies[REFRESH_COOKIE].clone();
    let mut slow_tab = app.browser();
    for _ in 0..3 {
        assert_eq!(refresh(&mut anna).await.status, 200);
        slow_tab.cookies.insert(REFRESH_COOKIE.to_owned(), first.clone());
        assert_eq!(refresh(&mut slow_tab).await.status, 200);
        assert_eq!(slow_tab.cookies[REFRESH_COOKIE], anna.cookies[REFRESH_COOKIE]);
    }
    app.advance(TimeDelta::seconds(11)).await;
    assert_eq!(refresh(&mut anna).await.status, 200);
    slow_tab.cookies.insert(REFRESH_COOKIE.to_owned(), first);
    assert_eq!(refresh(&mut slow_tab).await.problem(), (401, "unauthenticated"));
    assert_eq!(endings(&app).await, ["refresh_token_reused"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tabs_that_refresh_at_once_several_times_end_no_session() {
    let app = TestApp::start().await;
    let (mut anna, _) = app.logged_in_browser("anna").await;
    let first = anna.cookies[REFRESH_COOKIE].clone();
    let tabs = (0..10).map(|_| async {
        let mut tab = app.browser();
        tab.cookies.insert(REFRESH_COOKIE.to_owned(), first.clone());
        for _ in 0..5 {
            assert_eq!(refresh(&mut tab).await.status, 200);
        }
        tab
    });
    for mut tab in join_all(tabs).await {
        assert_eq!(refresh(&mut tab).await.status, 200);
    }
    assert_eq!(refresh(&mut anna).await.status, 200);
    assert_eq!(endings(&app).await, [""; 0]);
    app.finish().await;
}

#[tokio::test]
async fn a_session_ends_an_hour_after_its_last_refresh_and_a_day_after_the_login_whatever_is_done() {
    let app = TestApp::start().await;
    let (mut idle, _) = app.logged_in_browser("anna").await;
    let (mut busy, _) = app.logged_in_browser("anna").await;
    for hour in 1..=26 {
        app.advance(TimeDelta::minutes(55)).await;
        let refreshed = refresh(&mut busy).await.status.as_u16();
        // 26 times 55 minutes are 23 hours and 50 minutes.
        assert_eq!(refreshed, 200, "hour {hour}");
        if hour == 1 {
            assert_eq!(
                busy.get("/v1/sessions").await.body["sessions"]
                    .as_array()
                    .unwrap()
                    .len(),
                2
            );
        }
        if hour == 2 {
            let held = idle.cookies.clone();
            assert_eq!(refresh(&mut idle).await.problem(), (401, "unauthenticated"));
            assert_eq!(idle.cookies, held, "they could be those of a new login by now");
        }
    }
    app.advance(TimeDelta::minutes(11)).await;
    assert_eq!(refresh(&mut busy).await.problem(), (401, "unauthenticated"));
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

#[tokio::test]
async fn a_browsers_refresh_token_is_worth_nothing_in_a_body_and_neither_is_anything_else() {
    let app = TestApp::start().await;
    let (mut anna, _) = app.logged_in_browser("anna").await;
    let cookie = anna.cookies[REFRESH_COOKIE].clone();
    let mut bare = app.browser();
    for token in [cookie.as_str(), "guess", "x"] {
        let answer = bare.post(REFRESH, &json!({ "refreshToken": token })).await;
        assert_eq!(answer.problem(), (401, "unauthenticated"));
    }
    for wrong in [json!({ "refreshToken": "" }), json!({ "refreshToken": 7 }), json!([])] {
        let answer = bare.post(REFRESH, &wrong).await;
        assert_eq!(answer.problem(), (422, "validation_failed"), "{wrong}");
    }
    assert_eq!(
        bare.post(REFRESH, &Value::Null).await.problem(),
        (422, "validation_failed")
    );
    assert_eq!(refresh(&mut bare).await.problem(), (401, "unauthenticated"));
    assert_eq!(refresh(&mut anna).await.status, 200, "nothing of that used the token");
    app.finish().await;
}

#[tokio::test]
async fn no_usable_token_is_in_the_database() {
    let app = TestApp::start().await;
    let (mut anna, _) = app.logged_in_browser("anna").await;
    let mut tokens: Vec<String> = anna.cookies.values().cloned().collect();
    assert_eq!(refresh(&mut anna).await.status, 200);
    tokens.extend(anna.cookies.values().cloned());
    assert_eq!(tokens.len(), 4);
    let mut searched = 0;
    let tables: Vec<String> = sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
        .fetch_all(&app.db)
        .await
        .unwrap();
    for table in tables {
        let rows = sqlx::AssertSqlSafe(format!("SELECT t::text FROM \"{table}\" t"));
        let rows: Vec<String> = sqlx::query_scalar(rows).fetch_all(&app.db).await.unwrap();
        for row in rows {
            searched += 1;
            for token in &tokens {
                // A bytea is shown in hex.
                let hex = token
                    .bytes()
                    .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
                assert!(!row.contains(token) && !row.contains(&hex), "a token is in {table}");
            }
        }
    }
    assert!(searched > 10, "{searched} rows");
    app.finish().await;
}

#[tokio::test]
async fn an_outage_of_bankid_ends_no_session() {
    let app = TestApp::start().await;
    let (mut anna, _) = app.logged_in_browser("anna").await;
    for operation in [Operation::BankidToken, Operation::BankidCerts] {
        app.sandbox.faults().add(operation, Fault::status(503), None);
    }
    assert_eq!(app.log_in("marko").await.problem(), (502, "token_exchange_failed"));
    app.advance(TimeDelta::minutes(11)).await;
    assert_eq!(refresh(&mut anna).await.status, 200);
    assert_eq!(me(&mut anna).await, live());
    app.finish().await;
}
