//! How much one address and one person may ask.

use drop_tests::{app::TestApp, person::Answer};
use reqwest::Method;
use serde_json::json;

use super::REFRESH;
use crate::paying::{execute, order, value};

const LIMITED: (u16, &str) = (429, "rate_limited");

#[tokio::test]
async fn an_address_guesses_refresh_tokens_a_hundred_and_twenty_times_a_minute_and_not_more() {
    let app = TestApp::start_with(&[("DROP_TRUSTED_PROXIES", "127.0.0.1")]).await;
    let browser = app.browser();
    let asks = async |path: &str, address: &str| {
        let body = json!({ "refreshToken": "guess" });
        let request = browser.request(Method::POST, path, Some(&body));
        Answer::of(request.header("X-Forwarded-For", address).send().await.unwrap()).await
    };
    for _ in 0..120 {
        assert_eq!(asks(REFRESH, "192.0.2.7").await.problem(), (401, "unauthenticated"));
    }
    for path in [REFRESH, "/v1/auth/logout"] {
        let limited = asks(path, "192.0.2.7").await;
        assert_eq!(limited.problem(), LIMITED, "{path}");
        assert!(limited.retry_after.is_some());
    }
    assert_eq!(asks(REFRESH, "192.0.2.8").await.problem(), (401, "unauthenticated"));
    assert_eq!(asks("/v1/auth/logout", "192.0.2.8").await.status, 204);
    app.finish().await;
}

#[tokio::test]
async fn a_person_changes_a_hundred_and_twenty_things_a_minute_and_not_more_and_may_always_look() {
    let app = TestApp::start().await;
    let (mut browser, login) = app.logged_in_browser("anna").await;
    let (mut other, _) = app.logged_in_browser("marko").await;
    let anna = app.person(&login);
    let nobodys = "/v1/sessions/ses_0190a5a47c7e7d5ab8a1f2d3c4b5a697";
    for _ in 0..120 {
        assert_eq!(browser.delete(nobodys).await.problem(), (404, "not_found"));
    }
    assert_eq!(browser.delete(nobodys).await.problem(), LIMITED);
    assert_eq!(browser.delete("/v1/sessions").await.problem(), LIMITED);
    let body = order("acc_0190a5a47c7e7d5ab8a1f2d3c4b5a697", "1.00");
    assert_eq!(anna.post_keyed("/v1/transactions", "1", &body).await.problem(), LIMITED);
    assert_eq!(anna.post_once("/v1/bank-consents", "1").await.problem(), LIMITED);
    let nobodys_payment = "/v1/transactions/tx_0190a5a47c7e7d5ab8a1f2d3c4b5a697/cancel";
    let taking_back = anna.request(nobodys_payment).send().await.unwrap();
    assert_eq!(Answer::of(taking_back).await.problem(), LIMITED);
    assert_eq!(anna.get("/v1/transactions").await.status, 200);
    assert_eq!(other.delete(nobodys).await.problem(), (404, "not_found"));

    // What is asked in a session that is over counts for nobody.
    let counted = "SELECT sum(cardinality(hits))::bigint FROM rate_bucket WHERE key LIKE 'user:%'";
    let before = value::<i64>(&app, counted).await;
    execute(
        &app,
        "UPDATE sessions SET revoked_at = clock_timestamp(), revoked_because = 'logout'",
    )
    .await;
    assert_eq!(other.delete(nobodys).await.problem(), (401, "unauthenticated"));
    assert_eq!(
        anna.post_keyed("/v1/transactions", "2", &body).await.problem(),
        (401, "unauthenticated")
    );
    assert_eq!(value::<i64>(&app, counted).await, before);
    app.finish().await;
}
