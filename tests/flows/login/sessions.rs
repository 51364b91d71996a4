//! The session that a login opens.

use chrono::TimeDelta;
use drop_tests::{
    app::{TestApp, eventually},
    person::{Answer, browser},
};
use reqwest::header::{ACCEPT, COOKIE};
use serde_json::json;

async fn erased(app: &TestApp, erased: bool) {
    sqlx::query("UPDATE users SET erased_at = CASE WHEN $1 THEN now() END, first_name = 'kept', last_name = 'apart'")
        .bind(erased)
        .execute(&app.db)
        .await
        .unwrap();
}

#[tokio::test]
async fn somebody_who_was_erased_is_not_let_in_and_their_name_does_not_come_back() {
    let app = TestApp::start().await;
    app.signed_in("anna").await;
    erased(&app, true).await;
    assert_eq!(app.log_in("anna").await.problem(), (401, "unauthenticated"));
    let held: (String, String, bool, i64) = sqlx::query_as(
        "SELECT first_name, last_name, erased_at IS NOT NULL, (SELECT count(*) FROM sessions) FROM users",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert_eq!(held, ("kept".into(), "apart".into(), true, 1));
    let audited: Vec<String> = sqlx::query_scalar("SELECT action FROM audit_log ORDER BY id")
        .fetch_all(&app.db)
        .await
        .unwrap();
    assert_eq!(audited, ["login.succeeded", "session.opened", "login.refused"]);
    app.finish().await;
}

#[tokio::test]
async fn the_sessions_of_somebody_who_was_erased_are_over_at_once() {
    let app = TestApp::start().await;
    let (mut browser, login) = app.logged_in_browser("anna").await;
    let anna = app.person(&login);
    let over = (401, "unauthenticated");
    erased(&app, true).await;
    assert_eq!(anna.get("/v1/transactions").await.problem(), over);
    assert_eq!(browser.get("/v1/me").await.problem(), over);
    assert_eq!(browser.post("/v1/auth/refresh", &json!({})).await.problem(), over);
    // The refresh used nothing up: a mistake that is taken back costs no session.
    erased(&app, false).await;
    assert_eq!(browser.post("/v1/auth/refresh", &json!({})).await.status, 200);
    app.finish().await;
}

#[tokio::test]
async fn a_login_whose_person_cannot_be_told_is_not_used_up() {
    let app = TestApp::start().await;
    let login = app.start_login().await;
    let callback = app.sandbox.bankid().sign_in(&login.authorization_url, "anna").unwrap();
    let accepted = app.come_back_later(&callback, &login.cookie).await;
    assert_eq!(accepted.status, 202);
    let place = accepted.location.expect("a place to ask");
    let succeeded = async || {
        let succeeded = "SELECT count(*) FROM audit_log WHERE action = 'login.succeeded'";
        let succeeded: i64 = sqlx::query_scalar(succeeded).fetch_one(&app.db).await.unwrap();
        succeeded == 1
    };
    assert!(eventually(succeeded).await);
    let again = async || {
        let request = browser().get(format!("{}{place}", app.url));
        let request = request.header(COOKIE, &login.cookie).header(ACCEPT, "application/json");
        Answer::of(request.send().await.unwrap()).await
    };
    erased(&app, true).await;
    assert_eq!(again().await.problem(), (401, "unauthenticated"));
    erased(&app, false).await;
    let answer = again().await;
    assert_eq!(answer.status, 200, "{:?}", answer.problem());
    let sessions: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(sessions, 1);
    app.finish().await;
}

#[tokio::test]
async fn a_session_is_audited_with_the_login_that_opened_it_and_the_request_that_asked() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let audited: Vec<(String, String, Option<String>, bool)> = sqlx::query_as(
        "SELECT action, 'usr_' || replace(user_id::text, '-', ''), detail ->> 'login', request_id IS NOT NULL
           FROM audit_log ORDER BY id",
    )
    .fetch_all(&app.db)
    .await
    .unwrap();
    let login: String = sqlx::query_scalar("SELECT object FROM audit_log WHERE action = 'login.succeeded'")
        .fetch_one(&app.db)
        .await
        .unwrap();
    let expected = [
        ("login.succeeded".to_owned(), anna.user.clone(), None, true),
        ("session.opened".to_owned(), anna.user.clone(), Some(login), true),
    ];
    assert_eq!(audited, expected);
    app.finish().await;
}

#[tokio::test]
async fn a_session_ends_by_the_databases_clock_whatever_a_process_takes_the_time_for() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let ends_in = async |minutes: i32| {
        sqlx::query("UPDATE sessions SET expires_at = clock_timestamp() + make_interval(mins => $1)")
            .bind(minutes)
            .execute(&app.db)
            .await
            .unwrap();
    };
    ends_in(5).await;
    app.misset_clock(TimeDelta::minutes(9)); // the token itself still has a minute
    assert_eq!(anna.get("/v1/transactions").await.status, 200);
    app.misset_clock(TimeDelta::minutes(-9));
    ends_in(-1).await;
    assert_eq!(anna.get("/v1/transactions").await.problem(), (401, "unauthenticated"));
    app.finish().await;
}
