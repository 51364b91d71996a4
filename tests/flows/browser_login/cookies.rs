//! What ties a login to its browser.

use drop_tests::{
    app::{TestApp, eventually},
    person::Answer,
};
use reqwest::{Method, header::SET_COOKIE};
use rstest::rstest;
use serde_json::json;

use super::{HTTPS, INVALID_STATE, STATE, signs_in};
use crate::balances::count;

const BINDING: &str = "__Host-drop_bind";

/// The service behind an address with HTTPS, as in production; here the tests reach it without.
async fn behind_https(required: &str) -> TestApp {
    let callback = "https://drop.example/api/auth/bankid/callback";
    let app = TestApp::start_with(&[
        ("DROP_PUBLIC_URL", HTTPS),
        ("BANKID_REDIRECT_URI", callback),
        ("DROP_REQUIRE_LOGIN_BINDING", required),
    ])
    .await;
    app.sandbox.bankid().register_redirect_uri(callback);
    app
}

#[tokio::test]
async fn a_login_has_two_cookies_which_end_with_it() {
    let app = behind_https("true").await;
    for (person, status) in [("anna", 200), ("cancel", 400), ("minor", 403)] {
        let mut browser = app.browser();
        let back = signs_in(&app, &mut browser, person).await;
        for name in [STATE, BINDING] {
            assert_eq!(browser.cookies[name].len(), 43, "{name}");
            assert_eq!(
                browser.attributes[name], "HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=900",
                "{name}"
            );
        }
        assert_ne!(browser.cookies[STATE], browser.cookies[BINDING]);
        assert_eq!(browser.get(&back).await.status, status, "{person}");
        for name in [STATE, BINDING] {
            assert!(!browser.cookies.contains_key(name), "{person}: {name}");
            // Without these a browser would not let the cookie go.
            let attributes = &browser.attributes[name];
            assert!(attributes.contains("Secure; Path=/; Max-Age=0"), "{attributes}");
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn behind_https_the_sessions_cookies_are_secure_and_only_this_host_can_set_them() {
    let app = behind_https("true").await;
    let (session, refresh) = ("__Host-drop_session", "__Host-drop_refresh");
    let mut browser = app.browser();
    browser.origin = HTTPS.to_owned();
    let back = signs_in(&app, &mut browser, "anna").await;
    assert_eq!(browser.get(&back).await.status, 200);
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), [refresh, session]);
    assert_eq!(browser.attributes[session], "HttpOnly; SameSite=Lax; Secure; Path=/");
    assert_eq!(browser.attributes[refresh], "HttpOnly; SameSite=Strict; Secure; Path=/");
    assert_eq!(browser.post("/v1/auth/refresh", &json!({})).await.status, 200);
    assert_eq!(browser.get("/v1/me").await.status, 200);
    // A neighbouring domain can set one without the prefix.
    let mut planted = app.browser();
    planted.cookies = [("drop_session", session), ("drop_refresh", refresh)]
        .map(|(name, held)| (name.to_owned(), browser.cookies[held].clone()))
        .into();
    planted.origin = HTTPS.to_owned();
    assert_eq!(planted.get("/v1/me").await.problem(), (401, "unauthenticated"));
    let refreshed = planted.post("/v1/auth/refresh", &json!({})).await;
    assert_eq!(refreshed.problem(), (401, "unauthenticated"));
    assert_eq!(browser.post("/v1/auth/logout", &json!({})).await.status, 204);
    assert!(browser.cookies.is_empty());
    for name in [session, refresh] {
        let attributes = &browser.attributes[name];
        assert!(attributes.contains("Secure; Path=/; Max-Age=0"), "{attributes}");
    }
    app.finish().await;
}

#[tokio::test]
async fn over_plain_http_the_contracts_cookie_is_the_only_one() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    let back = signs_in(&app, &mut browser, "anna").await;
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), [STATE]);
    assert_eq!(browser.get(&back).await.status, 200);
    app.finish().await;
}

#[tokio::test]
async fn where_the_second_cookie_is_not_required_it_may_be_absent_but_not_wrong() {
    let app = behind_https("false").await;
    for (shown, expected) in [
        (None, (200, "")),
        (Some("wrong"), INVALID_STATE),
        (Some(""), INVALID_STATE),
    ] {
        let mut browser = app.browser();
        let back = signs_in(&app, &mut browser, "anna").await;
        let given = browser.cookies.remove(BINDING).expect("a binding");
        browser
            .cookies
            .extend(shown.map(|value| (BINDING.to_owned(), value.to_owned())));
        assert_eq!(browser.get(&back).await.problem(), expected, "{shown:?}");
        if expected == INVALID_STATE {
            browser.cookies.insert(BINDING.to_owned(), given);
            assert_eq!(browser.get(&back).await.status, 200, "the login was used up");
        }
    }
    app.finish().await;
}

/// What stands beside the planted state in Anna's browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    /// The cookie of a login that Anna started herself.
    HerOwn,
    /// The planter's, under a name that a server might read as the real one.
    Lookalike(&'static str),
}

#[rstest]
#[case("true", Beside::Nothing)]
#[case("true", Beside::HerOwn)]
#[case("false", Beside::HerOwn)]
#[case("true", Beside::Lookalike("%5F%5FHost-drop_bind"))]
#[case("true", Beside::Lookalike("__Host%2Ddrop_bind"))]
#[case("true", Beside::Lookalike("__host-drop_bind"))]
#[case("true", Beside::Lookalike("__Host-drop_bind "))]
#[tokio::test]
async fn a_state_that_was_planted_signs_nobody_in_as_the_one_who_planted_it(
    #[case] required: &str,
    #[case] beside: Beside,
) {
    let app = behind_https(required).await;
    let (mut anna, mut marko) = (app.browser(), app.browser());
    let hers = signs_in(&app, &mut anna, "anna").await;
    // Marko signs in as himself, keeps his way back for Anna, and plants his state in her browser from another domain.
    let his = signs_in(&app, &mut marko, "marko").await;
    let own_state = anna.cookies.insert(STATE.to_owned(), marko.cookies[STATE].clone());
    let own_binding = anna.cookies[BINDING].clone();
    match beside {
        Beside::HerOwn => {}
        Beside::Nothing => drop(anna.cookies.remove(BINDING)),
        Beside::Lookalike(name) => {
            anna.cookies.remove(BINDING);
            anna.cookies.insert(name.to_owned(), marko.cookies[BINDING].clone());
        }
    }
    assert_eq!(anna.get(&his).await.problem(), INVALID_STATE);
    assert_eq!(
        count(&app, "SELECT count(*) FROM logins WHERE status <> 'started'").await,
        0
    );
    // Neither can she be made to ask for what became of his login.
    app.stop_worker().await;
    let mut returning = marko.request(Method::GET, &his, None);
    returning = returning.header("Prefer", "respond-async");
    let checking = Answer::of(returning.send().await.unwrap()).await;
    let outcome = checking.location.expect("where to ask");
    app.run_jobs().await;
    assert_eq!(anna.get(&outcome).await.problem(), (404, "not_found"));
    assert_eq!(count(&app, "SELECT count(*) FROM sessions").await, 0);

    // What she started herself is still hers to finish, and so is his.
    app.start_worker().await;
    anna.cookies = [(STATE, own_state.unwrap()), (BINDING, own_binding)]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
    let answer = anna.get(&hers).await;
    assert_eq!(answer.body["user"]["firstName"], "Anna", "{:?}", answer.problem());
    assert_eq!(marko.get(&outcome).await.body["user"]["firstName"], "Marko");
    app.finish().await;
}

#[rstest]
#[tokio::test]
async fn of_two_tabs_the_later_one_logs_in(#[values(true, false)] https: bool) {
    let app = if https {
        behind_https("true").await
    } else {
        TestApp::start().await
    };
    let mut browser = app.browser();
    let earlier = signs_in(&app, &mut browser, "anna").await;
    let later = signs_in(&app, &mut browser, "anna").await;
    assert_eq!(browser.get(&earlier).await.problem(), INVALID_STATE);
    let answer = browser.get(&later).await;
    assert_eq!(answer.status, 200, "{:?}", answer.problem());
    app.finish().await;
}

#[tokio::test]
async fn an_answer_that_comes_late_leaves_the_cookies_of_the_login_that_another_tab_has_started() {
    let app = behind_https("true").await;
    for person in ["anna", "minor"] {
        app.stop_worker().await;
        let mut browser = app.browser();
        let earlier = signs_in(&app, &mut browser, person).await;
        let answer = tokio::spawn(browser.request(Method::GET, &earlier, None).send());
        let checking = "SELECT count(*) FROM logins WHERE status = 'checking'";
        assert!(eventually(async || count(&app, checking).await == 1).await);
        let later = signs_in(&app, &mut browser, "anna").await;
        app.run_jobs().await;
        let answer = answer.await.unwrap().unwrap();
        assert_eq!(answer.status(), if person == "anna" { 200 } else { 403 });
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            assert!(!cookie.starts_with(STATE) && !cookie.starts_with(BINDING), "{cookie}");
        }
        app.start_worker().await;
        assert_eq!(browser.get(&later).await.status, 200);
        assert!(!browser.cookies.contains_key(STATE));
    }
    app.finish().await;
}

#[tokio::test]
async fn a_state_that_was_planted_before_a_persons_own_locks_nobody_out() {
    let app = behind_https("true").await;
    app.stop_worker().await;
    let mut browser = app.browser();
    let back = signs_in(&app, &mut browser, "anna").await;
    // The browser sends the cookie of the longer path first.
    let both = format!(
        "{STATE}=planted; {STATE}={}; {BINDING}={}",
        browser.cookies[STATE], browser.cookies[BINDING]
    );
    let callback = format!("{}{back}", app.url);
    let checking = app.come_back_later(&callback, &both).await;
    assert_eq!(checking.status, 202, "{:?}", checking.problem());
    app.run_jobs().await;
    let outcome = format!("{}{}", app.url, checking.location.unwrap());
    assert_eq!(app.come_back(&outcome, &both).await.status, 200);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_could_not_be_committed_is_handed_out_when_the_browser_asks_again() {
    let app = TestApp::start().await;
    app.stop_worker().await;
    let mut browser = app.browser();
    let back = signs_in(&app, &mut browser, "anna").await;
    let returning = browser
        .request(Method::GET, &back, None)
        .header("Prefer", "respond-async");
    let place = Answer::of(returning.send().await.unwrap()).await.location.unwrap();
    app.run_jobs().await;
    let cut = "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END';
               CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON sessions DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION cut()";
    sqlx::raw_sql(cut).execute(&app.db).await.unwrap();
    assert_eq!(browser.get(&place).await.problem(), (503, "unavailable"));
    assert!(
        browser.cookies.contains_key(STATE),
        "without it there is no asking again"
    );
    sqlx::raw_sql("DROP TRIGGER cut ON sessions")
        .execute(&app.db)
        .await
        .unwrap();
    assert_eq!(browser.get(&place).await.status, 200);
    assert_eq!(count(&app, "SELECT count(*) FROM sessions").await, 1);
    app.finish().await;
}
