//! Many webhooks at once share a statement and a commit, and nothing else.

use std::{future::pending, time::Duration};

use drop_tests::{
    app::{TestApp, eventually},
    person::{Answer, browser},
};
use futures_util::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use serde_json::{Value, json};

use super::scene::{people, posts_by, sends_by, signature};
use crate::paying::{execute, value};

async fn status(client: &reqwest::Client, app: &TestApp, event: &Value) -> u16 {
    let body = event.to_string();
    let digest = signature(body.as_bytes());
    let headers = [("x-payload-digest", digest.as_str())];
    posts_by(client, &app.url, body, &headers).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_database_refuses_takes_none_of_its_neighbours_with_it() {
    let app = TestApp::start().await;
    let person = people(&app.db, 1).await.remove(0);
    execute(
        &app,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN RAISE EXCEPTION ''no'' USING ERRCODE = ''23514''; END';
         CREATE TRIGGER refuse BEFORE INSERT ON webhook_events FOR EACH ROW WHEN (NEW.event_type = 'applicantReset')
           EXECUTE FUNCTION refuse()",
    )
    .await;
    let client = browser();
    let kinds = (0..100).map(|number| {
        if number % 10 == 0 {
            "applicantReset"
        } else {
            "applicantCreated"
        }
    });
    let events: Vec<Value> = kinds.map(|kind| person.event(kind, json!({}))).collect();
    let answers = join_all(events.iter().map(|event| status(&client, &app, event))).await;
    let (refused, taken): (Vec<u16>, Vec<u16>) = answers.into_iter().partition(|status| *status != 200);
    assert_eq!((refused.len(), taken.len()), (10, 90));
    assert!(refused.iter().all(|status| *status == 500));
    assert_eq!(value::<i64>(&app, "SELECT count(*) FROM webhook_events").await, 90);
    // Mended, they come again.
    execute(&app, "DROP TRIGGER refuse ON webhook_events").await;
    for event in events.iter().step_by(10) {
        sends_by(&client, &app, event).await;
    }
    app.until_idle().await;
    assert_eq!(
        value::<i64>(&app, "SELECT count(*) FROM webhook_events WHERE applied_at IS NOT NULL").await,
        100
    );
    app.finish().await;
}

/// Two statements that bring the same events in other orders would wait for each other in a circle.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_events_at_two_processes_at_once_are_stored_once_and_nobody_waits_in_a_circle() {
    let app = TestApp::start().await;
    let second = app.start_replica(&[]).await;
    let person = people(&app.db, 1).await.remove(0);
    // So slow that the statements of the two are under way together.
    execute(
        &app,
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.003); RETURN NEW; END';
         CREATE TRIGGER dawdle AFTER INSERT ON webhook_events FOR EACH ROW EXECUTE FUNCTION dawdle()",
    )
    .await;
    let client = browser();
    let sent = |url: String, body: String| {
        let client = &client;
        async move {
            let digest = signature(body.as_bytes());
            posts_by(client, &url, body, &[("x-payload-digest", digest.as_str())])
                .await
                .0
        }
    };
    for _ in 0..6 {
        let bodies: Vec<String> = (0..25)
            .map(|_| person.event("applicantCreated", json!({})).to_string())
            .collect();
        let forth = bodies.iter().map(|body| sent(app.url.clone(), body.clone()));
        let back = bodies.iter().rev().map(|body| sent(second.clone(), body.clone()));
        let (one, other) = tokio::join!(join_all(forth), join_all(back));
        assert!(one.iter().chain(&other).all(|status| *status == 200));
    }
    app.until_idle().await;
    let (events, jobs): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM webhook_events), (SELECT count(*) FROM jobs WHERE kind = 'apply-kyc-event')",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert_eq!((events, jobs), (150, 150));
    // A connection tells of a deadlock up to a second after it.
    tokio::time::timeout(Duration::from_millis(1_500), pending::<()>())
        .await
        .ok();
    let circles: i64 = value(
        &app,
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
    )
    .await;
    assert_eq!(circles, 0);
    app.finish().await;
}

/// 16 MiB wait behind the statements under way, and no more: a database that hangs must not fill the memory.
#[tokio::test(flavor = "multi_thread")]
async fn beyond_what_may_wait_a_webhook_is_told_at_once_when_to_come_again_and_nothing_is_lost() {
    let app = TestApp::start().await;
    let person = people(&app.db, 1).await.remove(0);
    let client = browser();
    let padding = "x".repeat(250 * 1024);
    let bodies: Vec<String> = (0..130)
        .map(|_| {
            person
                .event("applicantCreated", json!({ "padding": padding }))
                .to_string()
        })
        .collect();
    let sends = |body: String| {
        let digest = signature(body.as_bytes());
        let request = client.post(format!("{}/v1/webhooks/sumsub", app.url));
        let request = request.header("x-payload-digest", digest).body(body);
        async move { Answer::of(request.send().await.unwrap()).await }
    };
    let mut hanging = app.db.begin().await.unwrap();
    for statement in [
        "SET LOCAL idle_in_transaction_session_timeout = 0",
        "LOCK TABLE webhook_events IN EXCLUSIVE MODE",
    ] {
        sqlx::query(statement).execute(&mut *hanging).await.unwrap();
    }
    let mut hanging = Some(hanging);
    let mut answers: FuturesUnordered<_> = bodies.iter().cloned().map(sends).collect();
    while let Some(answer) = answers.next().await {
        assert!(matches!(answer.status.as_u16(), 200 | 503), "{:?}", answer.problem());
        assert_eq!(answer.retry_after.is_some(), answer.status == 503);
        if answer.problem() == (503, "overloaded")
            && let Some(hanging) = hanging.take()
        {
            hanging.rollback().await.unwrap();
        }
    }
    assert!(hanging.is_none(), "however many came, they were all let wait");
    let counted = app.scrape_api().await;
    assert!(!counted.contains("sumsub_webhook_failures_total{reason=\"storage\"} 0\n"));
    // They come again, and there is room.
    for few in bodies.chunks(16) {
        let sent = async || {
            let answers = join_all(few.iter().cloned().map(sends)).await;
            answers.iter().all(|answer| answer.status == 200)
        };
        assert!(eventually(sent).await);
    }
    app.until_idle().await;
    assert_eq!(value::<i64>(&app, "SELECT count(*) FROM webhook_events").await, 130);
    app.finish().await;
}
