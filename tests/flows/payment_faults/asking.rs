//! An API dies while somebody asks it for a payment, comes back from the bank, or takes one back. They ask another one.

use drop_sandbox::Decision;
use drop_tests::{app::TestApp, person::browser};
use reqwest::RequestBuilder;

use super::scene::{PROGRAM, Payer, assert_died, recovers};
use crate::paying::{shown, value};

/// Sends a request to an API that dies at the point; nobody hears of it.
async fn api_dies(app: &TestApp, point: &str, request: impl FnOnce(&str) -> RequestBuilder) {
    let armed = format!("{point}=abort");
    let (mut dying, url) = app.api_process(PROGRAM, &[("DROP_FAILPOINT", &armed)]).await;
    let answer = request(&url).send().await;
    assert!(answer.is_err(), "{point}: {answer:?}");
    assert_died(dying.ended().await, point);
}

async fn payments(app: &TestApp) -> i64 {
    value(app, "SELECT count(*) FROM transactions").await
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_p3_p5_an_api_that_dies_while_it_takes_an_order_has_taken_it_once_or_not_at_all() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    for (point, taken) in [
        ("pay.read", 0),
        ("pay.begun", 0),
        ("pay.validated", 0),
        ("pay.inserted", 0),
        ("pay.commit_sent", 0),
        ("pay.committed", 1),
        ("pay.answered", 1),
    ] {
        let (order, before) = (payer.next_order(), payments(&app).await);
        let mut asking = payer.person.request("/v1/transactions").build().unwrap();
        api_dies(&app, point, |url| {
            asking
                .url_mut()
                .set_port(reqwest::Url::parse(url).unwrap().port())
                .unwrap();
            let request = RequestBuilder::from_parts(browser(), asking);
            let request = request.header("Prefer", "respond-async").json(&order.body);
            request.header("Idempotency-Key", &order.key)
        })
        .await;
        assert_eq!(payments(&app).await - before, taken, "{point}");
        let again = payer.asks(&order).await;
        let expected = if taken == 1 { (201, true) } else { (202, false) };
        assert_eq!(
            (again.status.as_u16(), again.replayed),
            expected,
            "{point}: {:?}",
            again.problem()
        );
        assert_eq!(payments(&app).await - before, 1, "{point}");
        let end = payer.plays_out(again.body["id"].as_str().unwrap()).await;
        assert_eq!(end, "completed", "{point}");
        app.check_the_books().await;
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_an_api_that_dies_while_somebody_comes_back_from_the_bank_keeps_no_payment_from_its_end() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    for point in ["pay.callback_read", "pay.callback_stored"] {
        let (id, link) = payer.has_one_at_the_bank().await;
        let decided = app.sandbox.bank().decide_at(&link, Decision::Approve);
        let back = decided.unwrap().expect("a way back");
        api_dies(&app, point, |url| browser().get(back.replace(&app.url, url))).await;
        recovers(&app).await;
        assert_eq!(payer.standing(&id).await, "completed", "{point}");
        app.check_the_books().await;
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_an_api_that_dies_while_somebody_takes_a_payment_back_has_heard_the_wish_or_is_told_again() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    for (point, is_sent) in [
        ("cancel.taken_back", false),
        ("cancel.asked", true),
        ("cancel.stored", true),
    ] {
        let id = if is_sent {
            payer.has_one_at_the_bank().await.0
        } else {
            payer.orders().await
        };
        let wish = payer.person.request(&format!("/v1/transactions/{id}/cancel"));
        let mut wish = wish.build().unwrap();
        api_dies(&app, point, |url| {
            wish.url_mut()
                .set_port(reqwest::Url::parse(url).unwrap().port())
                .unwrap();
            RequestBuilder::from_parts(browser(), wish)
        })
        .await;
        assert_eq!(payer.standing(&id).await, "processing?", "{point}");
        let again = payer.takes_back(&id).await;
        assert_eq!(
            again.status,
            if is_sent { 202 } else { 200 },
            "{point}: {:?}",
            again.problem()
        );
        recovers(&app).await;
        assert_eq!(payer.standing(&id).await, "cancelled", "{point}");
        assert_eq!(shown(&payer.person, &id).await["cancellation"], "done", "{point}");
        app.check_the_books().await;
    }
    app.finish().await;
}
