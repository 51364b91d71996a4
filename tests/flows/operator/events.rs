//! The inbox of webhooks: what is shown of it, and having events applied again that were seen.

use drop_tests::{app::TestApp, person::browser};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    forms::forms_of,
    scene::{KARI, Visitor, audited, service},
};

/// So many events of this type come one after another and wait in this state. Their ids, the oldest first.
async fn come(app: &TestApp, state: &str, event_type: &str, count: usize) -> Vec<String> {
    let ids: Vec<Uuid> = (0..count).map(|_| Uuid::now_v7()).collect();
    sqlx::query(
        "INSERT INTO webhook_events (id, provider, event_key, event_type, raw, state, note)
         SELECT id, 'sumsub', id::text, $3, '{}', $2, 'no applicant' FROM unnest($1) id",
    )
    .bind(&ids)
    .bind(state)
    .bind(event_type)
    .execute(&app.db)
    .await
    .unwrap();
    ids.iter().map(|id| format!("evt_{}", id.simple())).collect()
}

/// Sends the form of this page that replays all.
async fn replays_all(kari: &mut Visitor, page: &str) {
    let form = forms_of(page)
        .into_iter()
        .find(|form| form.action.ends_with("/replay-all"));
    let form = form.unwrap_or_else(|| panic!("{page}"));
    let given: Vec<(&str, &str)> = form.ways[0]
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    kari.does(&form.action, &given).await;
}

/// The events that were replayed, in the order in which they were.
async fn replayed(app: &TestApp) -> Vec<String> {
    let done = audited(app).await.into_iter();
    done.filter(|(action, ..)| action == "webhook.replayed")
        .map(|(_, object, _)| object)
        .collect()
}

#[tokio::test]
async fn events_are_shown_by_state_replayed_and_dismissed_without_their_bodies() {
    let app = service().await;
    let events: Vec<uuid::Uuid> = sqlx::query_scalar(
        "INSERT INTO webhook_events (id, provider, event_key, event_type, raw, state, note)
         SELECT gen_random_uuid(), 'sumsub', 'key-' || n, 'applicantReviewed', '{\"canary\": \"body\"}', 'quarantined', 'no applicant'
           FROM generate_series(1, 2) n RETURNING id",
    )
    .fetch_all(&app.db)
    .await
    .unwrap();
    let ids: Vec<String> = events.iter().map(|id| format!("evt_{}", id.simple())).collect();
    let mut kari = Visitor::signed_in(&app, KARI).await;
    let list = kari.sees("/operator/webhooks?state=quarantined").await;
    assert!(ids.iter().all(|id| list.contains(id)));
    assert!(!kari.sees("/operator/webhooks?state=applied").await.contains(&ids[0]));
    let event = kari.sees(&format!("/operator/webhooks/{}", ids[0])).await;
    assert!(event.contains("no applicant") && !event.contains("canary"), "{event}");
    kari.does("/operator/webhooks/change", &[("id", &ids[0]), ("verb", "dismiss")])
        .await;
    let page = kari.sees("/operator/webhooks?state=quarantined").await;
    replays_all(&mut kari, &page).await;
    let audited = audited(&app).await;
    let done: Vec<_> = audited
        .iter()
        .map(|(action, object, _)| (action.as_str(), object.as_str()))
        .collect();
    assert_eq!(
        done,
        [
            ("webhook.dismissed", ids[0].as_str()),
            ("webhook.replayed", ids[1].as_str())
        ]
    );
    app.finish().await;
}

#[tokio::test]
async fn all_that_are_replayed_are_those_that_the_page_showed_and_no_others() {
    let app = service().await;
    app.lane("kyc.apply", "paused = true").await; // they shall stay as they are
    let seen = come(&app, "quarantined", "applicantReviewed", 3).await;
    come(&app, "quarantined", "applicantPending", 2).await;
    come(&app, "unmatched", "applicantReviewed", 1).await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    let page = kari
        .sees("/operator/webhooks?state=quarantined&type=applicantReviewed")
        .await;
    assert!(
        page.contains("All that are quarantined, applicantReviewed: 3"),
        "{page}"
    );
    // Somebody looks at it, and meanwhile one more comes.
    come(&app, "quarantined", "applicantReviewed", 1).await;
    replays_all(&mut kari, &page).await;
    assert_eq!(replayed(&app).await, seen, "as they came");
    // From a page further back on, only what is there.
    let older = format!("/operator/webhooks?state=quarantined&before={}", seen[1]);
    let page = kari.sees(&older).await;
    assert!(page.contains("All that are quarantined: 1"), "{page}");
    // However many others wait behind the first of them.
    let between = come(&app, "unmatched", "applicantReviewed", 1).await;
    come(&app, "received", "applicantReviewed", 5_000).await;
    let newest = come(&app, "unmatched", "applicantReviewed", 1).await;
    let page = kari.sees("/operator/webhooks?state=unmatched").await;
    assert!(page.contains("All that are unmatched: 1<"), "{page}");
    assert!(page.contains("Those behind them</a> are not counted."), "{page}");
    let seen_by_hand = [("state", "unmatched"), ("newest", &newest[0]), ("oldest", &between[0])];
    kari.does("/operator/webhooks/replay-all", &seen_by_hand).await;
    assert_eq!(replayed(&app).await[3..], [between, newest].concat());
    // A form that does not say what was seen does nothing.
    let unseen = kari
        .acts("/operator/webhooks/replay-all", &[("state", "quarantined")])
        .await;
    assert_eq!((unseen.status, replayed(&app).await.len()), (422, 5));
    app.abandon().await;
}

#[tokio::test]
async fn a_program_and_a_command_replay_what_they_saw_and_no_others() {
    let app = service().await;
    app.lane("kyc.apply", "paused = true").await;
    let url = format!("{}/operator/api/webhooks", app.worker_internal().await);
    let of_a_program = come(&app, "quarantined", "applicantReviewed", 2).await;
    let of_a_command = come(&app, "quarantined", "applicantPending", 2).await;
    come(&app, "quarantined", "applicantReviewed", 1).await;
    let asks = async |more: Value| {
        let mut body = json!({ "state": "quarantined", "type": "applicantReviewed", "reason": "ticket 12" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let request = browser().post(format!("{url}/replay")).bearer_auth(KARI).json(&body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    for unsaid in [
        json!({}),
        json!({ "newest": of_a_program[1] }),
        json!({ "oldest": of_a_program[0] }),
        json!({ "newest": "1", "oldest": of_a_program[0] }),
        json!({ "newest": of_a_program[0], "oldest": of_a_program[1] }),
    ] {
        assert_eq!(asks(unsaid.clone()).await.0, 422, "{unsaid}");
    }
    for more in ["type", "newest", "oldest"] {
        let body = json!({ "ids": of_a_program, "reason": "ticket 12", more: of_a_program[0] });
        let request = browser().post(format!("{url}/replay")).bearer_auth(KARI).json(&body);
        assert_eq!(request.send().await.unwrap().status().as_u16(), 422, "{body}");
    }
    let (status, done) = asks(json!({ "newest": of_a_program[1], "oldest": of_a_program[0] })).await;
    assert_eq!((status, &done["changed"]), (200, &json!(2)), "{done}");
    assert_eq!(replayed(&app).await, of_a_program);

    let by_state = [
        "webhooks",
        "replay",
        "--state",
        "quarantined",
        "--type",
        "applicantPending",
    ];
    let by = ["--operator", "kari", "--reason", "ticket 12"];
    let runs = async |bounds: &[&str]| {
        let arguments = [&by_state, bounds, &by].concat();
        app.operator(env!("CARGO_BIN_EXE_drop-node"), &arguments).await
    };
    let (done, said) = runs(&["--newest", &of_a_command[0]]).await;
    assert!(!done && said.contains("--oldest"), "{said}");
    let (done, said) = runs(&["--newest", &of_a_command[0], "--oldest", &of_a_command[0]]).await;
    assert!(done && said.contains("webhook.replayed: 1"), "{said}");
    assert_eq!(replayed(&app).await[2..], of_a_command[..1]);
    app.abandon().await;
}
