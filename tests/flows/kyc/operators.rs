//! What operators and the compliance officer do from the command line.

use drop_tests::app::TestApp;
use serde_json::{Value, json};

use super::scene::{people, sends, signed};
use crate::{operator::scene::audited, paying::execute};

const BY: [&str; 4] = ["--operator", "kari", "--reason", "the release can read them"];

async fn runs(app: &TestApp, arguments: &[&str]) -> (bool, String) {
    app.operator(env!("CARGO_BIN_EXE_drop-node"), arguments).await
}

async fn does(app: &TestApp, arguments: &[&str]) -> String {
    let (succeeded, said) = runs(app, arguments).await;
    assert!(succeeded, "{arguments:?}: {said}");
    said
}

async fn json_of(app: &TestApp, arguments: &[&str]) -> Value {
    serde_json::from_str(&does(app, &[arguments, &["--json"]].concat()).await).unwrap()
}

fn with_by<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, BY.as_slice()].concat()
}

/// The options that say which events of this state somebody saw in the list.
async fn waiting(app: &TestApp, state: &str) -> [String; 2] {
    let listed = json_of(app, &["webhooks", "list", "--state", state]).await;
    let events = listed.as_array().unwrap();
    let id = |event: &Value| event["id"].as_str().unwrap().to_owned();
    [
        format!("--newest={}", id(events.first().unwrap())),
        format!("--oldest={}", id(events.last().unwrap())),
    ]
}

#[tokio::test]
async fn events_are_listed_by_state_and_type_and_shown_with_their_bodies() {
    let app = TestApp::start().await;
    assert_eq!(signed(&app, "no\u{1b}[2J JSON").await.0, 400);
    sends(
        &app,
        &json!({ "type": "applicantCreated", "externalUserId": "usr_unknown", "applicantId": "a\u{7}b" }),
    )
    .await;
    app.until_idle().await;
    let quarantined = json_of(&app, &["webhooks", "list", "--state", "quarantined"]).await;
    assert_eq!(quarantined.as_array().unwrap().len(), 1);
    assert_eq!(quarantined[0]["note"], "not a JSON object");
    let all = json_of(&app, &["webhooks", "list"]).await;
    assert_eq!(all.as_array().unwrap().len(), 2);
    let older = json_of(&app, &["webhooks", "list", "--before", all[0]["id"].as_str().unwrap()]).await;
    assert_eq!(older.as_array().unwrap()[..], all.as_array().unwrap()[1..]);
    let typed = json_of(&app, &["webhooks", "list", "--type", "applicantCreated"]).await;
    assert_eq!(typed[0]["state"], "unmatched");

    let id = quarantined[0]["id"].as_str().unwrap();
    let shown = json_of(&app, &["webhooks", "show", id]).await;
    assert_eq!(
        (&shown["body"], &shown["state"]),
        (&json!("no\u{1b}[2J JSON"), &json!("quarantined"))
    );
    let unmatched = json_of(&app, &["webhooks", "show", typed[0]["id"].as_str().unwrap()]).await;
    assert_eq!(unmatched["jobs"][0]["state"], "done");
    // Whatever was sent, it does nothing to the terminal of whoever looks at it.
    let table = does(&app, &["webhooks", "show", id]).await + &does(&app, &["webhooks", "list"]).await;
    assert!(
        table.contains("JSON") && !table.contains(['\u{1b}', '\u{7}']),
        "{table:?}"
    );
    let (found, said) = runs(&app, &["webhooks", "show", "evt_0190a5a47c7e7d5ab8a1f2d3c4b5a697"]).await;
    assert!(!found && said.contains("there is no event"), "{said}");
    app.finish().await;
}

#[tokio::test]
async fn what_waits_is_applied_again_by_state_as_often_as_one_likes_and_audited_once_each() {
    let app = TestApp::start().await;
    let person = people(&app.db, 1).await.remove(0);
    // A release that could not read it, and one event that was applied.
    let green = person.event(
        "applicantReviewed",
        json!({ "reviewResult": { "reviewAnswer": "GREEN" } }),
    );
    sends(&app, &green).await;
    sends(&app, &person.event("applicantPending", json!({}))).await;
    app.until_idle().await;
    execute(
        &app,
        "UPDATE webhook_events SET state = 'quarantined', applied_at = NULL WHERE event_type = 'applicantReviewed';
         DELETE FROM notifications; DELETE FROM aml_cases; DELETE FROM screening_results;
         UPDATE users SET kyc_status = 'pending'; UPDATE kyc_applicants SET last_decision = NULL, last_event_at = NULL",
    )
    .await;
    let seen = waiting(&app, "quarantined").await;
    let replay = with_by(
        &[
            &["webhooks", "replay", "--state", "quarantined"],
            seen.each_ref().map(String::as_str).as_slice(),
        ]
        .concat(),
    );
    assert!(does(&app, &replay).await.contains("webhook.replayed: 1"));
    app.until_idle().await;
    assert_eq!(
        (person.status(&app).await.as_str(), person.told(&app).await.len()),
        ("approved", 1)
    );

    assert!(
        does(&app, &replay).await.contains("webhook.replayed: 0"),
        "nothing is left in that state"
    );
    let all = json_of(&app, &["webhooks", "list"]).await;
    let ids: Vec<&str> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["id"].as_str().unwrap())
        .collect();
    let again = with_by(&[&["webhooks", "replay"], ids.as_slice()].concat());
    assert!(
        does(&app, &again).await.contains("webhook.replayed: 0"),
        "those that were applied are left alone"
    );
    app.until_idle().await;
    assert_eq!(person.told(&app).await.len(), 1);
    let audited = audited(&app).await;
    let [(action, _, detail)] = &audited[..] else {
        panic!("{audited:?}");
    };
    assert_eq!(action, "webhook.replayed");
    assert_eq!(
        (&detail["operator"], &detail["reason"]),
        (&json!("kari"), &json!("the release can read them"))
    );

    let unknown = with_by(&["webhooks", "replay", ids[0], "evt_0190a5a47c7e7d5ab8a1f2d3c4b5a697"]);
    let (done, said) = runs(&app, &unknown).await;
    assert!(!done && said.contains("nothing was changed"), "{said}");
    let (done, said) = runs(&app, &["webhooks", "replay", ids[0], "--operator", "kari"]).await;
    assert!(!done && said.contains("--reason"), "{said}");
    app.finish().await;
}

#[tokio::test]
async fn an_event_that_waits_for_its_applicant_is_applied_by_a_replay_once_that_is_known() {
    let app = TestApp::start().await;
    let mut stranger = people(&app.db, 1).await.remove(0);
    let known = std::mem::replace(&mut stranger.applicant, "of-nobody-yet".to_owned());
    stranger.user = "usr_unknown".to_owned();
    sends(
        &app,
        &stranger.event(
            "applicantReviewed",
            json!({ "externalUserId": null, "reviewResult": { "reviewAnswer": "GREEN" } }),
        ),
    )
    .await;
    app.until_idle().await;
    let seen = waiting(&app, "unmatched").await;
    let replay = with_by(
        &[
            &["webhooks", "replay", "--state", "unmatched"],
            seen.each_ref().map(String::as_str).as_slice(),
        ]
        .concat(),
    );
    does(&app, &replay).await;
    app.until_idle().await;
    assert_eq!(
        json_of(&app, &["webhooks", "list", "--state", "unmatched"])
            .await
            .as_array()
            .unwrap()
            .len(),
        1
    );
    execute(
        &app,
        &format!("UPDATE kyc_applicants SET applicant_id = 'of-nobody-yet' WHERE applicant_id = '{known}'"),
    )
    .await;
    does(&app, &replay).await;
    app.until_idle().await;
    assert_eq!(
        json_of(&app, &["webhooks", "list", "--state", "applied"])
            .await
            .as_array()
            .unwrap()
            .len(),
        1
    );
    app.finish().await;
}

#[tokio::test]
async fn what_will_never_be_anybodys_is_dismissed_and_keeps_its_body() {
    let app = TestApp::start().await;
    assert_eq!(signed(&app, "no JSON").await.0, 400);
    let id = json_of(&app, &["webhooks", "list"]).await[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let dismiss = with_by(&["webhooks", "dismiss", &id]);
    does(&app, &dismiss).await;
    assert!(!runs(&app, &dismiss).await.0, "once");
    let shown = json_of(&app, &["webhooks", "show", &id]).await;
    assert_eq!(
        (&shown["state"], &shown["note"], &shown["body"]),
        (&json!("recorded"), &json!("dismissed"), &json!("no JSON"))
    );
    assert_eq!(audited(&app).await[0].0, "webhook.dismissed");
    app.finish().await;
}

#[tokio::test]
async fn a_case_is_listed_with_its_labels_and_closed_once_with_what_was_found() {
    let app = TestApp::start().await;
    let person = people(&app.db, 1).await.remove(0);
    let refused = json!({ "reviewResult": { "reviewAnswer": "RED", "rejectLabels": ["FORGERY", "PEP"] } });
    sends(&app, &person.event("applicantReviewed", refused)).await;
    app.until_idle().await;
    let open = json_of(&app, &["cases", "list"]).await;
    assert_eq!(
        (&open[0]["user"], &open[0]["reject_labels"]),
        (&json!(person.user), &json!(["FORGERY", "PEP"]))
    );
    let id = open[0]["id"].as_str().unwrap();
    let close = with_by(&["cases", "close", id, "--finding", "reported"]);
    does(&app, &close).await;
    assert!(!runs(&app, &close).await.0, "once");
    assert_eq!(json_of(&app, &["cases", "list"]).await, json!([]));
    assert_eq!(
        json_of(&app, &["cases", "list", "--all"]).await[0]["finding"],
        "reported"
    );
    let audited = audited(&app).await;
    assert_eq!(
        (audited.len(), audited[0].0.as_str(), &audited[0].1),
        (1, "aml.case_closed", &id.to_owned())
    );
    app.finish().await;
}
