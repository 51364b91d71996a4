//! What becomes of a read that the bank refuses (contract 3.2), whatever form its refusal has.
//!
//! | the bank | here | shown by |
//! |---|---|---|
//! | 403 `CONSENT_EXPIRED` | consent deleted, owner asked to link again | `a_dead_consent_…`, `balances::an_expired_consent_…` |
//! | the same on 400 and 401, and in every form of body | the same | `a_dead_consent_…` |
//! | 429 `ACCESS_EXCEEDED` | back off, cached balance with its time | `too_many_reads_…`, `balances::a_bank_that_says_access_exceeded_…` |
//! | 429 without that code | the lane waits, cached balance | `bank_pauses::a_gateway_that_is_asked_too_much_…` |
//! | 500 and above, no answer, no JSON | breaker, cached balance | `every_failure_of_the_bank_…`, `refreshes::a_refresh_that_cannot_be_made_…` |
//! | a refusal without a known code | cached balance, the consent stays | `a_refusal_that_says_nothing_of_the_consent_…` |
//!
//! | a consent ends | shown by |
//! |---|---|
//! | expired: at the bank; by its last day; never approved | `balances::an_expired_consent_…`; `consents::the_day_that_the_bank_gives_…`; `accounts::a_consent_that_nobody_approves_…` |
//! | revoked, or terminated, at the bank | `a_consent_that_is_taken_back_at_the_bank_…` |
//! | replaced by a new one | `consents::a_new_consent_ends_the_old_one_…` |
//! | unknown to the bank | `a_dead_consent_…`, `accounts::a_consent_that_the_bank_does_not_know_…` |
//! | unlinked by its owner | `unlinking::a_bank_that_is_unlinked_…` |

use chrono::TimeDelta;
use drop_sandbox::{Decision, Fault, Operation};
use drop_tests::{
    alerts,
    app::{TestApp, eventually},
    person::SignedIn,
};
use serde_json::{Value, json};

use crate::{
    balances::{calls, count, hours_to_the_next_read, sync},
    circuits::is_open,
};

/// A code in the standard's own form.
fn tpp(code: &str) -> Value {
    json!({ "tppMessages": [{ "category": "ERROR", "code": code, "text": "in the bank's words" }] })
}

/// A code in every form that banks use.
fn forms(code: &str) -> [Value; 5] {
    [
        tpp(code),
        json!([{ "category": "ERROR", "code": code }]),
        json!({ "type": "https://bank.example/errors", "title": "no", "code": code }),
        json!({ "type": "https://bank.example/errors", "code": "FORMAT_ERROR", "additionalErrors": [{ "code": code }] }),
        json!({ "id": "0190a5a4", "errorCode": code, "message": "no", "source": "NEONOMICS" }),
    ]
}

fn refused_next(app: &TestApp, code: u16, body: Option<Value>) {
    app.sandbox.fault(Operation::Balances, Fault::Status { code, body }, 1);
}

/// Links the bank again, under a key of its own. The account is the one it was.
async fn links_again(person: &SignedIn<'_>, key: &str) {
    let linking = person.post_once("/v1/bank-consents", key).await;
    assert_eq!(linking.status, 201, "{:?}", linking.problem());
    let link = linking.body["scaRedirect"].as_str().unwrap();
    person.decides(link, Decision::Approve).await;
}

async fn linked(person: &SignedIn<'_>) -> usize {
    let listed = person.get("/v1/bank-accounts").await;
    listed.body["accounts"].as_array().expect("a list").len()
}

/// Asks for a fresh balance: the amount shown, and whether it is marked as stale.
async fn refreshes(person: &SignedIn<'_>, account: &str) -> (Value, Value) {
    let refresh = format!("/v1/bank-accounts/{account}/balance/refresh");
    let mut answer = person.post(&refresh, &Value::Null).await;
    assert_eq!(answer.status, 200, "{:?}", answer.problem());
    (answer.body["amount"].take(), answer.body["stale"].take())
}

const ASKED_TO_LINK_AGAIN: &str = "SELECT count(*) FROM notifications WHERE title = 'Koble til banken på nytt'";

#[tokio::test]
async fn a_dead_consent_is_recognised_in_every_form_and_its_owner_is_asked_to_link_again() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let [expired_403, expired_400, expired_401, expired_404, expired_other] = forms("CONSENT_EXPIRED");
    let refusals = [
        (403, expired_403),
        (400, expired_400),
        (401, expired_401),
        (404, expired_404),
        (403, expired_other),
        (401, tpp("CONSENT_INVALID")),
        (403, tpp("CONSENT_UNKNOWN")),
        (403, tpp("RESOURCE_EXPIRED")),
    ];
    for (number, (status, body)) in (1..).zip(refusals) {
        approved_long_ago(&app).await;
        refused_next(&app, status, Some(body.clone()));
        let refresh = format!("/v1/bank-accounts/{account}/balance/refresh");
        let answer = anna.post(&refresh, &Value::Null).await;
        assert_eq!(answer.problem(), (404, "not_found"), "{status} {body}");
        assert_eq!(linked(&anna).await, 0, "{status} {body}");
        assert_eq!(count(&app, ASKED_TO_LINK_AGAIN).await, number, "{status} {body}");
        let dead = "SELECT count(*) FROM bank_consents WHERE status = 'deleted' AND consent_id_sealed IS NULL";
        assert_eq!(count(&app, dead).await, number, "{status} {body}");
        links_again(&anna, &format!("again-{number}")).await;
        assert_eq!(linked(&anna).await, 1, "{status} {body}");
    }
    app.finish().await;
}

async fn approved_long_ago(app: &TestApp) {
    sqlx::query("UPDATE bank_consents SET authorised_at = authorised_at - interval '1 hour'")
        .execute(&app.db)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_bank_that_lags_behind_an_approval_and_calls_the_consent_invalid_has_not_ended_it_unless_it_still_does_later()
{
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let invalid = || refused_next(&app, 401, Some(tpp("CONSENT_INVALID")));
    invalid();
    assert_eq!(refreshes(&anna, &account).await, ("45230.00".into(), true.into()));
    assert_eq!((linked(&anna).await, count(&app, ASKED_TO_LINK_AGAIN).await), (1, 0));
    let away = hours_to_the_next_read(&app).await;
    assert!((0.9..1.1).contains(&away), "{away}");
    approved_long_ago(&app).await;
    invalid();
    sync(&app, 1).await;
    assert_eq!((linked(&anna).await, count(&app, ASKED_TO_LINK_AGAIN).await), (0, 1));
    app.finish().await;
}

#[tokio::test]
async fn a_consent_that_is_taken_back_at_the_bank_ends_here_with_the_next_read() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.has_an_account().await;
    for (number, (word, status)) in (1..).zip([("revokedByPsu", 403), ("terminatedByTpp", 401)]) {
        app.sandbox
            .neonomics()
            .configure(|bank| bank.consent_expired_status = status);
        for consent in app.sandbox.neonomics().consents() {
            app.sandbox.neonomics().set_consent_status(&consent.id, word).unwrap();
        }
        sync(&app, number).await;
        assert_eq!(linked(&anna).await, 0, "{word}");
        assert_eq!(count(&app, ASKED_TO_LINK_AGAIN).await, number, "{word}");
        let used = calls(&app);
        sync(&app, number + 10).await;
        assert_eq!(calls(&app), used, "{word}: nothing is read with it any more");
        links_again(&anna, word).await;
    }
    app.finish().await;
}

#[tokio::test]
async fn too_many_reads_are_recognised_in_every_form_and_the_account_is_left_alone_for_a_day() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let mut refusals: Vec<_> = forms("ACCESS_EXCEEDED").map(|body| (429, Some(body))).into();
    refusals.push((403, Some(tpp("ACCESS_EXCEEDED"))));
    for (status, body) in refusals {
        sqlx::query("UPDATE bank_accounts SET next_sync_at = NULL, paused_until = NULL, balance_failed_at = NULL")
            .execute(&app.db)
            .await
            .unwrap();
        refused_next(&app, status, body.clone());
        let cached = ("45230.00".into(), true.into());
        assert_eq!(refreshes(&anna, &account).await, cached, "{status} {body:?}");
        let away = hours_to_the_next_read(&app).await;
        assert!((23.9..24.1).contains(&away), "{status} {body:?}: {away}");
    }
    assert!(
        !is_open(&app, "neonomics/aisp").await,
        "a bank that answers is not down"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_refusal_that_says_nothing_of_the_consent_keeps_it_and_shows_the_cache() {
    alerts::listen();
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let warning = json!({ "tppMessages": [{ "category": "WARNING", "code": "CONSENT_EXPIRED" }] });
    // Whether operations hear of it: a bank that refuses us for no reason we know, or for our certificate; of each once.
    let refusals = [
        (403, None, true),
        (403, Some(json!("<html>403</html>")), false),
        (403, Some(warning), false),
        (401, Some(tpp("SOMETHING_NEW")), true),
        (401, Some(tpp("CERTIFICATE_EXPIRED")), true),
        (404, Some(tpp("RESOURCE_UNKNOWN")), false),
        (406, None, false),
    ];
    let mut raised = 0;
    for (status, body, is_told) in refusals {
        refused_next(&app, status, body.clone());
        let cached = ("45230.00".into(), true.into());
        assert_eq!(refreshes(&anna, &account).await, cached, "{status} {body:?}");
        assert_eq!(
            count(&app, "SELECT count(*) FROM bank_consents WHERE status = 'valid'").await,
            1
        );
        raised += usize::from(is_told);
        assert_eq!(alerts::about(&account).len(), raised, "{status} {body:?}");
        let fresh = ("45230.00".into(), false.into());
        assert_eq!(refreshes(&anna, &account).await, fresh, "it is read again");
    }
    assert_eq!(count(&app, ASKED_TO_LINK_AGAIN).await, 0);
    app.finish().await;
}

#[tokio::test]
async fn every_failure_of_the_bank_opens_the_circuit_and_shows_the_cache_until_it_is_over() {
    let app = TestApp::start().await;
    let account = app.signed_in("anna").await.has_an_account().await;
    let failures = [
        Fault::status(500),
        Fault::status(502),
        Fault::status(503),
        Fault::status(504),
        Fault::status(520),
        Fault::Garbage,
        Fault::Truncate,
        Fault::Drop,
        Fault::Redirect {
            to: "http://127.0.0.1:1/".to_owned(),
        },
    ];
    for failure in failures {
        let anna = app.signed_in("anna").await; // her session ends meanwhile
        app.sandbox.fault(Operation::Balances, failure.clone(), 3);
        let before = calls(&app);
        for _ in 0..4 {
            let cached = ("45230.00".into(), true.into());
            assert_eq!(refreshes(&anna, &account).await, cached, "{failure:?}");
        }
        assert!(is_open(&app, "neonomics/aisp").await, "{failure:?}");
        assert_eq!(calls(&app), before + 3, "{failure:?}: the fourth met an open circuit");
        app.advance(TimeDelta::seconds(66)).await;
        let closed = async || !is_open(&app, "neonomics/aisp").await;
        assert!(eventually(closed).await, "{failure:?}");
        assert_eq!(refreshes(&anna, &account).await.1, Value::Bool(false), "{failure:?}");
    }
    app.finish().await;
}
