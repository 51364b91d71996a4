//! Where BankID's keys come from: rows 7, 8, 24 and 25.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use drop_sandbox::{Fault, Mutation, Operation, Sandbox, SandboxConfig};
use drop_tests::app::{TestApp, eventually};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::login::scene::{Browser, FAILS_A_CHECK, THEIR_WORDS, ends_with, gets_in, is_refused, newcomer, service};

fn fetches(app: &TestApp) -> usize {
    app.sandbox.journal().entries_of(Operation::BankidCerts).len()
}

#[tokio::test]
async fn however_many_unknown_keys_are_named_the_set_is_fetched_twice() {
    let app = service().await;
    for kid in ["one", "two", "three", "four"] {
        is_refused(&app, kid, vec![Mutation::header("kid", kid)], FAILS_A_CHECK).await;
    }
    assert_eq!(fetches(&app), 2);
    app.finish().await;
}

#[tokio::test]
async fn a_key_that_is_published_only_when_it_signs_is_fetched_and_believed() {
    let app = service().await;
    let browser = Browser::of(&app);
    gets_in(&app, &browser, "anna").await;
    app.sandbox.bankid().rotate_keys(false).unwrap();
    gets_in(&app, &browser, "anna").await;
    gets_in(&app, &browser, "anna").await;
    assert_eq!(fetches(&app), 2);
    app.finish().await;
}

#[tokio::test]
async fn a_key_that_was_published_before_it_signs_costs_no_fetch() {
    let app = service().await;
    let browser = Browser::of(&app);
    app.sandbox.bankid().publish_next_key().unwrap();
    gets_in(&app, &browser, "anna").await;
    app.sandbox.bankid().rotate_keys(true).unwrap();
    gets_in(&app, &browser, "anna").await;
    assert_eq!(fetches(&app), 1);
    app.finish().await;
}

fn answered(code: u16, body: Value) -> Fault {
    let body = Some(body);
    Fault::Status { code, body }
}

#[tokio::test]
async fn a_key_set_that_cannot_be_used_ends_the_login_and_the_next_one_recovers() {
    let app = service().await;
    app.sandbox.bankid().set_keys_max_age(None);
    for fault in [
        Fault::status(500),
        answered(503, json!(format!("<html>{THEIR_WORDS}"))),
        // With the very keys, and a status that takes them back.
        answered(503, app.sandbox.bankid().published_keys()),
        Fault::Garbage,
        answered(200, json!(format!("<html>{THEIR_WORDS}"))),
        answered(200, json!({ "keys": [] })),
        answered(200, json!({ "keys": "none" })),
        answered(200, json!({ "keys": [{ "kty": "AKP", "kid": "pq-1" }] })),
        Fault::Truncate,
        Fault::Oversize {
            bytes: 64 * 1024 * 1024,
        },
        Fault::Drop,
        Fault::Hang,
    ] {
        // The keys of the login before are too old now, and nobody has promised them for longer.
        app.advance(TimeDelta::minutes(6)).await;
        let (way, before) = (format!("{fault:?}"), fetches(&app));
        app.sandbox.fault(Operation::BankidCerts, fault, 1);
        ends_with(&app, &way, (502, FAILS_A_CHECK), 1, async |browser, person| {
            browser.logs_in(person).await
        })
        .await;
        // One that failed is not kept, and was not repeated.
        assert_eq!(fetches(&app) - before, 2, "{way}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_key_set_that_redirects_is_not_followed() {
    let app = service().await;
    let elsewhere = Sandbox::start(SandboxConfig::default()).await.unwrap();
    app.sandbox.bankid().set_keys_max_age(None);
    for issuer in [app.sandbox.bankid().issuer(), elsewhere.bankid().issuer()] {
        app.advance(TimeDelta::minutes(6)).await;
        let before = fetches(&app);
        let to = format!("{issuer}/protocol/openid-connect/certs");
        ends_with(&app, &to, (502, FAILS_A_CHECK), 1, async |browser, person| {
            let to = to.clone();
            app.sandbox.fault(Operation::BankidCerts, Fault::Redirect { to }, 1);
            let answer = browser.logs_in(person).await;
            assert_eq!(
                (fetches(&app) - before, elsewhere.bankid().journal().len()),
                (1, 0),
                "{issuer}"
            );
            answer
        })
        .await;
    }
    app.finish().await;
}

#[tokio::test]
async fn logins_go_on_with_the_keys_at_hand_while_a_fetch_hangs() {
    let app = service().await;
    gets_in(&app, &Browser::of(&app), "anna").await;
    // Past the time for which they are fresh, within the time that BankID promised them for.
    app.advance(TimeDelta::minutes(6)).await;
    app.sandbox.fault(Operation::BankidCerts, Fault::Hang, 1);
    let begun = Instant::now();
    let people = [newcomer(&app), newcomer(&app), newcomer(&app)];
    let logins = people
        .iter()
        .map(async |person| gets_in(&app, &Browser::of(&app), person).await);
    join_all(logins).await;
    assert!(begun.elapsed() < Duration::from_secs(4), "they waited for the fetch");
    assert_eq!(fetches(&app), 2);
    app.finish().await;
}

#[tokio::test]
async fn a_login_that_needs_a_fetch_which_hangs_holds_up_no_other() {
    let app = service().await;
    gets_in(&app, &Browser::of(&app), "anna").await;
    app.sandbox.fault(Operation::BankidCerts, Fault::Hang, 1);
    let unknown = vec![Mutation::header("kid", "unknown")];
    app.sandbox.bankid().spoil_next(unknown);
    let hanging = Browser::of(&app);
    let goes_on = async {
        // The fetch that hangs was asked for: from here on the other login waits.
        assert!(eventually(async || fetches(&app) == 2).await);
        let begun = Instant::now();
        gets_in(&app, &Browser::of(&app), "anna").await;
        begun.elapsed()
    };
    let (refused, took) = tokio::join!(hanging.logs_in("marko"), goes_on);
    assert_eq!(refused.problem(), (502, FAILS_A_CHECK));
    assert!(took < Duration::from_secs(4), "{took:?}");
    app.finish().await;
}
