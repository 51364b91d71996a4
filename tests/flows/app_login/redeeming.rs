//! The code that came back, and the verifier that stayed.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use drop_sandbox::{Fault, Operation};
use drop_tests::{
    app::{TestApp, eventually},
    app_person::{CHALLENGE, VERIFIER},
    person::Answer,
};
use futures_util::future::join_all;
use rstest::rstest;
use serde_json::{Value, json};

use super::{GUESS, INVALID_STATE, SESSIONS, parameter};
use crate::balances::count;

#[tokio::test]
async fn a_stolen_code_is_worth_nothing_without_the_verifier_and_trying_does_not_use_it_up() {
    let app = TestApp::start().await;
    let login = app.start_app_login().await;
    let code = app.comes_back_into_app(&login, "anna").await;
    // The challenge is what somebody may have seen on its way.
    for verifier in [GUESS, CHALLENGE] {
        assert_eq!(app.redeem(&login.id, &code, verifier).await.problem(), INVALID_STATE);
    }
    assert_eq!(count(&app, SESSIONS).await, 0);
    assert_eq!(app.redeem(&login.id, &code, VERIFIER).await.status, 200);
    app.finish().await;
}

#[tokio::test]
async fn whatever_is_wrong_with_a_redemption_the_answer_is_the_same() {
    let app = TestApp::start().await;
    let (used, fresh) = (app.start_app_login().await, app.start_app_login().await);
    let used_code = app.comes_back_into_app(&used, "anna").await;
    assert_eq!(app.redeem(&used.id, &used_code, VERIFIER).await.status, 200);
    let fresh_code = app.comes_back_into_app(&fresh, "anna").await;
    let at_bankid = app.start_app_login().await;
    app.start_login().await;
    let browsers: uuid::Uuid = sqlx::query_scalar("SELECT id FROM logins WHERE channel = 'web'")
        .fetch_one(&app.db)
        .await
        .unwrap();
    let (browsers, nobodys) = (
        format!("lgn_{}", browsers.simple()),
        format!("lgn_{}", uuid::Uuid::now_v7().simple()),
    );

    let mut bodies = BTreeSet::new();
    for (what, login, code, verifier) in [
        ("wrong code", &fresh.id, GUESS, VERIFIER),
        ("wrong verifier", &fresh.id, fresh_code.as_str(), GUESS),
        ("used", &used.id, &used_code, VERIFIER),
        ("the code of another login", &fresh.id, &used_code, VERIFIER),
        ("another login", &at_bankid.id, &fresh_code, VERIFIER),
        ("nobody came back yet", &at_bankid.id, GUESS, VERIFIER),
        ("a browser's login", &browsers, &fresh_code, VERIFIER),
        ("no login", &nobodys, &fresh_code, VERIFIER),
    ] {
        let mut answer = app.redeem(login, code, verifier).await;
        assert_eq!(answer.problem(), INVALID_STATE, "{what}");
        answer.body.as_object_mut().unwrap().remove("request_id");
        bodies.insert(answer.body.to_string());
    }
    assert_eq!(bodies.len(), 1);
    assert_eq!(app.redeem(&fresh.id, &fresh_code, VERIFIER).await.status, 200);
    app.finish().await;
}

#[rstest]
#[case(59, (200, ""))]
#[case(61, INVALID_STATE)]
#[tokio::test]
async fn a_code_lasts_a_minute(#[case] seconds: i64, #[case] expected: (u16, &str)) {
    let app = TestApp::start().await;
    let login = app.start_app_login().await;
    let code = app.comes_back_into_app(&login, "anna").await;
    app.until_idle().await;
    app.advance(TimeDelta::seconds(seconds)).await;
    assert_eq!(app.redeem(&login.id, &code, VERIFIER).await.problem(), expected);
    app.finish().await;
}

#[rstest]
#[case(10, (200, ""))]
#[case(15, INVALID_STATE)]
#[tokio::test]
async fn an_app_that_showed_its_code_in_time_may_wait_for_a_slow_worker_until_the_login_ends(
    #[case] minutes: i64,
    #[case] expected: (u16, &str),
) {
    let app = TestApp::start().await;
    let login = app.start_app_login().await;
    app.stop_worker().await;
    let code = app.comes_back_into_app(&login, "anna").await;
    let waiting = app.redeem_later(&login.id, &code, VERIFIER).await;
    assert_eq!((waiting.status.as_u16(), waiting.body), (202, Value::Null));
    assert_eq!(waiting.location, Some(login.place));
    app.run_jobs().await;
    let checked = "SELECT count(*) FROM logins WHERE status = 'succeeded'";
    assert_eq!(count(&app, checked).await, 1);
    app.advance(TimeDelta::minutes(minutes)).await;
    assert_eq!(app.redeem(&login.id, GUESS, VERIFIER).await.problem(), INVALID_STATE);
    assert_eq!(app.redeem(&login.id, &code, VERIFIER).await.problem(), expected);
    app.finish().await;
}

#[tokio::test]
async fn a_redemption_waits_for_the_worker() {
    let app = TestApp::start().await;
    let login = app.start_app_login().await;
    app.stop_worker().await;
    let code = app.comes_back_into_app(&login, "anna").await;
    let redeeming = app.redeem(&login.id, &code, VERIFIER);
    let working = async {
        until_shown(&app, &login.id).await;
        app.run_jobs().await
    };
    let (redeemed, _) = tokio::join!(redeeming, working);
    assert_eq!(redeemed.status, 200, "{:?}", redeemed.problem());
    app.finish().await;
}

/// Waits until the app has shown its code, and so waits for the worker.
async fn until_shown(app: &TestApp, login: &str) {
    let id: uuid::Uuid = login.trim_start_matches("lgn_").parse().unwrap();
    let shown = async || {
        sqlx::query_scalar("SELECT login_code_expires_at = expires_at FROM logins WHERE id = $1")
            .bind(id)
            .fetch_one(&app.db)
            .await
            .unwrap()
    };
    assert!(eventually(shown).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_redemptions_at_once_open_one_session() {
    let app = TestApp::start_with(&[("DROP_TRUSTED_PROXIES", "127.0.0.1")]).await;
    let login = app.start_app_login().await;
    let code = app.comes_back_into_app(&login, "anna").await;
    let redemptions = (1..=50).map(|address| {
        let request = app.redemption(&login.id, &code, VERIFIER);
        let request = request.header("X-Forwarded-For", format!("192.0.2.{address}"));
        async { Answer::of(request.send().await.unwrap()).await }
    });
    let answers = join_all(redemptions).await;
    let (given, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(given.len(), 1);
    for answer in refused {
        assert_eq!(answer.problem(), INVALID_STATE);
    }
    assert_eq!(count(&app, SESSIONS).await, 1);
    app.finish().await;
}

#[tokio::test]
async fn a_person_who_is_lured_into_somebody_elses_app_login_gains_them_nothing() {
    let app = TestApp::start().await;
    // Somebody's login, with their verifier; the link to BankID is sent to Anna, who signs in and whose app is opened.
    let lure = app.start_app_login().await;
    let code = app.comes_back_into_app(&lure, "anna").await;
    app.until_idle().await;
    // They have the verifier, the id, the state and every value in BankID's address, but not the code.
    let state = parameter(&lure.authorization_url, "state").unwrap();
    let challenge = parameter(&lure.authorization_url, "code_challenge").unwrap();
    for guess in [GUESS, &state, &challenge, VERIFIER] {
        assert_eq!(app.redeem(&lure.id, guess, VERIFIER).await.problem(), INVALID_STATE);
    }
    let outcome = format!("{}/api/auth/bankid/logins/{}", app.url, lure.id);
    let as_a_browser = app.come_back(&outcome, &format!("bankid_state={state}")).await;
    assert_eq!(as_a_browser.problem(), (404, "not_found"));
    // Anna's app has the code, and would not have redeemed a login that it did not start; its verifier is another.
    assert_eq!(app.redeem(&lure.id, &code, GUESS).await.problem(), INVALID_STATE);
    assert_eq!(count(&app, SESSIONS).await, 0);
    app.finish().await;
}

#[tokio::test]
async fn a_login_that_the_worker_refuses_answers_the_redemption_as_it_would_a_browser() {
    let app = TestApp::start().await;
    let young = app.start_app_login().await;
    let code = app.comes_back_into_app(&young, "minor").await;
    for _ in 0..2 {
        assert_eq!(
            app.redeem(&young.id, &code, VERIFIER).await.problem(),
            (403, "underage")
        );
    }
    let body = Some(json!({ "error": "invalid_grant" }));
    let fault = Fault::Status { code: 400, body };
    app.sandbox.faults().add(Operation::BankidToken, fault, Some(1));
    let failing = app.start_app_login().await;
    let code = app.comes_back_into_app(&failing, "anna").await;
    let answer = app.redeem(&failing.id, &code, VERIFIER).await;
    assert_eq!(answer.problem(), (502, "token_exchange_failed"));
    assert_eq!(count(&app, SESSIONS).await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_after_the_commit_is_healed_by_asking_again_or_by_a_new_login() {
    let app = TestApp::start_on_a_lossy_way().await;
    app.stop_worker().await;
    let lost = (503, "unavailable");

    app.lose_next_commit();
    let start = app.asks_to_start_in_app(&json!({ "appChallenge": CHALLENGE })).await;
    assert_eq!(start.problem(), lost);
    let login = app.start_app_login().await;

    // The code of this one reached nobody: the person starts again.
    let callback = app.signs_in_for(&login, "anna");
    app.lose_next_commit();
    assert_eq!(app.come_back(&callback, "").await.problem(), lost);
    assert_eq!(app.come_back(&callback, "").await.problem(), INVALID_STATE);
    let login = app.start_app_login().await;
    let code = app.comes_back_into_app(&login, "anna").await;

    // Showing the code uses nothing up.
    app.lose_next_commit();
    assert_eq!(app.redeem_later(&login.id, &code, VERIFIER).await.problem(), lost);
    assert_eq!(app.redeem_later(&login.id, &code, VERIFIER).await.status, 202);

    // The tokens were given, and reached nobody: they are not given twice.
    let login = app.start_app_login().await;
    let code = app.comes_back_into_app(&login, "anna").await;
    let redeeming = app.redeem(&login.id, &code, VERIFIER);
    let working = async {
        until_shown(&app, &login.id).await;
        // One statement, which is its own transaction: it is done when it has told whom the login was handed out to.
        app.lose_next_answer(b"Berg");
        app.run_jobs().await
    };
    let (redeemed, _) = tokio::join!(redeeming, working);
    assert_eq!(redeemed.problem(), lost);
    assert_eq!(count(&app, SESSIONS).await, 1);
    assert_eq!(app.redeem(&login.id, &code, VERIFIER).await.problem(), INVALID_STATE);
    app.finish().await;
}
