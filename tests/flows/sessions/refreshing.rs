//! The refresh token: used once, but for tabs and lost answers, and for as long as the session lives.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use drop_tests::app::TestApp;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{REFRESH, REFRESH_COOKIE, SESSION_COOKIE, endings, live, me, over, refresh};
use crate::balances::count;

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
    let tabs = (0..20).map(|_| anna.request(Method::POST, REFRESH, Some(&json!({}))).send());
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
async fn of_a_sessions_tokens_only_the_one_that_is_not_used_yet_has_a_copy() {
    let app = TestApp::start().await;
    let (mut anna, _) = app.logged_in_browser("anna").await;
    let copies = "SELECT count(*) FROM refresh_tokens WHERE successor_sealed IS NOT NULL";
    assert_eq!(count(&app, copies).await, 0);
    for _ in 0..3 {
        assert_eq!(refresh(&mut anna).await.status, 200);
        assert_eq!(count(&app, copies).await, 1);
    }
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
async fn a_session_that_is_not_used_for_an_hour_is_over() {
    let app = TestApp::start().await;
    let (mut used, _) = app.logged_in_browser("anna").await;
    let (mut unused, _) = app.logged_in_browser("anna").await;
    app.advance(TimeDelta::minutes(59)).await;
    assert_eq!(refresh(&mut used).await.status, 200);
    app.advance(TimeDelta::minutes(2)).await;
    assert_eq!(refresh(&mut unused).await.problem(), (401, "unauthenticated"));
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
