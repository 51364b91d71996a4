//! People who look at a payment, or come back from the bank with it, as often as they like: what that asks of us and the bank.

use std::time::Instant;

use chrono::TimeDelta;
use drop_sandbox::Operation;
use drop_tests::{
    app::TestApp,
    person::{Answer, browser},
};

use crate::paying::{at_the_bank, shown, value};

fn looks(app: &TestApp) -> usize {
    app.sandbox.journal().entries_of(Operation::PaymentStatus).len()
}

async fn version(app: &TestApp) -> i32 {
    value(app, "SELECT version FROM transactions").await
}

/// How many seconds lie between the beginning of the last poll and the next one.
async fn apart(app: &TestApp) -> f64 {
    let sql = "SELECT extract(epoch FROM run_at - claimed_at)::float8 FROM jobs WHERE kind = 'poll-payment'";
    value(app, sql).await
}

#[tokio::test]
async fn an_address_comes_back_a_hundred_and_twenty_times_a_minute_and_not_more() {
    let app = TestApp::start_with(&[("DROP_TRUSTED_PROXIES", "127.0.0.1")]).await;
    let asks = async |address: &str| {
        let request = browser().get(format!(
            "{}/api/payments/callback?transaction=tx_0190a5a47c7e7d5ab8a1f2d3c4b5a697&state=forged",
            app.url
        ));
        Answer::of(request.header("X-Forwarded-For", address).send().await.unwrap()).await
    };
    for _ in 0..120 {
        assert_eq!(asks("192.0.2.7").await.problem(), (404, "not_found"));
    }
    let limited = asks("192.0.2.7").await;
    assert_eq!(limited.problem(), (429, "rate_limited"));
    assert!(limited.retry_after.is_some());
    assert_eq!(asks("192.0.2.8").await.problem(), (404, "not_found"));
    app.finish().await;
}

#[tokio::test]
async fn a_loop_of_returns_writes_and_asks_the_bank_once_in_three_seconds_and_not_at_all_after_the_end() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    at_the_bank(&app, &anna, &account).await;
    app.advance(TimeDelta::seconds(100)).await; // by itself it is looked at once a minute
    app.run_jobs().await;
    app.advance(TimeDelta::seconds(10)).await;
    let back = app.sandbox.neonomics().payments()[0].redirect.clone();
    let comes_back = async || assert_eq!(browser().get(&back).send().await.unwrap().status(), 200);
    let (before, asked, began) = (version(&app).await, looks(&app), Instant::now());
    for _ in 0..8 {
        comes_back().await;
        app.run_jobs().await;
    }
    let rounds = 1 + i32::try_from(began.elapsed().as_secs() / 3).unwrap();
    let noted = version(&app).await;
    assert!((1..=rounds).contains(&(noted - before)), "{before} to {noted}");
    assert!(
        looks(&app) <= asked + usize::try_from(rounds).unwrap(),
        "{}",
        looks(&app)
    );
    assert!(apart(&app).await >= 2.9, "the next one comes soon, and not at once");

    app.advance(TimeDelta::seconds(10)).await;
    let before = looks(&app);
    comes_back().await;
    app.run_jobs().await;
    assert_eq!(looks(&app), before + 1, "a later return lets the bank be asked at once");

    let at_bank = app.sandbox.neonomics().payments()[0].id.clone();
    app.sandbox.neonomics().set_payment_status(&at_bank, "ACSC").unwrap();
    app.advance(TimeDelta::seconds(61)).await;
    app.run_jobs().await;
    let (ended, asked) = (version(&app).await, looks(&app));
    app.advance(TimeDelta::seconds(10)).await;
    for _ in 0..2 {
        comes_back().await;
        app.run_jobs().await;
    }
    assert_eq!((version(&app).await, looks(&app)), (ended, asked));
    app.finish().await;
}

#[tokio::test]
async fn a_look_at_an_open_payment_lets_its_bank_be_asked_at_once_and_not_twice_in_three_seconds() {
    let app = TestApp::start().await;
    let (anna, marko) = (app.signed_in("anna").await, app.signed_in("marko").await);
    let account = anna.has_an_account().await;
    let payment = at_the_bank(&app, &anna, &account).await;
    app.advance(TimeDelta::seconds(100)).await;
    app.run_jobs().await;
    let mut asked = looks(&app);
    app.advance(TimeDelta::seconds(10)).await;
    assert_eq!(shown(&marko, &payment.id).await["code"], "not_found");
    app.run_jobs().await;
    assert_eq!(looks(&app), asked, "nobody else's look counts");

    shown(&anna, &payment.id).await;
    app.run_jobs().await;
    asked += 1;
    assert_eq!(looks(&app), asked);
    let began = Instant::now();
    for _ in 0..5 {
        shown(&anna, &payment.id).await;
        app.run_jobs().await;
    }
    assert!(looks(&app) <= asked + usize::try_from(began.elapsed().as_secs() / 3).unwrap());
    shown(&anna, &payment.id).await;
    assert!(
        (2.9..10.0).contains(&apart(&app).await),
        "the next one follows three seconds after the last"
    );

    // A stream that is opened is a look, too.
    app.advance(TimeDelta::seconds(10)).await;
    app.run_jobs().await;
    asked = looks(&app);
    app.advance(TimeDelta::seconds(10)).await;
    let stream = anna.getting(&format!("/v1/transactions/{}/events", payment.id));
    let opened = stream.header("Accept", "text/event-stream").send().await.unwrap();
    assert_eq!(opened.status(), 200);
    app.run_jobs().await;
    assert_eq!(looks(&app), asked + 1);
    drop(opened);

    // Of one that is over, or that has not been sent, there is nothing to ask.
    let at_bank = app.sandbox.neonomics().payments()[0].id.clone();
    app.sandbox.neonomics().set_payment_status(&at_bank, "ACSC").unwrap();
    app.advance(TimeDelta::seconds(61)).await;
    app.run_jobs().await;
    asked = looks(&app);
    app.advance(TimeDelta::seconds(61)).await;
    assert_eq!(shown(&anna, &payment.id).await["bankFinal"], true);
    app.run_jobs().await;
    assert_eq!(looks(&app), asked);
    app.finish().await;
}
