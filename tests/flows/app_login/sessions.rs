//! The session of an app: its tokens travel in JSON.

use chrono::TimeDelta;
use drop_tests::{
    app::TestApp,
    app_person::VERIFIER,
    person::{Answer, browser},
};
use serde_json::json;

use crate::{balances::count, paying::value};

const OVER: (u16, &str) = (401, "unauthenticated");
const LIVE_SESSIONS: &str = "SELECT count(*) FROM sessions WHERE revoked_at IS NULL";

/// Logs Anna in with the app; its refresh token.
async fn logs_in(app: &TestApp) -> String {
    let login = app.start_app_login().await;
    let code = app.comes_back_into_app(&login, "anna").await;
    refresh_token(&app.redeem(&login.id, &code, VERIFIER).await)
}

fn refresh_token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{:?}", answer.problem());
    answer.body["refreshToken"].as_str().unwrap().to_owned()
}

async fn sends(app: &TestApp, path: &str, refresh_token: &str) -> Answer {
    let request = browser().post(format!("{}{path}", app.url));
    let request = request.json(&json!({ "refreshToken": refresh_token }));
    Answer::of(request.send().await.unwrap()).await
}

async fn refreshes(app: &TestApp, refresh_token: &str) -> Answer {
    sends(app, "/v1/auth/refresh", refresh_token).await
}

#[tokio::test]
async fn a_session_of_the_app_lives_for_sixty_days_if_it_is_used_within_every_fourteen() {
    let app = TestApp::start().await;
    let (idle, mut busy) = (logs_in(&app).await, logs_in(&app).await);
    for days in [13, 26, 39, 52] {
        app.advance(TimeDelta::days(13)).await;
        busy = refresh_token(&refreshes(&app, &busy).await);
        if days == 26 {
            assert_eq!(refreshes(&app, &idle).await.problem(), OVER);
        }
    }
    app.advance(TimeDelta::hours(8 * 24 - 1)).await;
    busy = refresh_token(&refreshes(&app, &busy).await);
    app.advance(TimeDelta::hours(2)).await;
    assert_eq!(refreshes(&app, &busy).await.problem(), OVER);
    app.finish().await;
}

#[tokio::test]
async fn a_session_of_the_app_that_is_not_used_for_fourteen_days_is_over() {
    let app = TestApp::start().await;
    let (used, unused) = (logs_in(&app).await, logs_in(&app).await);
    app.advance(TimeDelta::hours(14 * 24 - 1)).await;
    refresh_token(&refreshes(&app, &used).await);
    app.advance(TimeDelta::hours(2)).await;
    assert_eq!(refreshes(&app, &unused).await.problem(), OVER);
    app.finish().await;
}

#[tokio::test]
async fn an_apps_used_token_gives_the_same_successor_for_ten_seconds_and_then_ends_the_session() {
    let app = TestApp::start().await;
    let first = logs_in(&app).await;
    let second = refresh_token(&refreshes(&app, &first).await);
    app.advance(TimeDelta::seconds(9)).await;
    assert_eq!(refresh_token(&refreshes(&app, &first).await), second);
    app.advance(TimeDelta::seconds(2)).await;
    assert_eq!(refreshes(&app, &first).await.problem(), OVER);
    assert_eq!(refreshes(&app, &second).await.problem(), OVER);
    let because = "SELECT detail ->> 'because' FROM audit_log WHERE action = 'session.revoked'";
    assert_eq!(value::<String>(&app, because).await, "refresh_token_reused");
    app.finish().await;
}

#[tokio::test]
async fn an_app_logs_out_by_its_refresh_token_when_its_access_token_is_over() {
    let app = TestApp::start().await;
    let token = logs_in(&app).await;
    app.advance(TimeDelta::minutes(30)).await;
    assert_eq!(sends(&app, "/v1/auth/logout", &token).await.status, 204);
    assert_eq!(refreshes(&app, &token).await.problem(), OVER);
    assert_eq!(count(&app, LIVE_SESSIONS).await, 0);
    app.finish().await;
}

#[tokio::test]
async fn an_apps_refresh_token_is_worth_nothing_as_a_cookie_and_is_not_used_up_by_it() {
    let app = TestApp::start().await;
    let token = logs_in(&app).await;
    let mut browser = app.browser();
    browser.cookies.insert("drop_refresh".to_owned(), token.clone());
    assert_eq!(browser.post("/v1/auth/refresh", &json!({})).await.problem(), OVER);
    assert_eq!(browser.post("/v1/auth/logout", &json!({})).await.status, 204);
    assert_eq!(count(&app, LIVE_SESSIONS).await, 1);
    refresh_token(&refreshes(&app, &token).await);
    app.finish().await;
}
