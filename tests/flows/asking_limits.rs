//! How often a person, or an address, may have a bank asked.

use chrono::TimeDelta;
use drop_sandbox::Operation;
use drop_tests::{
    app::TestApp,
    person::{Answer, browser},
};
use serde_json::Value;

use crate::{
    consents::{approves, asks, comes_back, status},
    paying::{execute, pays},
};

#[tokio::test]
async fn a_return_from_the_bank_that_comes_again_and_again_is_one_look_and_then_refused() {
    let app = TestApp::start_with(&[("DROP_TRUSTED_PROXIES", "127.0.0.1")]).await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let (_, link) = asks(&anna, "first").await;
    app.stop_worker().await;
    let at_bank = app.sandbox.neonomics().consents()[0].clone();
    let looks = || app.sandbox.journal().entries_of(Operation::ConsentStatus).len();
    let comes = async |address: &str| {
        let request = browser().get(&at_bank.redirect).header("X-Forwarded-For", address);
        Answer::of(request.send().await.unwrap()).await
    };
    for _ in 0..3 {
        assert_eq!(comes("192.0.2.7").await.status, 200);
        app.run_jobs().await;
    }
    assert_eq!(looks(), 1, "the bank has just been asked");
    app.advance(TimeDelta::seconds(6)).await;
    comes_back(&approves(&app, &link)).await;
    app.run_jobs().await;
    assert_eq!(status(&app).await, "valid", "a later return is a look again");
    for _ in 3..60 {
        assert_eq!(comes("192.0.2.7").await.status, 200);
    }
    assert_eq!(comes("192.0.2.7").await.problem(), (429, "rate_limited"));
    assert_eq!(comes("192.0.2.8").await.status, 200);
    app.finish().await;
}

#[tokio::test]
async fn a_second_return_right_after_the_first_is_seen_within_seconds_too() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let (_, link) = asks(&anna, "first").await;
    app.stop_worker().await;
    let older = "UPDATE bank_consents SET created_at = created_at - interval '2 hours'";
    execute(&app, older).await; // by itself it is looked at each five minutes
    let at_bank = app.sandbox.neonomics().consents()[0].clone();
    comes_back(&at_bank.redirect).await;
    app.run_jobs().await;
    comes_back(&approves(&app, &link)).await;
    app.run_jobs().await;
    assert_eq!(status(&app).await, "received", "the bank has just been asked");
    app.advance(TimeDelta::seconds(5)).await;
    app.run_jobs().await;
    assert_eq!(status(&app).await, "valid");
    app.finish().await;
}

#[tokio::test]
async fn whoever_has_refreshed_balances_too_often_can_still_pay() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let refresh = format!("/v1/bank-accounts/{account}/balance/refresh");
    for _ in 0..120 {
        let wish = anna.request(&refresh).header("Prefer", "respond-async");
        assert!(wish.send().await.unwrap().status().is_success());
    }
    assert_eq!(anna.post(&refresh, &Value::Null).await.problem(), (429, "rate_limited"));
    assert_eq!(anna.get(&format!("/v1/bank-accounts/{account}")).await.status, 200);
    let paid = pays(&anna, &account, "first").await;
    assert_eq!(paid.status, 201, "{:?}", paid.problem());
    app.finish().await;
}
