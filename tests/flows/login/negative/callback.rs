//! The way back from BankID: rows 19, 20 and 22.

use chrono::TimeDelta;
use drop_sandbox::{Fault, Operation, Parameter};
use drop_tests::{app::TestApp, person::Answer};

use crate::login::scene::{
    Browser, THEIR_WORDS, ends_with, leaves_nothing, newcomer, service, service_with, signed_in, token_requests, with,
};

/// A callback that is refused before anything is used up. The login that it disturbs goes on as if it had not been.
async fn disturbs_nobody(
    app: &TestApp,
    way: &str,
    code: &str,
    wrong: impl AsyncFnOnce(&Browser<'_>, &str, &str) -> Answer,
) {
    let victim = Browser::of(app);
    let underway = victim.starts().await;
    let callback = signed_in(app, &underway, &newcomer(app));
    leaves_nothing(app, way, (400, code), 0, async || {
        wrong(&Browser::of(app), &callback, &underway.cookies).await
    })
    .await;
    let own = victim.returns(&callback, &underway.cookies).await;
    assert_eq!(own.status, 200, "{way}: {:?}", own.problem());
}

#[tokio::test]
async fn a_callback_whose_state_is_not_this_logins_disturbs_nobody() {
    let state = |value| Parameter::set("state", value);
    let app = service().await;
    for (way, parameters, code) in [
        ("wrong", vec![state("forged")], "invalid_state"),
        ("empty", vec![state("")], "invalid_state"),
        ("missing", vec![Parameter::absent("state")], "invalid_state"),
        (
            "missing beside an error",
            vec![Parameter::absent("state"), Parameter::set("error", "access_denied")],
            "invalid_state",
        ),
        ("twice", vec![state("forged"), state("forged")], "invalid_callback"),
    ] {
        disturbs_nobody(&app, way, code, async |browser, callback, cookies| {
            browser.returns(&with(callback, &parameters), cookies).await
        })
        .await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_callback_in_a_browser_that_did_not_start_this_login_disturbs_nobody() {
    let app = service().await;
    for cookies in ["", "bankid_state=forged", "bankid_state="] {
        disturbs_nobody(&app, cookies, "invalid_state", async |browser, callback, _| {
            browser.returns(callback, cookies).await
        })
        .await;
    }
    // Cookie and parameter agree, and nobody was ever given that state.
    disturbs_nobody(&app, "made up", "invalid_state", async |browser, callback, _| {
        let forged = with(callback, &[Parameter::set("state", "forged")]);
        browser.returns(&forged, "bankid_state=forged").await
    })
    .await;
    let other = Browser::of(&app);
    let underway = other.starts().await;
    disturbs_nobody(&app, "another login's", "invalid_state", async |_, callback, _| {
        other.returns(callback, &underway.cookies).await
    })
    .await;
    let own = signed_in(&app, &underway, "anna");
    assert_eq!(other.returns(&own, &underway.cookies).await.status, 200);
    app.finish().await;
}

#[tokio::test]
async fn a_callback_that_says_something_twice_or_too_much_disturbs_nobody() {
    let app = service().await;
    let padding = format!("padding={}", "p".repeat(4 * 1024));
    for more in ["code=one", "iss=one", "error=one&error=two", "x=one&x=two", &padding] {
        disturbs_nobody(&app, more, "invalid_callback", async |browser, callback, cookies| {
            browser.returns(&format!("{callback}&{more}"), cookies).await
        })
        .await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_callback_that_comes_again_is_refused_without_another_request() {
    let app = service().await;
    ends_with(&app, "again", (400, "invalid_state"), 1, async |browser, person| {
        let underway = browser.starts().await;
        // The first one fails at BankID, so that it leaves nothing either.
        app.sandbox.fault(Operation::BankidToken, Fault::status(500), 1);
        let callback = signed_in(&app, &underway, person);
        assert_eq!(browser.returns(&callback, &underway.cookies).await.status, 502);
        browser.returns(&callback, &underway.cookies).await
    })
    .await;
    app.finish().await;
}

#[tokio::test]
async fn a_callback_that_comes_twice_at_once_gives_one_session_and_one_request() {
    let app = service().await;
    let browser = Browser::of(&app);
    let underway = browser.starts().await;
    let callback = signed_in(&app, &underway, "anna");
    let (one, other) = tokio::join!(
        browser.returns(&callback, &underway.cookies),
        browser.returns(&callback, &underway.cookies)
    );
    let mut answers = [one.problem(), other.problem()];
    answers.sort_unstable();
    assert_eq!(answers, [(200, ""), (400, "invalid_state")]);
    let sessions: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!((sessions, token_requests(&app)), (1, 1));
    app.finish().await;
}

#[tokio::test]
async fn a_callback_after_fifteen_minutes_is_refused() {
    let app = service().await;
    ends_with(&app, "late", (400, "invalid_state"), 0, async |browser, person| {
        let underway = browser.starts().await;
        app.advance(TimeDelta::minutes(15)).await;
        let callback = signed_in(&app, &underway, person);
        browser.returns(&callback, &underway.cookies).await
    })
    .await;
    app.finish().await;
}

#[tokio::test]
async fn a_way_back_without_a_usable_code_or_from_another_issuer_ends_before_any_token_is_asked_for() {
    let issuer = |value: &str| Parameter::set("iss", value);
    let app = service().await;
    let slashed = format!("{}/", app.sandbox.bankid().issuer());
    for (way, wrong) in [
        ("no code", vec![Parameter::absent("code")]),
        ("an empty code", vec![Parameter::set("code", "")]),
        (
            "an oversized code",
            vec![Parameter::set("code", &"c".repeat(2 * 1024 + 1))],
        ),
        ("another issuer", vec![issuer("https://other.example")]),
        ("ours and a slash", vec![issuer(&slashed)]),
        ("an empty issuer", vec![issuer("")]),
        (
            "another issuer's error",
            vec![
                issuer("https://other.example"),
                Parameter::set("error", "access_denied"),
            ],
        ),
    ] {
        app.sandbox.bankid().spoil_next_return(wrong);
        ends_with(&app, way, (400, "invalid_callback"), 0, async |browser, person| {
            browser.logs_in(person).await
        })
        .await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_way_back_without_an_issuer_is_refused_only_where_it_is_promised() {
    let nameless = || vec![Parameter::absent("iss")];
    let app = service().await;
    app.sandbox.bankid().spoil_next_return(nameless());
    assert_eq!(Browser::of(&app).logs_in("anna").await.status, 200);
    app.finish().await;

    let app = service_with(&[("BANKID_REQUIRE_ISS_PARAM", "true")]).await;
    app.sandbox.bankid().spoil_next_return(nameless());
    ends_with(
        &app,
        "no issuer",
        (400, "invalid_callback"),
        0,
        async |browser, person| browser.logs_in(person).await,
    )
    .await;
    app.finish().await;
}

#[tokio::test]
async fn an_error_counts_although_a_code_comes_with_it() {
    let app = service().await;
    for (error, end) in [
        ("access_denied", (400, "bankid_cancelled")),
        ("server_error", (502, "bankid_error")),
        ("invalid_scope", (502, "bankid_error")),
        (THEIR_WORDS, (502, "bankid_error")),
        ("", (502, "bankid_error")),
    ] {
        app.sandbox.bankid().spoil_next_return(vec![
            Parameter::set("error", error),
            Parameter::set("error_description", THEIR_WORDS),
        ]);
        ends_with(&app, error, end, 0, async |browser, person| {
            browser.logs_in(person).await
        })
        .await;
    }
    app.finish().await;
}
