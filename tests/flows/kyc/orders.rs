//! In whatever order events come, how often, and beside how many workers: the newest decision is what counts.

use drop_tests::{app::TestApp, fleet::Fleet, person::browser};
use futures_util::future::join_all;
use reqwest::Client;
use serde_json::{Value, json};

use super::scene::{Checked, past, people, sends_by};

/// What happened, in order of its time; and the status it ends in.
const STORIES: [([&str; 5], &str); 2] = [
    (
        ["RETRY", "applicantPending", "RED", "applicantOnHold", "GREEN"],
        "approved",
    ),
    (
        ["GREEN", "RED", "GREEN", "applicantReset", "applicantPending"],
        "pending",
    ),
];

/// Every order of five things.
fn orders() -> Vec<[usize; 5]> {
    let mut orders = Vec::new();
    for code in 0..5_usize.pow(5) {
        let order = [code % 5, code / 5 % 5, code / 25 % 5, code / 125 % 5, code / 625];
        if (0..5).all(|thing| order.contains(&thing)) {
            orders.push(order);
        }
    }
    orders
}

fn events(person: &Checked, story: [&str; 5]) -> Vec<Value> {
    let events = story.iter().enumerate().map(|(at, word)| {
        let at = past(i64::try_from(at).unwrap());
        let at = at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        if word.starts_with("applicant") {
            return person.event(word, json!({ "createdAt": at }));
        }
        let said = json!({ "createdAt": at, "reviewResult": { "reviewAnswer": word } });
        person.event("applicantReviewed", said)
    });
    events.collect()
}

/// Sends them in this order, each twice and at once, and in the end the first of them under another name.
async fn lives_through(app: &TestApp, client: &Client, person: &Checked, story: [&str; 5], order: [usize; 5]) {
    let events = events(person, story);
    for at in order {
        tokio::join!(sends_by(client, app, &events[at]), sends_by(client, app, &events[at]));
    }
    let mut repeated = events[0].clone();
    repeated["correlationId"] = json!("told once more");
    sends_by(client, app, &repeated).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_of_five_events_with_repeats_ends_in_what_the_newest_decision_demands() {
    let fleet = Fleet {
        program: env!("CARGO_BIN_EXE_drop-node"),
        apis: 1,
        workers: 2,
    };
    let app = TestApp::start_fleet(fleet).await;
    let (orders, client) = (orders(), browser());
    assert_eq!(orders.len(), 120);
    for (story, ends) in STORIES {
        sqlx::query("TRUNCATE users CASCADE").execute(&app.db).await.unwrap();
        let people = people(&app.db, 120).await;
        for people in people.iter().zip(&orders).collect::<Vec<_>>().chunks(8) {
            join_all(
                people
                    .iter()
                    .map(|(person, order)| lives_through(&app, &client, person, story, **order)),
            )
            .await;
        }
        app.until_idle().await;
        for (person, order) in people.iter().zip(&orders) {
            let what = format!("{story:?} in the order {order:?}");
            assert_eq!(person.status(&app).await, ends, "{what}");
            let (told, results) = (person.told(&app).await, person.results(&app).await);
            assert_eq!(told.len(), results.len(), "{what}: one message for each change");
            let states = person.states(&app).await;
            assert_eq!(states.len(), 6, "{what}: five events and the repeat, each once");
            let applied = states.iter().filter(|state| *state == "applied").count();
            assert_eq!(applied, results.len(), "{what}: {states:?}");
            let changes = results.windows(2).all(|two| two[0] != two[1] || two[0] == "retry");
            assert!(changes, "{what}: {results:?}");
        }
    }
    app.finish().await;
}
