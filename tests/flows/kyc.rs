//! Sumsub's webhook (contract 3.4).

use drop_sandbox::{Delivery, Digest, Review};
use drop_tests::app::TestApp;

/// A review of this user's one applicant.
fn review(user: &str, answer: &str, seconds_ago: i64) -> Review {
    Review {
        applicant_id: Some("5f9e1b2c3d4e5f6a7b8c9d0e".to_owned()),
        created_at_offset: -seconds_ago,
        ..Review::of(user, answer)
    }
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
    let user = app.log_in("anna").await.body["user"]["id"].as_str().unwrap().to_owned();
    app.has_asked_for_kyc(&user).await;
    let twice = Delivery {
        times: 2,
        ..Delivery::default()
    };
    let sent = app
        .sandbox
        .sumsub()
        .review(review(&user, "GREEN", 1), &twice)
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
    app.finish().await;
}

#[tokio::test]
async fn green_then_red_then_green_ends_approved_with_three_results() {
    let app = TestApp::start().await;
    let user = app.log_in("anna").await.body["user"]["id"].as_str().unwrap().to_owned();
    app.has_asked_for_kyc(&user).await;
    for (answer, seconds_ago) in [("GREEN", 30), ("RED", 20), ("GREEN", 10)] {
        let sent = app
            .sandbox
            .sumsub()
            .review(review(&user, answer, seconds_ago), &Delivery::default())
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
    let user = app.log_in("anna").await.body["user"]["id"].as_str().unwrap().to_owned();
    app.has_asked_for_kyc(&user).await;
    for (answer, seconds_ago) in [("GREEN", 10), ("RED", 20)] {
        app.sandbox
            .sumsub()
            .review(review(&user, answer, seconds_ago), &Delivery::default())
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
