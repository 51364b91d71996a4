//! Linking a bank and showing its balances (contract 3.2).

use chrono::TimeDelta;
use drop_sandbox::{Decision, Fault, Operation};
use drop_tests::{
    app::TestApp,
    person::{Answer, browser},
};
use rstest::rstest;
use serde_json::json;

use crate::{balances::count, consents::status};

/// The person decides at the bank and comes back.
async fn decides(app: &TestApp, sca_redirect: &str, decision: Decision) {
    let back = app
        .sandbox
        .bank()
        .decide_at(sca_redirect, decision)
        .expect("a decision")
        .expect("a way back");
    let answer = Answer::of(browser().get(back).send().await.expect("an answer")).await;
    assert_eq!(answer.status, 200, "{:?}", answer.problem());
    app.until_idle().await;
}

#[tokio::test]
async fn a_person_links_their_bank_and_sees_the_balance() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let linking = anna.post_once("/v1/bank-consents", "first").await;
    assert_eq!(linking.status, 201, "{:?}", linking.problem());
    assert_eq!(linking.body["status"], "received");
    decides(&app, linking.body["scaRedirect"].as_str().unwrap(), Decision::Approve).await;

    let consent = anna
        .get(&format!("/v1/bank-consents/{}", linking.body["id"].as_str().unwrap()))
        .await;
    assert_eq!(consent.body["status"], "valid");
    let listed = anna.get("/v1/bank-accounts").await;
    let account = &listed.body["accounts"][0];
    assert_eq!(account["balance"]["amount"], "45230.00", "{account}");
    assert_eq!(account["balance"]["type"], "expected");
    assert_eq!(account["balance"]["stale"], false);
    let at_bank = account["balance"]["bankTime"].as_str().unwrap_or_default();
    let at_bank: chrono::DateTime<chrono::Utc> = at_bank.parse().expect("the bank's own time");
    assert!((app.now() - at_bank).num_seconds() < 120, "{at_bank}");
    assert!(
        !account["iban"].as_str().unwrap().contains("86011117"),
        "the number is masked"
    );
    let shown = anna
        .get(&format!("/v1/bank-accounts/{}", account["id"].as_str().unwrap()))
        .await;
    assert_eq!(shown.body["id"], account["id"]);
    app.finish().await;
}

#[tokio::test]
async fn the_same_key_links_once() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let (one, other) = tokio::join!(
        anna.post_once("/v1/bank-consents", "same"),
        anna.post_once("/v1/bank-consents", "same")
    );
    assert_eq!((one.status.as_u16(), other.status.as_u16()), (201, 201));
    assert_eq!(one.body["id"], other.body["id"]);
    assert_eq!(app.sandbox.neonomics().consents().len(), 1);
    decides(&app, one.body["scaRedirect"].as_str().unwrap(), Decision::Reject).await;
    let consent = anna
        .get(&format!("/v1/bank-consents/{}", one.body["id"].as_str().unwrap()))
        .await;
    assert_eq!(consent.body["status"], "rejected");
    assert_eq!(
        anna.get("/v1/bank-accounts").await.body["accounts"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    app.finish().await;
}

#[tokio::test]
async fn nobody_links_a_bank_before_the_identity_check_is_approved() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    assert_eq!(
        anna.post_once("/v1/bank-consents", "early").await.problem(),
        (403, "kyc_required")
    );
    assert!(app.sandbox.neonomics().consents().is_empty());
    app.finish().await;
}

#[tokio::test]
async fn another_persons_consent_and_account_look_unknown() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let linking = anna.post_once("/v1/bank-consents", "mine").await;
    decides(&app, linking.body["scaRedirect"].as_str().unwrap(), Decision::Approve).await;
    let account = anna.get("/v1/bank-accounts").await.body["accounts"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let marko = app.signed_in("marko").await;
    for path in [
        format!("/v1/bank-consents/{}", linking.body["id"].as_str().unwrap()),
        format!("/v1/bank-accounts/{account}"),
    ] {
        assert_eq!(marko.get(&path).await.problem(), (404, "not_found"), "{path}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_browser_that_comes_back_with_a_consent_is_sent_on_to_the_result_page() {
    let page = "https://getdrop.no/linked?from=bank";
    let app = TestApp::start_with(&[("DROP_CONSENT_RESULT_URL", page)]).await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let linking = anna.post_once("/v1/bank-consents", "first").await.body;
    let (id, link) = (
        linking["id"].as_str().unwrap(),
        linking["scaRedirect"].as_str().unwrap(),
    );
    let back = app.sandbox.bank().decide_at(link, Decision::Approve).unwrap().unwrap();
    let refused = comes_back(&format!("{}/api/consents/callback?consent={id}&state=forged", app.url)).await;
    assert_eq!((refused.status.as_u16(), refused.location), (404, None));
    let sent_on = comes_back(&back).await;
    assert_eq!(sent_on.status, 303);
    assert_eq!(sent_on.location, Some(format!("{page}&consent={id}")));
    app.until_idle().await;
    let linked = anna.get(&format!("/v1/bank-consents/{id}")).await;
    assert_eq!(linked.body["status"], "valid", "the bank was asked all the same");
    app.finish().await;
}

#[tokio::test]
async fn a_browser_that_comes_back_with_a_consent_is_shown_json_where_no_result_page_is_known() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let linking = anna.post_once("/v1/bank-consents", "first").await.body;
    let link = linking["scaRedirect"].as_str().unwrap();
    let back = app.sandbox.bank().decide_at(link, Decision::Approve).unwrap().unwrap();
    let shown = comes_back(&back).await;
    assert_eq!((shown.status.as_u16(), shown.location), (200, None));
    assert_eq!(shown.body["id"], linking["id"]);
    app.until_idle().await;
    app.finish().await;
}

async fn comes_back(address: &str) -> Answer {
    let request = browser().get(address).header("Accept", "text/html,*/*;q=0.8");
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_callback_with_a_wrong_state_is_404_and_asks_the_bank_nothing() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let linking = anna.post_once("/v1/bank-consents", "first").await;
    let id = linking.body["id"].as_str().unwrap();
    let forged = browser()
        .get(format!("{}/api/consents/callback?consent={id}&state=forged", app.url))
        .send()
        .await;
    assert_eq!(Answer::of(forged.unwrap()).await.problem(), (404, "not_found"));
    let looks: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE kind = 'fetch-accounts'")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(looks, 1, "only the worker's own timer");
    app.finish().await;
}

#[tokio::test]
async fn a_consent_that_nobody_approves_within_a_day_expires_and_is_not_looked_at_any_more() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let linking = anna.post_once("/v1/bank-consents", "first").await;
    let path = format!("/v1/bank-consents/{}", linking.body["id"].as_str().unwrap());
    sqlx::query("UPDATE bank_consents SET created_at = created_at - interval '24 hours'")
        .execute(&app.db)
        .await
        .unwrap();
    sqlx::query("UPDATE jobs SET run_at = clock_timestamp() WHERE kind = 'fetch-accounts'")
        .execute(&app.db)
        .await
        .unwrap();
    app.until_idle().await;
    assert_eq!(anna.get(&path).await.body["status"], "expired");
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE kind = 'fetch-accounts' AND state <> 'done'")
        .fetch_one(&app.db)
        .await
        .unwrap();
    let audited: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM audit_log WHERE action = 'consent.moved' AND actor = 'worker' AND detail ->> 'to' = 'expired'",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert_eq!((left, audited), (0, 1));
    app.finish().await;
}

#[tokio::test]
async fn coming_back_from_the_bank_hastens_the_one_look_and_adds_none() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.has_an_account().await;
    let looks: Vec<String> = sqlx::query_scalar("SELECT state FROM jobs WHERE kind = 'fetch-accounts'")
        .fetch_all(&app.db)
        .await
        .unwrap();
    assert_eq!(looks, ["done"]);
    app.finish().await;
}

#[rstest]
#[case::unknown_there(403, "CONSENT_UNKNOWN", 0)]
#[case::not_approved_yet_perhaps(401, "CONSENT_INVALID", 1)]
#[tokio::test]
async fn a_consent_that_the_bank_does_not_know_is_not_asked_for_again_and_nobody_is_told_of_a_lost_access(
    #[case] status: u16,
    #[case] says: &str,
    #[case] ended_there: usize,
) {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let linking = anna.post_once("/v1/bank-consents", "first").await;
    let unknown = Fault::Status {
        code: status,
        body: Some(json!({ "tppMessages": [{ "category": "ERROR", "code": says }] })),
    };
    app.sandbox.fault(Operation::ConsentStatus, unknown, 1);
    decides(&app, linking.body["scaRedirect"].as_str().unwrap(), Decision::Approve).await;
    let path = format!("/v1/bank-consents/{}", linking.body["id"].as_str().unwrap());
    assert_eq!(anna.get(&path).await.body["status"], "expired");
    let told: i64 = sqlx::query_scalar("SELECT count(*) FROM notifications WHERE kind = 'consent'")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(told, 0);
    app.until_idle().await;
    let asked = |operation| app.sandbox.journal().entries_of(operation).len();
    assert_eq!(
        (asked(Operation::ConsentStatus), asked(Operation::ConsentDelete)),
        (1, ended_there)
    );
    app.finish().await;
}

/// A consent that the bank says is approved, and whose accounts it does not show yet, so many times.
async fn approved_at_a_bank_that_lags(app: &TestApp, times: u32) {
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let linking = anna.post_once("/v1/bank-consents", "first").await;
    let not_yet = Fault::Status {
        code: 401,
        body: Some(json!({ "tppMessages": [{ "category": "ERROR", "code": "CONSENT_INVALID" }] })),
    };
    app.sandbox.fault(Operation::Accounts, not_yet, times);
    decides(app, linking.body["scaRedirect"].as_str().unwrap(), Decision::Approve).await;
    app.stop_worker().await;
    assert_eq!(status(app).await, "received");
}

#[tokio::test]
async fn a_bank_that_lags_behind_its_own_approval_is_asked_again_until_it_shows_the_accounts() {
    let app = TestApp::start().await;
    approved_at_a_bank_that_lags(&app, 2).await;
    for stands in ["received", "valid"] {
        app.advance(TimeDelta::seconds(16)).await;
        app.run_jobs().await;
        assert_eq!(status(&app).await, stands);
    }
    assert_eq!(
        count(&app, "SELECT count(*) FROM bank_accounts WHERE balance IS NOT NULL").await,
        1
    );
    app.finish().await;
}

#[tokio::test]
async fn a_bank_that_never_shows_the_accounts_of_an_approved_consent_is_told_after_a_day_that_it_is_over_and_so_is_its_owner()
 {
    let app = TestApp::start().await;
    approved_at_a_bank_that_lags(&app, 100).await;
    app.advance(TimeDelta::hours(25)).await;
    app.run_jobs().await;
    assert_eq!(status(&app).await, "expired");
    assert_eq!(app.sandbox.neonomics().consents()[0].status, "terminatedByTpp");
    let asked = app.sandbox.journal().entries_of(Operation::Accounts).len();
    assert!(asked <= 3, "at most as often as one that waits for the person: {asked}");
    let told = "SELECT count(*) FROM notifications WHERE title = 'Koble til banken på nytt'";
    assert_eq!(count(&app, told).await, 1);
    app.finish().await;
}
