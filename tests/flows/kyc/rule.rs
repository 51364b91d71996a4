//! The written rule, line by line: what an event does to somebody, after what came before it.

use drop_tests::{alerts, app::TestApp, person::browser};
use serde_json::{Value, json};

use super::scene::{Checked, past, people, sends, sends_by};

/// What came before, as `event@minute`; the event; what becomes of it; the status after it; what the person is told.
type Line = (&'static str, &'static str, &'static str, &'static str, &'static str);

const VERIFIED: &str = "Du er nå verifisert";
const REFUSED: &str = "Verifisering avslått";
const TRY_AGAIN: &str = "Vennligst prøv igjen";
const ANEW: &str = "Du må verifisere deg på nytt";
const PAUSED: &str = "Verifiseringen din er satt på pause";

#[rustfmt::skip]
const RULE: &[Line] = &[
    // The type decides before the result, and only a completed review approves or rejects.
    ("", "green@10", "applied", "approved", VERIFIED),
    ("", "green_without_status@10", "applied", "approved", VERIFIED),
    ("", "green_of_workflow@10", "applied", "approved", VERIFIED),
    ("", "green_while_pending@10", "recorded", "pending", ""),
    ("", "red@10", "applied", "rejected", REFUSED),
    ("", "red_final@10", "applied", "rejected", REFUSED),
    ("", "red_of_another_kind@10", "applied", "rejected", REFUSED),
    ("", "red_retry@10", "applied", "pending", TRY_AGAIN),
    ("", "retry@10", "applied", "pending", TRY_AGAIN),
    ("", "yellow@10", "recorded", "pending", ""),
    ("", "no_answer@10", "recorded", "pending", ""),
    ("", "pending@10", "audited", "pending", ""),
    ("", "pending_with_green@10", "audited", "pending", ""),
    ("", "prechecked@10", "audited", "pending", ""),
    ("", "hold@10", "audited", "pending", ""),
    ("", "reset@10", "applied", "pending", ANEW),
    ("", "reset_with_green@10", "applied", "pending", ANEW),
    ("", "deactivated@10", "applied", "pending", PAUSED),
    ("", "activated@10", "recorded", "pending", ""),
    ("", "created@10", "recorded", "pending", ""),
    ("", "action_with_green@10", "recorded", "pending", ""),
    ("", "unheard_of@10", "recorded", "pending", ""),
    ("", "no_type@10", "recorded", "pending", ""),
    // Of whom and of what: another level is nobody's; the sandbox is believed outside production.
    ("", "green_of_another_level@10", "recorded", "pending", ""),
    ("", "green_without_level@10", "applied", "approved", VERIFIED),
    ("", "green_of_sandbox@10", "applied", "approved", VERIFIED),
    // Without a time, an event counts as of its arrival; and so it does when it claims the future.
    ("red@10", "green_without_time@0", "applied", "approved", VERIFIED),
    ("red@10", "green@60000000", "applied", "approved", VERIFIED),
    ("red@60000000", "green_without_time@0", "applied", "approved", VERIFIED),
    // The current decision is what an event is compared with, not any past one.
    ("green@10", "green@20", "same_state", "approved", ""),
    ("red@10", "red@20", "same_state", "rejected", ""),
    ("reset@10", "reset@20", "same_state", "pending", ""),
    ("deactivated@10", "deactivated@20", "same_state", "pending", ""),
    ("green@10 red@20", "green@30", "applied", "approved", VERIFIED),
    // Each retry tells the person again.
    ("retry@10", "retry@20", "applied", "pending", TRY_AGAIN),
    // Strictly older is stale, whatever it says; equal times keep the order of arrival.
    ("green@10", "red@5", "stale", "approved", ""),
    ("green@10", "reset@5", "stale", "approved", ""),
    ("green@10", "pending@5", "stale", "approved", ""),
    ("green@10 red@20", "green@15", "stale", "rejected", ""),
    ("green@10", "red@10", "applied", "rejected", REFUSED),
    ("green@10 green@30", "red@20", "stale", "approved", ""),
    // An approval can be lost.
    ("green@10", "red@20", "applied", "rejected", REFUSED),
    ("green@10", "retry@20", "applied", "pending", TRY_AGAIN),
    ("green@10", "reset@20", "applied", "pending", ANEW),
    ("green@10", "deactivated@20", "applied", "pending", PAUSED),
    ("green@10 reset@20", "green@30", "applied", "approved", VERIFIED),
    // Pending and hold never lower an approval, and never hide what was decided before them.
    ("green@10", "pending@20", "audited", "approved", ""),
    ("green@10", "hold@20", "audited", "approved", ""),
    ("pending@20", "green@10", "applied", "approved", VERIFIED),
    ("hold@20", "red@10", "applied", "rejected", REFUSED),
    // After a retry or a reset they begin a new attempt, and the same decision is news.
    ("reset@10 pending@20", "reset@30", "applied", "pending", ANEW),
    ("deactivated@10 pending@20", "deactivated@30", "same_state", "pending", ""),
];

/// The event that a word stands for, so many minutes after a time that is long past.
fn event(person: &Checked, word: &str) -> Value {
    let (name, minute) = word.split_once('@').expect("word@minute");
    let at = past(minute.parse().unwrap());
    let at = at.format("%Y-%m-%dT%H:%M:00.000Z").to_string();
    let said = |answer: &str| json!({ "createdAt": at, "reviewStatus": "completed", "reviewResult": { "reviewAnswer": answer } });
    let plain = |status: &str| json!({ "createdAt": at, "reviewStatus": status });
    let reviewed = |said: Value| person.event("applicantReviewed", said);
    let but = |mut said: Value, member: &str, value: Value| {
        said[member] = value;
        said
    };
    let rejected = |kind: &str| {
        but(
            said("RED"),
            "reviewResult",
            json!({ "reviewAnswer": "RED", "reviewRejectType": kind }),
        )
    };
    match name {
        "green" => reviewed(said("GREEN")),
        "green_without_status" => reviewed(but(said("GREEN"), "reviewStatus", Value::Null)),
        "green_of_workflow" => person.event("applicantWorkflowCompleted", said("GREEN")),
        "green_while_pending" => reviewed(but(said("GREEN"), "reviewStatus", json!("pending"))),
        "green_of_another_level" => reviewed(but(said("GREEN"), "levelName", json!("Basic-KYC-level"))),
        "green_without_level" => reviewed(but(said("GREEN"), "levelName", Value::Null)),
        "green_of_sandbox" => reviewed(but(said("GREEN"), "sandboxMode", json!(true))),
        "green_without_time" => reviewed(but(said("GREEN"), "createdAt", Value::Null)),
        "red" => reviewed(said("RED")),
        "red_final" => reviewed(rejected("FINAL")),
        "red_of_another_kind" => reviewed(rejected("EXTERNAL")),
        "red_retry" => reviewed(rejected("RETRY")),
        "retry" => reviewed(said("RETRY")),
        "yellow" => reviewed(said("YELLOW")),
        "no_answer" => reviewed(plain("completed")),
        "pending" => person.event("applicantPending", plain("pending")),
        "pending_with_green" => person.event("applicantPending", said("GREEN")),
        "prechecked" => person.event("applicantPrechecked", plain("queued")),
        "hold" => person.event("applicantOnHold", plain("onHold")),
        "reset" => person.event("applicantReset", plain("init")),
        "reset_with_green" => person.event("applicantReset", but(said("GREEN"), "reviewStatus", json!("init"))),
        "deactivated" => person.event("applicantDeactivated", plain("completed")),
        "activated" => person.event("applicantActivated", said("GREEN")),
        "created" => person.event("applicantCreated", plain("init")),
        "action_with_green" => person.event("applicantActionReviewed", said("GREEN")),
        "unheard_of" => person.event("applicantTurnedInsideOut", said("GREEN")),
        "no_type" => but(reviewed(said("GREEN")), "type", Value::Null),
        _ => panic!("no event {name}"),
    }
}

#[tokio::test]
async fn every_line_of_the_written_rule_holds() {
    let app = TestApp::start().await;
    app.stop_worker().await;
    let people = people(&app.db, i32::try_from(RULE.len()).unwrap()).await;
    let client = browser();
    for (person, (before, word, ..)) in people.iter().zip(RULE) {
        for word in before.split_whitespace().chain([*word]) {
            sends_by(&client, &app, &event(person, word)).await;
        }
    }
    app.run_jobs().await;
    for (person, (before, word, state, status, told)) in people.iter().zip(RULE) {
        let line = format!("{before} {word}");
        assert_eq!(
            person.states(&app).await.last().map(String::as_str),
            Some(*state),
            "{line}"
        );
        assert_eq!(person.status(&app).await, *status, "{line}");
        let (all, results) = (person.told(&app).await, person.results(&app).await);
        assert_eq!(all.len(), results.len(), "{line}: one message for each result");
        if *state == "applied" {
            assert_eq!(all.last().map(String::as_str), Some(*told), "{line}");
        } else {
            assert!(
                told.is_empty() && all.len() <= before.split_whitespace().count(),
                "{line}: {all:?}"
            );
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn every_applied_event_has_one_audit_row_and_a_refusal_opens_a_case() {
    let app = TestApp::start().await;
    app.stop_worker().await;
    let person = people(&app.db, 1).await.remove(0);
    for word in [
        "pending@5",
        "green@10",
        "green@12",
        "hold@15",
        "red_final@20",
        "red@25",
        "green@7",
    ] {
        let mut event = event(&person, word);
        if word == "red_final@20" {
            event["reviewResult"]["rejectLabels"] = json!(["FORGERY", "BLACKLIST"]);
        }
        sends(&app, &event).await;
    }
    app.run_jobs().await;
    let audited: Vec<(String, i64)> = sqlx::query_as(
        "SELECT action, count(*) FROM audit_log WHERE action LIKE 'kyc.%' OR action LIKE 'aml.%' GROUP BY 1 ORDER BY 1",
    )
    .fetch_all(&app.db)
    .await
    .unwrap();
    let expected = [
        ("aml.case_opened", 1),
        ("kyc.decided", 2),
        ("kyc.progress", 2),
        ("kyc.same_state", 2),
        ("kyc.stale_event", 1),
    ];
    assert_eq!(audited, expected.map(|(action, count)| (action.to_owned(), count)));
    let labels: Vec<Vec<String>> = sqlx::query_scalar("SELECT reject_labels FROM aml_cases WHERE closed_at IS NULL")
        .fetch_all(&app.db)
        .await
        .unwrap();
    assert_eq!(labels, [["FORGERY", "BLACKLIST"]]);
    let of_person: bool = sqlx::query_scalar(
        "SELECT bool_and(u.kyc_status = 'rejected') FROM aml_cases c JOIN users u ON u.id = c.user_id",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert!(of_person);
    app.finish().await;
}

/// Somebody must look at the clock, and somebody else at the person.
#[tokio::test]
async fn a_refusal_that_claims_the_future_raises_both_alerts() {
    alerts::listen();
    let app = TestApp::start().await;
    let person = people(&app.db, 1).await.remove(0);
    sends(&app, &event(&person, "red@60000000")).await;
    app.until_idle().await;
    let id: uuid::Uuid = sqlx::query_scalar("SELECT id FROM webhook_events")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(
        alerts::about(&format!("evt_{}", id.simple())),
        ["kyc_event", "aml_case"]
    );
    app.finish().await;
}
