//! The token for Sumsub's SDK: made on demand, for one person, and kept nowhere.

use chrono::TimeDelta;
use drop_common::queue::{self, payloads::PruneJobs};
use drop_sandbox::{Delivery, Fault, Operation, Review};
use drop_tests::{
    app::{TestApp, eventually},
    person::browser,
};
use serde_json::json;

use super::scene::starts;
use crate::paying::value;

const ROUTE: &str = "/v1/kyc/sdk-token";

#[tokio::test]
async fn a_token_is_given_to_its_person_and_is_nowhere_else_and_each_is_another() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    let (one, other) = (anna.post(ROUTE, &json!({})).await, anna.post(ROUTE, &json!({})).await);
    assert_eq!(
        (one.status.as_u16(), other.status.as_u16()),
        (200, 200),
        "{:?}",
        one.problem()
    );
    let tokens = [&one, &other].map(|answer| answer.body["token"].as_str().unwrap().to_owned());
    assert!(tokens.iter().all(|token| token.starts_with("_act-sbx-")));
    assert_ne!(tokens[0], tokens[1]);
    let asked = app.sandbox.sumsub().journal();
    let asked = asked.iter().filter(|entry| entry.path.contains("accessTokens")).count();
    assert_eq!(asked, 2);
    let emptied: i64 = value(
        &app,
        "SELECT count(*) FROM kyc_sdk_tokens WHERE status = 'handed_out' AND token_sealed IS NULL",
    )
    .await;
    assert_eq!(emptied, 2);
    let everything: String = value(
        &app,
        "SELECT concat((SELECT json_agg(j) FROM jobs j), (SELECT json_agg(a) FROM job_attempts a),
                       (SELECT json_agg(l) FROM audit_log l), (SELECT json_agg(t) FROM kyc_sdk_tokens t))",
    )
    .await;
    assert!(everything.contains("create-sdk-token") && tokens.iter().all(|token| !everything.contains(token)));
    app.finish().await;
}

/// Requests that hold one connection while they wait for another would stop each other.
#[tokio::test]
async fn a_request_holds_one_connection_at_a_time() {
    let app = TestApp::start().await;
    let login = app.log_in("anna").await;
    starts(&app.person(&login)).await;
    // One for whoever waits for rows, and one for everything else.
    let small = app.start_replica(&[("DATABASE_POOL_SIZE", "2")]).await;
    let asks = || {
        let token = login.body["accessToken"].as_str().unwrap();
        let request = browser().post(format!("{small}{ROUTE}")).bearer_auth(token);
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert!(
        eventually(async || reqwest::get(format!("{small}/v1/health"))
            .await
            .is_ok_and(|answer| answer.status() == 200))
        .await
    );
    let (one, other) = tokio::join!(asks(), asks());
    assert_eq!((one, other), (200, 200));
    app.finish().await;
}

#[tokio::test]
async fn who_has_nothing_to_verify_gets_none() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    assert_eq!(
        anna.post(ROUTE, &json!({})).await.problem(),
        (409, "conflict"),
        "not started"
    );
    starts(&anna).await;
    for (answer, allowed) in [("GREEN", false), ("RETRY", true), ("RED", false)] {
        let sent = app
            .sandbox
            .sumsub()
            .review(Review::of(&anna.user, answer), &Delivery::default())
            .await;
        assert_eq!(sent.unwrap().statuses, [Some(200)]);
        app.until_idle().await;
        assert_eq!(anna.post(ROUTE, &json!({})).await.status == 200, allowed, "{answer}");
    }
    let nobody = drop_tests::person::browser()
        .post(format!("{}{ROUTE}", app.url))
        .send()
        .await
        .unwrap();
    assert_eq!(nobody.status(), 401);
    app.finish().await;
}

#[tokio::test]
async fn a_refusal_a_silence_and_an_open_circuit_are_told_and_leave_no_token() {
    let app = TestApp::start_with(&[("DROP_WAIT_MS", "1000")]).await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    app.sandbox.fault(Operation::SdkToken, Fault::status(400), 1);
    assert_eq!(anna.post(ROUTE, &json!({})).await.problem(), (502, "provider_error"));

    app.stop_worker().await;
    assert_eq!(
        anna.post(ROUTE, &json!({})).await.problem(),
        (502, "provider_error"),
        "nobody answers"
    );
    app.run_jobs().await;
    let kept: i64 = value(
        &app,
        "SELECT count(*) FROM kyc_sdk_tokens WHERE token_sealed IS NOT NULL",
    )
    .await;
    assert_eq!(kept, 0, "nobody waits for it any more");

    for _ in 0..3 {
        sqlx::query(
            "SELECT breaker_fail('sumsub/api', (SELECT epoch FROM breaker WHERE key = 'sumsub/api'), NULL, '0 s')",
        )
        .execute(&app.db)
        .await
        .unwrap();
    }
    let refused = anna.post(ROUTE, &json!({})).await;
    assert_eq!(refused.problem(), (502, "circuit_open"));
    assert!(refused.retry_after.is_some());
    app.finish().await;
}

#[tokio::test]
async fn a_token_that_nobody_took_is_gone_after_a_quarter_of_an_hour() {
    let app = TestApp::start().await;
    app.signed_in("anna").await;
    app.stop_worker().await;
    sqlx::query(
        "INSERT INTO kyc_sdk_tokens (id, user_id, level_name, request_id, status, token_sealed)
         SELECT gen_random_uuid(), id, 'basic-kyc-level', gen_random_uuid(), 'ready', '\\x00' FROM users",
    )
    .execute(&app.db)
    .await
    .unwrap();
    for (minutes, left) in [(14, 1_i64), (2, 0)] {
        app.advance(TimeDelta::minutes(minutes)).await;
        let mut tx = app.db.begin().await.unwrap();
        queue::enqueue(&mut tx, &PruneJobs {}).await.unwrap();
        tx.commit().await.unwrap();
        app.run_jobs().await;
        assert_eq!(value::<i64>(&app, "SELECT count(*) FROM kyc_sdk_tokens").await, left);
    }
    app.finish().await;
}
