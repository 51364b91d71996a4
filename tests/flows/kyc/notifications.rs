//! What people are told: theirs to read, page by page, and handed to the sender until it takes it.

use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use drop_common::{
    metrics::{Metrics, Process},
    queue::{self, Wake, payloads::SweepOutbox},
};
use drop_tests::{app::TestApp, person::browser};
use drop_worker::{
    Context,
    sender::{NotTaken, Outgoing, Sender, Sending},
};
use serde_json::{Value, json};

use crate::paying::{execute, value};

const ROUTE: &str = "/v1/me/notifications";

/// Notifications of the only user, numbered in the order of their making.
async fn told(app: &TestApp, count: usize) {
    for number in 1..=count {
        sqlx::query(
            "INSERT INTO notifications (id, user_id, kind, title, body, subject, delivered_at)
             SELECT $1, id, 'kyc', 'Nr. ' || $2, '', 'test ' || $2, now() FROM users WHERE first_name = 'Anna'",
        )
        .bind(uuid::Uuid::now_v7())
        .bind(number.to_string())
        .execute(&app.db)
        .await
        .unwrap();
    }
}

fn titles(page: &Value) -> Vec<&str> {
    let listed = page["notifications"].as_array().unwrap();
    listed.iter().map(|told| told["title"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_person_reads_what_they_were_told_newest_first_and_page_by_page() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    assert_eq!(anna.get(ROUTE).await.body, json!({ "notifications": [] }));
    told(&app, 101).await;
    let first = anna.get(ROUTE).await.body;
    assert_eq!((titles(&first).len(), titles(&first)[0]), (50, "Nr. 101"));
    let second = anna
        .get(&format!("{ROUTE}?before={}", first["next"].as_str().unwrap()))
        .await
        .body;
    assert_eq!((titles(&second).len(), titles(&second)[0]), (50, "Nr. 51"));
    let last = anna
        .get(&format!("{ROUTE}?before={}", second["next"].as_str().unwrap()))
        .await
        .body;
    assert_eq!((titles(&last), last.get("next")), (vec!["Nr. 1"], None));
    assert_eq!(
        anna.get(&format!("{ROUTE}?before=nonsense")).await.problem(),
        (422, "validation_failed")
    );
    app.finish().await;
}

#[tokio::test]
async fn reading_is_marked_once_and_only_by_the_one_who_was_told() {
    let app = TestApp::start().await;
    let (anna, marko) = (app.signed_in("anna").await, app.signed_in("marko").await);
    told(&app, 1).await;
    let id = anna.get(ROUTE).await.body["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let read = format!("{ROUTE}/{id}/read");
    assert_eq!(marko.get(ROUTE).await.body, json!({ "notifications": [] }));
    assert_eq!(marko.post(&read, &json!({})).await.problem(), (404, "not_found"));
    assert!(anna.get(ROUTE).await.body["notifications"][0].get("readAt").is_none());
    assert_eq!(anna.post(&read, &json!({})).await.status, 204);
    let first = anna.get(ROUTE).await.body["notifications"][0]["readAt"].clone();
    assert!(first.is_string());
    assert_eq!(anna.post(&read, &json!({})).await.status, 204);
    assert_eq!(anna.get(ROUTE).await.body["notifications"][0]["readAt"], first);
    for unknown in ["ntf_0190a5a47c7e7d5ab8a1f2d3c4b5a697", "nonsense"] {
        let answer = anna.post(&format!("{ROUTE}/{unknown}/read"), &json!({})).await;
        assert_eq!(answer.problem(), (404, "not_found"));
    }
    let nobody = browser().get(format!("{}{ROUTE}", app.url)).send().await.unwrap();
    assert_eq!(nobody.status(), 401);
    app.finish().await;
}

/// Takes what it is given after having refused it so many times.
struct Reluctant {
    refuses: Mutex<u32>,
    taken: Mutex<Vec<(String, String)>>,
}

impl Sender for Reluctant {
    fn send<'a>(&'a self, outgoing: &'a Outgoing) -> Sending<'a> {
        let mut left = self.refuses.lock().unwrap();
        let refused = *left > 0;
        *left = left.saturating_sub(1);
        if !refused {
            let taken = (outgoing.id.to_string(), outgoing.title.clone());
            self.taken.lock().unwrap().push(taken);
        }
        Box::pin(async move { if refused { Err(NotTaken("it is night")) } else { Ok(()) } })
    }
}

async fn run_jobs(app: &TestApp, sender: &Arc<Reluctant>) {
    let (_, settings) = app.settings_with(&[]);
    let metrics = Arc::new(Metrics::new(Process::Worker, "test", "test").unwrap());
    let clock = drop_common::clock::Clock::real();
    let context = Context::new(settings, app.db.clone(), clock, metrics, Wake::default()).unwrap();
    let context = context.with_sender(Arc::<Reluctant>::clone(sender));
    queue::drain(&app.db, drop_worker::registry(), Arc::new(context))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_notification_is_handed_over_until_it_is_taken_and_the_status_does_not_wait_for_that() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    app.stop_worker().await;
    let sender = Arc::new(Reluctant {
        refuses: Mutex::new(2),
        taken: Mutex::default(),
    });
    let asked = json!({ "email": "anna@example.com" });
    assert_eq!(anna.post_later("/v1/kyc/applicant", "unused", &asked).await.status, 202);
    run_jobs(&app, &sender).await;
    let review = drop_sandbox::Review::of(&anna.user, "GREEN");
    let sent = app
        .sandbox
        .sumsub()
        .review(review, &drop_sandbox::Delivery::default())
        .await;
    assert_eq!(sent.unwrap().statuses, [Some(200)]);
    for _ in 0..3 {
        assert!(sender.taken.lock().unwrap().is_empty());
        run_jobs(&app, &sender).await;
        assert_eq!(anna.get("/v1/kyc").await.body["status"], "approved");
        app.advance(TimeDelta::minutes(1)).await;
    }
    let listed = anna.get(ROUTE).await.body["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let taken = vec![(listed, "Du er nå verifisert".to_owned())];
    assert_eq!(*sender.taken.lock().unwrap(), taken);
    run_jobs(&app, &sender).await;
    assert_eq!(*sender.taken.lock().unwrap(), taken, "once");
    let left: i64 = value(&app, "SELECT count(*) FROM notifications WHERE delivered_at IS NULL").await;
    assert_eq!(left, 0);
    app.finish().await;
}

#[tokio::test]
async fn a_notification_without_a_job_is_found_and_delivered() {
    let app = TestApp::start().await;
    app.signed_in("anna").await;
    app.stop_worker().await;
    told(&app, 1).await;
    execute(&app, "UPDATE notifications SET delivered_at = NULL").await;
    for (minutes, left) in [(1, 1_i64), (5, 0)] {
        app.advance(TimeDelta::minutes(minutes)).await;
        let mut tx = app.db.begin().await.unwrap();
        queue::enqueue(&mut tx, &SweepOutbox {}).await.unwrap();
        tx.commit().await.unwrap();
        app.run_jobs().await;
        let undelivered = "SELECT count(*) FROM notifications WHERE delivered_at IS NULL";
        assert_eq!(value::<i64>(&app, undelivered).await, left);
    }
    app.finish().await;
}
