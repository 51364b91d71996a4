//! A person takes a bank's access back: at once here, and at the bank as soon as it can be told.

use chrono::TimeDelta;
use drop_sandbox::{Decision, Fault, Operation};
use drop_tests::{alerts, app::TestApp, person::SignedIn};
use rstest::rstest;
use serde_json::{Value, json};

use crate::balances::{count, plan_reads};

async fn consents(person: &SignedIn<'_>) -> Vec<Value> {
    let listed = person.get("/v1/bank-consents").await;
    assert_eq!(listed.status, 200, "{:?}", listed.problem());
    listed.body["consents"].as_array().unwrap().clone()
}

/// The path of the person's newest consent.
async fn newest(person: &SignedIn<'_>) -> String {
    format!(
        "/v1/bank-consents/{}",
        consents(person).await[0]["id"].as_str().unwrap()
    )
}

fn told_the_bank(app: &TestApp) -> usize {
    app.sandbox.journal().entries_of(Operation::ConsentDelete).len()
}

async fn ids_kept(app: &TestApp) -> i64 {
    count(
        app,
        "SELECT count(*) FROM bank_consents WHERE consent_id_sealed IS NOT NULL",
    )
    .await
}

#[tokio::test]
async fn a_bank_that_is_unlinked_is_read_no_more_and_its_consent_ends_there_too() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let path = newest(&anna).await;
    assert_eq!(anna.delete(&path).await.status, 204);
    assert_eq!(consents(&anna).await[0]["status"], "deleted");
    assert_eq!(anna.get("/v1/bank-accounts").await.body["accounts"], json!([]));
    let balance = anna.get(&format!("/v1/bank-accounts/{account}/balance")).await;
    assert_eq!(balance.problem(), (404, "not_found"));
    app.until_idle().await;
    assert_eq!(app.sandbox.neonomics().consents()[0].status, "terminatedByTpp");
    assert_eq!((told_the_bank(&app), ids_kept(&app).await), (1, 0));
    let audited: Vec<String> = sqlx::query_scalar(
        "SELECT action FROM audit_log WHERE action IN ('consent.unlinked', 'consent.ended_at_bank') ORDER BY id",
    )
    .fetch_all(&app.db)
    .await
    .unwrap();
    assert_eq!(audited, ["consent.unlinked", "consent.ended_at_bank"]);

    assert_eq!(anna.delete(&path).await.status, 204, "as often as one likes");
    let reads = app.sandbox.journal().entries_of(Operation::Balances).len();
    app.stop_worker().await;
    app.advance(TimeDelta::hours(7)).await;
    plan_reads(&app, 0).await;
    app.run_jobs().await;
    assert_eq!(app.sandbox.journal().entries_of(Operation::Balances).len(), reads);
    assert_eq!(told_the_bank(&app), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_bank_can_be_linked_again_after_it_was_unlinked() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    assert_eq!(anna.delete(&newest(&anna).await).await.status, 204);
    let linking = anna.post_once("/v1/bank-consents", "again").await;
    anna.decides(linking.body["scaRedirect"].as_str().unwrap(), Decision::Approve)
        .await;
    let linked = anna.get("/v1/bank-accounts").await.body["accounts"].take();
    assert_eq!(linked[0]["id"], account, "the account is the one it was");
    let standing: Vec<Value> = consents(&anna).await.iter().map(|one| one["status"].clone()).collect();
    assert_eq!(standing, ["valid", "deleted"]);
    app.finish().await;
}

#[tokio::test]
async fn a_consent_that_the_bank_does_not_know_any_more_has_ended() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.has_an_account().await;
    let at_bank = app.sandbox.neonomics().consents()[0].id.clone();
    app.sandbox
        .neonomics()
        .set_consent_status(&at_bank, "terminatedByTpp")
        .unwrap();
    assert_eq!(anna.delete(&newest(&anna).await).await.status, 204);
    app.until_idle().await;
    assert_eq!((told_the_bank(&app), ids_kept(&app).await), (1, 0));
    app.finish().await;
}

#[tokio::test]
async fn a_bank_that_is_away_is_told_when_it_is_back() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.has_an_account().await;
    app.stop_worker().await;
    app.sandbox.fault(Operation::ConsentDelete, Fault::status(503), 2);
    assert_eq!(anna.delete(&newest(&anna).await).await.status, 204);
    app.run_jobs().await;
    for _ in 0..2 {
        assert_eq!(ids_kept(&app).await, 1, "the bank does not know yet");
        app.advance(TimeDelta::seconds(30)).await;
        app.run_jobs().await;
    }
    assert_eq!((told_the_bank(&app), ids_kept(&app).await), (3, 0));
    app.finish().await;
}

#[tokio::test]
async fn a_bank_that_refuses_to_end_a_consent_is_somebody_s_to_look_at() {
    alerts::listen();
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.has_an_account().await;
    app.stop_worker().await;
    app.sandbox.fault(Operation::ConsentDelete, Fault::status(400), 1);
    let path = newest(&anna).await;
    assert_eq!(anna.delete(&path).await.status, 204);
    app.run_jobs().await;
    assert_eq!(ids_kept(&app).await, 1, "whoever looks needs it");
    assert_eq!(alerts::about(path.rsplit('/').next().unwrap()), ["consent_not_ended"]);
    assert_eq!(
        count(
            &app,
            "SELECT count(*) FROM jobs WHERE kind = 'end-consent' AND state = 'dead'"
        )
        .await,
        1
    );
    app.abandon().await;
}

#[tokio::test]
async fn a_consent_that_was_unlinked_before_its_approval_opens_no_account() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let linking = anna.post_once("/v1/bank-consents", "link").await;
    let link = linking.body["scaRedirect"].as_str().unwrap();
    app.stop_worker().await;
    assert_eq!(anna.delete(&newest(&anna).await).await.status, 204);
    let back = app.sandbox.bank().decide_at(link, Decision::Approve).unwrap().unwrap();
    let answer = drop_tests::person::browser().get(back).send().await.unwrap();
    assert!(!answer.status().is_server_error());
    app.run_jobs().await;
    assert_eq!(anna.get("/v1/bank-accounts").await.body["accounts"], json!([]));
    assert_eq!(consents(&anna).await[0]["status"], "deleted");
    assert_eq!(app.sandbox.neonomics().consents()[0].status, "terminatedByTpp");
    app.finish().await;
}

/// How a bank answers that does not end a consent which is not, or not any more, valid.
fn invalid() -> Fault {
    Fault::Status {
        code: 401,
        body: Some(json!({ "tppMessages": [{ "category": "ERROR", "code": "CONSENT_INVALID" }] })),
    }
}

#[rstest]
#[case::expired("expired")]
#[case::taken_back("revokedByPsu")]
#[case::rejected("rejected")]
#[tokio::test]
async fn a_bank_that_calls_a_consent_invalid_in_place_of_ending_it_is_asked_once_how_it_stands(#[case] word: &str) {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.has_an_account().await;
    let at_bank = app.sandbox.neonomics().consents()[0].id.clone();
    app.stop_worker().await;
    app.sandbox.neonomics().set_consent_status(&at_bank, word).unwrap();
    let looks = || app.sandbox.journal().entries_of(Operation::ConsentStatus).len();
    let before = looks();
    app.sandbox.fault(Operation::ConsentDelete, invalid(), 1);
    assert_eq!(anna.delete(&newest(&anna).await).await.status, 204);
    app.run_jobs().await;
    assert_eq!((told_the_bank(&app), looks() - before, ids_kept(&app).await), (1, 1, 0));
    app.finish().await;
}

#[tokio::test]
async fn a_bank_that_ends_no_consent_before_its_approval_is_asked_again_when_nobody_can_approve_it_any_more() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    anna.post_once("/v1/bank-consents", "link").await;
    app.stop_worker().await;
    app.sandbox.fault(Operation::ConsentDelete, invalid(), 2);
    assert_eq!(anna.delete(&newest(&anna).await).await.status, 204);
    app.run_jobs().await;
    assert_eq!((told_the_bank(&app), ids_kept(&app).await), (1, 1));
    app.advance(TimeDelta::hours(1)).await;
    app.run_jobs().await;
    assert_eq!(told_the_bank(&app), 1, "it could only answer the same");
    app.advance(TimeDelta::hours(36)).await;
    app.run_jobs().await;
    assert_eq!((told_the_bank(&app), ids_kept(&app).await), (2, 0));
    app.finish().await;
}

#[tokio::test]
async fn a_bank_that_calls_an_approved_consent_invalid_whatever_it_is_asked_has_ended_it() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.has_an_account().await;
    app.stop_worker().await;
    app.sandbox.fault(Operation::ConsentDelete, invalid(), 1);
    app.sandbox.fault(Operation::ConsentStatus, invalid(), 1);
    assert_eq!(anna.delete(&newest(&anna).await).await.status, 204);
    app.run_jobs().await;
    assert_eq!((told_the_bank(&app), ids_kept(&app).await), (1, 0));
    app.finish().await;
}

#[tokio::test]
async fn a_bank_that_calls_a_consent_invalid_before_its_approval_whatever_it_is_asked_is_asked_again_after_a_day() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    anna.post_once("/v1/bank-consents", "link").await;
    app.stop_worker().await;
    app.sandbox.fault(Operation::ConsentDelete, invalid(), 2);
    app.sandbox.fault(Operation::ConsentStatus, invalid(), 2);
    assert_eq!(anna.delete(&newest(&anna).await).await.status, 204);
    for (hours, told, kept) in [(0, 1, 1), (1, 1, 1), (36, 2, 0)] {
        app.advance(TimeDelta::hours(hours)).await;
        app.run_jobs().await;
        assert_eq!((told_the_bank(&app), ids_kept(&app).await), (told, kept), "{hours}");
    }
    app.finish().await;
}

#[tokio::test]
async fn nobody_lists_or_ends_somebody_else_s_consent() {
    let app = TestApp::start().await;
    let (anna, marko) = (app.signed_in("anna").await, app.signed_in("marko").await);
    anna.has_an_account().await;
    let path = newest(&anna).await;
    assert_eq!(consents(&marko).await, Vec::<Value>::new());
    assert_eq!(marko.delete(&path).await.problem(), (404, "not_found"));
    assert_eq!(
        marko
            .delete("/v1/bank-consents/con_0190a5a47c7e7d5ab8a1f2d3c4b5a697")
            .await
            .problem(),
        (404, "not_found")
    );
    assert_eq!(
        anna.delete("/v1/bank-consents/nonsense").await.problem(),
        (404, "not_found")
    );
    assert_eq!(consents(&anna).await[0]["status"], "valid");
    assert_eq!(told_the_bank(&app), 0);
    app.finish().await;
}
