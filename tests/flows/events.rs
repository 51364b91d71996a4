//! Following a payment by server-sent events.

use std::{sync::Arc, time::Duration};

use drop_tests::{
    app::TestApp,
    ledger::Ledger,
    person::{Answer, SignedIn, browser},
};
use reqwest::Response;
use serde_json::Value;
use tokio::time::timeout;

use crate::paying::{approved, pays};

/// Longer than the slow timer: what does not come within this does not come.
const LONG: Duration = Duration::from_secs(20);

/// A stream under way.
struct Stream {
    response: Response,
    text: String,
    /// Whose it is, and where what it shows is kept.
    user: String,
    ledger: Arc<Ledger>,
}

impl Stream {
    async fn open(app: &TestApp, person: &SignedIn<'_>, id: &str, seen: Option<&str>) -> Self {
        let request = person.getting(&format!("/v1/transactions/{id}/events"));
        let request = match seen {
            Some(seen) => request.header("Last-Event-ID", seen),
            None => request,
        };
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{}", app.url);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self {
            response,
            text: String::new(),
            user: person.user.clone(),
            ledger: Arc::clone(&app.ledger),
        }
    }

    /// The next event's id and the payment in it; `None` at the end of the stream.
    async fn next(&mut self) -> Option<(i64, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let line = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .map(str::to_owned)
                };
                // A comment keeps the connection alive.
                let Some(data) = line("data: ") else { continue };
                let payment: Value = serde_json::from_str(&data).unwrap();
                self.ledger.see(&self.user, &payment);
                return Some((line("id: ").unwrap().parse().unwrap(), payment));
            }
            let chunk = timeout(LONG, self.response.chunk()).await.expect("the stream goes on");
            self.text.push_str(std::str::from_utf8(&chunk.unwrap()?).unwrap());
        }
    }

    async fn rest(&mut self) -> Vec<(i64, Value)> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

#[tokio::test]
async fn a_payment_is_followed_from_where_it_stands_to_the_banks_last_word() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let payment = pays(&anna, &account, "first").await;
    let id = payment.body["id"].as_str().unwrap();
    let mut stream = Stream::open(&app, &anna, id, None).await;
    let (version, first) = stream.next().await.unwrap();
    assert_eq!(
        (&first["status"], &first["version"]),
        (&"processing".into(), &version.into())
    );
    assert_eq!(first["id"], id);

    let back = approved(&app, payment.body["scaRedirect"].as_str().unwrap());
    browser().get(back).send().await.unwrap();
    let events = stream.rest().await;
    let (last, shown) = events.last().unwrap();
    assert_eq!(
        (&shown["status"], &shown["bankFinal"]),
        (&"completed".into(), &true.into())
    );
    assert!(events.is_sorted_by(|(one, _), (other, _)| one < other) && events[0].0 > version);

    // A stream that broke off comes back with what it has seen.
    let mut again = Stream::open(&app, &anna, id, Some(&version.to_string())).await;
    assert_eq!(again.rest().await, [(*last, shown.clone())]);
    let over = anna
        .getting(&format!("/v1/transactions/{id}/events"))
        .header("Last-Event-ID", last.to_string());
    assert_eq!(
        over.send().await.unwrap().status(),
        204,
        "a browser does not come back any more"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_stream_ends_with_the_session_that_opened_it() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let payment = pays(&anna, &account, "first").await;
    let id = payment.body["id"].as_str().unwrap();
    let mut stream = Stream::open(&app, &anna, id, None).await;
    assert!(stream.next().await.is_some());
    let out = anna.post("/v1/auth/logout", &serde_json::json!({})).await;
    assert_eq!(out.status, 204);
    approved(&app, payment.body["scaRedirect"].as_str().unwrap());
    assert_eq!(stream.next().await, None, "nothing more is shown");
    app.until_idle().await;
    app.abandon().await;
}

#[tokio::test]
async fn only_the_owner_follows_a_payment() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let payment = pays(&anna, &account, "first").await;
    let id = payment.body["id"].as_str().unwrap().to_owned();
    let marko = app.signed_in("marko").await;
    for id in [id.as_str(), "tx_0190a5a47c7e7d5ab8a1f2d3c4b5a697", "x"] {
        let answer = marko.get(&format!("/v1/transactions/{id}/events")).await;
        assert_eq!(answer.problem(), (404, "not_found"), "{id}");
    }
    let nobody = browser()
        .get(format!("{}/v1/transactions/{id}/events", app.url))
        .send()
        .await;
    let nobody = Answer::of(nobody.unwrap()).await;
    assert_eq!(nobody.problem(), (401, "unauthenticated"));
    app.abandon().await;
}
