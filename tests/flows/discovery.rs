//! `BANKID_DISCOVERY`: the endpoints come from the issuer's own document.

use std::{future::pending, time::Duration};

use drop_common::clock::Clock;
use drop_sandbox::{Fault, Operation};
use drop_tests::{app::TestApp, oidc::OpenIdProvider};
use tokio::net::TcpListener;

/// A service that finds the endpoints of the certified provider, and some variables set otherwise.
async fn service(changes: &[(&'static str, &str)]) -> Option<(TestApp, OpenIdProvider)> {
    let provider = OpenIdProvider::start().await?;
    let own = provider.variables_of_a_client();
    let mut variables: Vec<_> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
    variables.push(("BANKID_DISCOVERY", "true"));
    variables.extend(changes);
    let app = TestApp::start_with(&variables).await;
    provider.register(&app.url).await;
    Some((app, provider))
}

#[tokio::test]
async fn a_service_that_was_told_the_issuer_alone_logs_people_in_and_holds_the_issuer_to_its_promise() {
    let Some((app, provider)) = service(&[]).await else {
        return;
    };
    for person in ["anna", "bjorn"] {
        let login = app.start_login().await;
        let callback = provider.sign_in(&login.authorization_url, person).await;
        let answer = app.come_back(&callback, &login.cookie).await;
        assert_eq!(answer.status, 200, "{:?}", answer.problem());
    }
    assert_eq!(
        provider.record_of("discovery").await.len(),
        2,
        "the API and the worker, once each"
    );

    // Its document promises an `iss` in the callback: without one, nobody knows whose code it is.
    let login = app.start_login().await;
    let callback = provider.sign_in(&login.authorization_url, "anna").await;
    let (without, _) = callback.split_once("&iss=").expect("an iss at the end");
    let answer = app.come_back(without, &login.cookie).await;
    assert_eq!(answer.problem(), (400, "invalid_callback"));
    assert_eq!(provider.record_of("token").await.len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn a_worker_that_checks_no_logins_asks_the_issuer_nothing() {
    let Some((app, provider)) = service(&[("DROP_LANES", "kyc.call,kyc.apply,upkeep")]).await else {
        return;
    };
    assert_eq!(provider.record_of("discovery").await.len(), 1, "the API's");
    app.finish().await;
}

#[tokio::test]
async fn neither_process_starts_with_a_document_that_is_not_the_issuers_own() {
    let app = TestApp::start().await;
    // The same document is found there, and names the issuer without the slash.
    let issuer = format!("{}/bankid/", app.sandbox.url());
    let (api, worker) = app.settings_with(&[("BANKID_DISCOVERY", "true"), ("BANKID_ISSUER", &issuer)]);
    let (public, internal, other) = (listener().await, listener().await, listener().await);
    let clock = Clock::real();
    let ended = [
        drop_api::serve(api, clock.clone(), public, internal).await,
        drop_worker::work(worker, clock, other, pending()).await,
    ];
    for ended in ended {
        let why = ended.expect_err("it must not start").to_string();
        assert_eq!(
            why,
            "the configuration has 1 problem(s): BANKID_ISSUER is not the issuer that its document names;"
        );
    }
    app.finish().await;
}

#[tokio::test]
async fn a_worker_that_waits_for_the_issuer_ends_when_it_is_told_to() {
    let app = TestApp::start().await;
    app.sandbox.fault(Operation::BankidDiscovery, Fault::status(503), 1_000);
    let (_, worker) = app.settings_with(&[("BANKID_DISCOVERY", "true")]);
    let told = tokio::time::timeout(Duration::from_millis(700), pending::<()>());
    let ended = drop_worker::work(worker, Clock::real(), listener().await, async { drop(told.await) }).await;
    ended.expect("told to, in time");
    app.finish().await;
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}
