//! The operator's verbs: looking into the queue and changing it, each change with its audit row.

use drop_tests::app::{TestApp, eventually};
use serde_json::{Value, json};

use super::scene::{audited, payment_in_review};

const BY: [&str; 4] = ["--operator", "kari", "--reason", "the provider is well again"];

/// What the verb prints; it must succeed.
async fn does(app: &TestApp, arguments: &[&str]) -> String {
    let (succeeded, said) = app.operator(env!("CARGO_BIN_EXE_drop-node"), arguments).await;
    assert!(succeeded, "{arguments:?}: {said}");
    said
}

/// What the verb prints; it must fail.
async fn refuses(app: &TestApp, arguments: &[&str]) -> String {
    let (succeeded, said) = app.operator(env!("CARGO_BIN_EXE_drop-node"), arguments).await;
    assert!(!succeeded, "{arguments:?}: {said}");
    said
}

async fn json_of(app: &TestApp, arguments: &[&str]) -> Value {
    serde_json::from_str(&does(app, arguments).await).unwrap()
}

/// A job that died: the row it is about does not exist.
async fn dead_job(app: &TestApp) -> String {
    sqlx::query(
        "INSERT INTO jobs (kind, lane, payload, max_attempts)
         VALUES ('poll-payment', 3, '{\"payment\": \"0192f0c1-a2b3-7c4d-8e5f-60718293a4b5\"}', 5)",
    )
    .execute(&app.db)
    .await
    .unwrap();
    let dead = async || json_of(app, &["jobs", "list", "--state", "dead", "--json"]).await != json!([]);
    assert!(eventually(dead).await);
    json_of(app, &["jobs", "list", "--state", "dead", "--json"]).await[0]["id"].to_string()
}

#[tokio::test]
async fn a_dead_job_is_listed_shown_retried_and_discarded() {
    let app = TestApp::start().await;
    let id = dead_job(&app).await;
    let listed = does(
        &app,
        &["jobs", "list", "--lane", "payment.poll", "--kind", "poll-payment"],
    )
    .await;
    assert!(
        listed.contains(&id) && listed.contains("the payment is gone"),
        "{listed}"
    );
    let shown = json_of(&app, &["jobs", "show", &id, "--json"]).await;
    assert_eq!(shown["failures"][0]["error"], "the payment is gone");

    let retry = [["jobs", "retry", &id].as_slice(), &BY].concat();
    does(&app, &retry).await;
    let again = async || {
        let shown = json_of(&app, &["jobs", "show", &id, "--json"]).await;
        shown["state"] == "dead" && shown["failures"].as_array().unwrap().len() == 2
    };
    assert!(eventually(again).await, "it ran again, and is dead again");

    let discard = [["jobs", "discard", &id].as_slice(), &BY].concat();
    does(&app, &discard).await;
    assert!(refuses(&app, &["jobs", "show", &id]).await.contains("there is no job"));
    let audited = audited(&app).await;
    assert_eq!(audited.len(), 2);
    let (action, object, detail) = &audited[0];
    assert_eq!((action.as_str(), object), ("job.retried", &format!("job_{id}")));
    assert_eq!(
        *detail,
        json!({
            "operator": "kari", "reason": "the provider is well again", "kind": "poll-payment",
            "before": { "state": "dead", "attempts": 1 }, "after": { "state": "ready" },
        })
    );
    assert_eq!(audited[1].0, "job.discarded");
    app.finish().await;
}

#[tokio::test]
async fn a_mistyped_number_or_a_missing_reason_changes_nothing() {
    let app = TestApp::start().await;
    let id = dead_job(&app).await;
    let retry = [["jobs", "retry", &id, "999999"].as_slice(), &BY].concat();
    assert!(refuses(&app, &retry).await.contains("nothing was changed"));
    assert!(
        refuses(&app, &["jobs", "retry", &id, "--operator", "kari"])
            .await
            .contains("--reason")
    );
    assert_eq!(json_of(&app, &["jobs", "show", &id, "--json"]).await["state"], "dead");
    assert!(audited(&app).await.is_empty());
    app.abandon().await;
}

#[tokio::test]
async fn a_paused_lane_claims_nothing_until_it_is_resumed() {
    let app = TestApp::start().await;
    does(
        &app,
        &[["lanes", "pause", "kyc.call", "--until-resumed"].as_slice(), &BY].concat(),
    )
    .await;
    let anna = app.signed_in("anna").await;
    let accepted = anna
        .post_later("/v1/kyc/applicant", "unused", &json!({ "email": "anna@example.com" }))
        .await;
    assert_eq!(accepted.status, 202, "{:?}", accepted.problem());
    let stats = json_of(&app, &["stats", "--json"]).await;
    let lane = stats
        .as_array()
        .unwrap()
        .iter()
        .find(|lane| lane["lane"] == "kyc.call")
        .unwrap();
    assert_eq!((&lane["ready"], &lane["blocked"]), (&json!(1), &json!(true)));
    assert!(does(&app, &["stats"]).await.contains("kyc.call"));
    assert!(app.sandbox.sumsub().applicants().is_empty());
    let pause_again = [["lanes", "pause", "kyc.call", "--until-resumed"].as_slice(), &BY].concat();
    assert!(refuses(&app, &pause_again).await.contains("so already"));

    does(&app, &[["lanes", "resume", "kyc.call"].as_slice(), &BY].concat()).await;
    assert!(eventually(async || app.sandbox.sumsub().applicants().len() == 1).await);
    let actions: Vec<String> = audited(&app).await.into_iter().map(|(action, ..)| action).collect();
    assert_eq!(actions, ["lane.paused", "lane.resumed"]);
    app.finish().await;
}

#[tokio::test]
async fn retrying_a_payment_that_may_have_left_sends_nothing_again() {
    let app = TestApp::start().await;
    payment_in_review(&app).await;
    let dead = async || json_of(&app, &["jobs", "list", "--state", "dead", "--json"]).await != json!([]);
    assert!(eventually(dead).await);
    let id = json_of(&app, &["jobs", "list", "--state", "dead", "--json"]).await[0]["id"].to_string();
    does(&app, &[["jobs", "retry", &id].as_slice(), &BY].concat()).await;
    let done = async || json_of(&app, &["jobs", "show", &id, "--json"]).await["state"] == "done";
    assert!(eventually(done).await);
    let orders = app.sandbox.neonomics().journal();
    let orders = orders
        .iter()
        .filter(|entry| entry.method == "POST" && entry.path.contains("/payments/"));
    assert_eq!(orders.count(), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_waiting_job_that_is_cancelled_dies_as_one_that_came_too_late() {
    let app = TestApp::start().await;
    app.lane("kyc.apply", "paused = true").await;
    sqlx::query(
        "INSERT INTO jobs (kind, lane, payload, max_attempts)
         VALUES ('apply-kyc-event', 7, '{\"event\": \"0192f0c1-a2b3-7c4d-8e5f-60718293a4b5\"}', 5)",
    )
    .execute(&app.db)
    .await
    .unwrap();
    let id = json_of(&app, &["jobs", "list", "--kind", "apply-kyc-event", "--json"]).await[0]["id"].to_string();
    does(&app, &[["jobs", "cancel", &id].as_slice(), &BY].concat()).await;
    let dead = async || json_of(&app, &["jobs", "show", &id, "--json"]).await["state"] == "dead";
    assert!(eventually(dead).await);
    assert_eq!(
        json_of(&app, &["jobs", "show", &id, "--json"]).await["last_error"],
        "expired"
    );
    app.abandon().await;
}

#[tokio::test]
async fn a_circuit_is_opened_and_closed_by_hand_and_its_history_tells_it() {
    let app = TestApp::start().await;
    does(&app, &[["circuits", "open", "sumsub/api"].as_slice(), &BY].concat()).await;
    let open = json_of(&app, &["circuits", "list", "--json"]).await;
    let sumsub = open
        .as_array()
        .unwrap()
        .iter()
        .find(|circuit| circuit["key"] == "sumsub/api")
        .unwrap();
    assert_eq!(sumsub["open"], true);
    does(&app, &[["circuits", "reset", "sumsub/api"].as_slice(), &BY].concat()).await;
    let again = [["circuits", "reset", "sumsub/api"].as_slice(), &BY].concat();
    assert!(refuses(&app, &again).await.contains("so already"));
    let history = json_of(&app, &["circuits", "history", "--json"]).await;
    let became: Vec<_> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["became"].as_str().unwrap())
        .collect();
    assert_eq!(became, ["closed", "open"]);
    let actions: Vec<String> = audited(&app).await.into_iter().map(|(action, ..)| action).collect();
    assert_eq!(actions, ["breaker.opened", "breaker.reset"]);
    app.finish().await;
}

#[tokio::test]
async fn a_schedule_is_listed_with_its_slots_and_its_job_runs_when_somebody_says_so() {
    let app = TestApp::start().await;
    let took = async || !json_of(&app, &["cron", "list", "--json"]).await[2]["last"].is_null();
    assert!(eventually(took).await, "the worker takes the last slots when it starts");
    let listed = json_of(&app, &["cron", "list", "--json"]).await;
    let kyc = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|schedule| schedule["name"] == "reconcile-kyc")
        .unwrap();
    assert!(kyc["next"].as_str().unwrap() > kyc["last"].as_str().unwrap(), "{kyc}");
    let before = json_of(&app, &["jobs", "list", "--kind", "reconcile-kyc", "--json"])
        .await
        .as_array()
        .unwrap()
        .len();
    does(&app, &[["cron", "run", "reconcile-kyc"].as_slice(), &BY].concat()).await;
    let after = json_of(&app, &["jobs", "list", "--kind", "reconcile-kyc", "--json"]).await;
    assert_eq!(after.as_array().unwrap().len(), before + 1);
    assert!(
        refuses(&app, &[["cron", "run", "no-such"].as_slice(), &BY].concat())
            .await
            .contains("there is no schedule")
    );
    app.finish().await;
}
