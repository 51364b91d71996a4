//! Sumsub's webhook (contract 3.4).

use std::collections::BTreeMap;

use drop_sandbox::{Delivery, Digest, Fault, Operation, Review};
use drop_tests::{
    app::TestApp,
    person::{Answer, browser},
};
use reqwest::StatusCode;
use serde_json::json;

use super::scene::{ago, people, sends, signed, starts};
use crate::metrics::Scrape;

/// A person whose check was started; their id.
async fn checked(app: &TestApp) -> String {
    let anna = app.signed_in("anna").await;
    assert_eq!(starts(&anna).await["next"], "verify");
    anna.user
}

async fn events(app: &TestApp) -> Vec<(String, String)> {
    sqlx::query_as("SELECT event_type, state FROM webhook_events ORDER BY received_at")
        .fetch_all(&app.db)
        .await
        .expect("the inbox can be read")
}

#[tokio::test]
async fn a_webhook_with_a_wrong_or_missing_digest_is_401_and_leaves_nothing() {
    let app = TestApp::start().await;
    for digest in [Digest::Wrong, Digest::Missing] {
        let delivery = Delivery {
            digest,
            ..Delivery::default()
        };
        let sent = app
            .sandbox
            .sumsub()
            .review(Review::of("usr_unknown", "GREEN"), &delivery)
            .await
            .unwrap();
        assert_eq!(sent.statuses, [Some(401)]);
    }
    let reserialised = Delivery {
        reserialised: true,
        ..Delivery::default()
    };
    let sent = app
        .sandbox
        .sumsub()
        .review(Review::of("usr_unknown", "GREEN"), &reserialised)
        .await
        .unwrap();
    assert_eq!(sent.statuses, [Some(401)]);
    assert_eq!(events(&app).await, []);
    app.finish().await;
}

#[tokio::test]
async fn a_duplicate_webhook_is_200_and_applied_once() {
    let app = TestApp::start().await;
    let user = checked(&app).await;
    let twice = Delivery {
        times: 2,
        ..Delivery::default()
    };
    let sent = app
        .sandbox
        .sumsub()
        .review(ago(1, Review::of(&user, "GREEN")), &twice)
        .await
        .unwrap();
    assert_eq!(sent.statuses, [Some(200), Some(200)]);
    app.until_idle().await;
    assert_eq!(
        events(&app).await,
        [("applicantReviewed".to_owned(), "applied".to_owned())]
    );
    let (results, told, status): (i64, i64, String) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM screening_results),
                (SELECT count(*) FROM notifications WHERE title = 'Du er nå verifisert'),
                (SELECT kyc_status FROM users)",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert_eq!((results, told, status.as_str()), (1, 1, "approved"));
    let reviews = Scrape::of_worker(&app).await.counted("drop_kyc_reviews_total");
    assert_eq!(reviews, BTreeMap::from([("{outcome=\"approved\"}".to_owned(), 1.0)]));
    app.finish().await;
}

/// Whether what is sent again has the same bytes, Sumsub does not say.
#[tokio::test]
async fn an_event_is_the_same_by_its_own_ids_and_time_whatever_its_bytes() {
    let app = TestApp::start().await;
    let person = people(&app.db, 1).await.remove(0);
    let event = |kind: &str, correlation: &str, at: &str| {
        person.event(kind, json!({ "correlationId": correlation, "createdAtMs": at }))
    };
    let first = event("applicantCreated", "x", "11");
    let mut with_more = first.clone();
    with_more["clientId"] = json!("drop");
    for again in [first.to_string(), format!("{first:#}"), with_more.to_string()] {
        assert_eq!(signed(&app, again).await.0, 200);
    }
    assert_eq!(person.states(&app).await.len(), 1);
    for other in [
        event("applicantCreated", "y", "11"),
        event("applicantCreated", "x", "12"),
        event("applicantTagsChanged", "x", "11"),
        // Where one member ends and the next begins counts.
        event("applicantCreated", "x1", "1"),
    ] {
        sends(&app, &other).await;
    }
    assert_eq!(person.states(&app).await.len(), 5);
    // Without an id of its own it is the same by its bytes alone.
    let mut nameless = first.clone();
    nameless["correlationId"] = json!(null);
    for body in [nameless.to_string(), format!("{nameless:#}"), nameless.to_string()] {
        assert_eq!(signed(&app, body).await.0, 200);
    }
    assert_eq!(person.states(&app).await.len(), 7);
    app.finish().await;
}

#[tokio::test]
async fn green_then_red_then_green_ends_approved_with_three_results() {
    let app = TestApp::start().await;
    let user = checked(&app).await;
    for (answer, seconds_ago) in [("GREEN", 30), ("RED", 20), ("GREEN", 10)] {
        let sent = app
            .sandbox
            .sumsub()
            .review(ago(seconds_ago, Review::of(&user, answer)), &Delivery::default())
            .await
            .unwrap();
        assert_eq!(sent.statuses, [Some(200)]);
        app.until_idle().await;
    }
    let (results, status): (i64, String) =
        sqlx::query_as("SELECT (SELECT count(*) FROM screening_results), (SELECT kyc_status FROM users)")
            .fetch_one(&app.db)
            .await
            .unwrap();
    assert_eq!((results, status.as_str()), (3, "approved"));
    app.finish().await;
}

#[tokio::test]
async fn an_older_event_that_comes_late_changes_nothing() {
    let app = TestApp::start().await;
    let user = checked(&app).await;
    for (answer, seconds_ago) in [("GREEN", 10), ("RED", 20)] {
        app.sandbox
            .sumsub()
            .review(ago(seconds_ago, Review::of(&user, answer)), &Delivery::default())
            .await
            .unwrap();
        app.until_idle().await;
    }
    let states: Vec<String> = events(&app).await.into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, ["applied", "stale"]);
    let status: String = sqlx::query_scalar("SELECT kyc_status FROM users")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(status, "approved");
    app.finish().await;
}

#[tokio::test]
async fn a_check_is_started_once_however_often_it_is_asked_for_and_ends_approved() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    assert_eq!(
        anna.get("/v1/kyc").await.body,
        json!({ "status": "pending", "applicant": "none", "next": "start" })
    );
    let wanted = json!({ "email": "anna@example.com" });
    let (one, other) = tokio::join!(
        anna.post("/v1/kyc/applicant", &wanted),
        anna.post("/v1/kyc/applicant", &wanted)
    );
    assert_eq!((one.status, other.status), (StatusCode::CREATED, StatusCode::CREATED));
    assert_eq!(app.sandbox.sumsub().applicants().len(), 1);
    let sent = app
        .sandbox
        .sumsub()
        .review(Review::of(&anna.user, "GREEN"), &Delivery::default())
        .await
        .unwrap();
    assert_eq!(sent.statuses, [Some(200)]);
    app.until_idle().await;
    assert_eq!(
        anna.get("/v1/kyc").await.body,
        json!({ "status": "approved", "applicant": "created", "next": "none" })
    );
    app.finish().await;
}

#[tokio::test]
async fn an_applicant_whose_answer_was_lost_is_adopted() {
    let app = TestApp::start().await;
    app.sandbox.fault(Operation::ApplicantCreate, Fault::ExecuteThenDrop, 1);
    let anna = app.signed_in("anna").await;
    let answer = anna
        .post("/v1/kyc/applicant", &json!({ "email": "anna@example.com" }))
        .await;
    assert_eq!(answer.status, 201, "{:?}", answer.problem());
    assert_eq!(app.sandbox.sumsub().applicants().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_text_that_is_no_address_is_422_and_nothing_is_asked_of_sumsub() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    for email in ["", "anna", "@example.com", "anna@", "a@b@c", "an na@example.com"] {
        let answer = anna.post("/v1/kyc/applicant", &json!({ "email": email })).await;
        assert_eq!(answer.problem(), (422, "validation_failed"), "{email:?}");
    }
    assert!(app.sandbox.sumsub().applicants().is_empty());
    app.finish().await;
}

#[tokio::test]
async fn nobody_sees_or_starts_a_check_without_a_session() {
    let app = TestApp::start().await;
    let get = browser().get(format!("{}/v1/kyc", app.url)).send().await.unwrap();
    assert_eq!(Answer::of(get).await.problem(), (401, "unauthenticated"));
    let post = browser()
        .post(format!("{}/v1/kyc/applicant", app.url))
        .json(&json!({ "email": "a@b.no" }))
        .send()
        .await;
    assert_eq!(Answer::of(post.unwrap()).await.problem(), (401, "unauthenticated"));
    app.finish().await;
}
