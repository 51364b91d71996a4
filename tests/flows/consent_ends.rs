//! What is left of a consent that is over, and who is told: the bank, operations, the person.

use drop_common::domain::ids::{ConsentId, UserId};
use drop_sandbox::{Decision, Fault, Operation};
use drop_tests::{
    alerts,
    app::{TestApp, eventually},
    person::{Answer, SignedIn},
};
use rstest::rstest;
use serde_json::json;

use crate::{
    balances::{count, plan_read},
    consents::{approves, asks, comes_back, status},
    paying::{execute, value},
};

/// Has a read without the owner made now.
pub(crate) async fn read_alone(app: &TestApp, account: &str) {
    plan_read(app, account, 0).await;
    app.run_jobs().await;
}

fn refused(code: &str) -> Fault {
    Fault::Status {
        code: 401,
        body: Some(json!({ "tppMessages": [{ "category": "ERROR", "code": code }] })),
    }
}

async fn ready_now(app: &TestApp, kind: &str) {
    let sql = format!("UPDATE jobs SET run_at = clock_timestamp() WHERE kind = '{kind}' AND state = 'ready'");
    execute(app, &sql).await;
}

/// Asks for a consent without waiting; its id.
async fn wishes(person: &SignedIn<'_>) -> String {
    let wish = person.request("/v1/bank-consents").header("Idempotency-Key", "wish");
    let answer = Answer::of(wish.header("Prefer", "respond-async").send().await.unwrap()).await;
    assert_eq!(answer.status, 202, "{:?}", answer.problem());
    answer.body["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_dead_consent_is_deleted_under_its_owner_s_lock_like_every_other_change_of_their_accounts() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.stop_worker().await;
    let at_bank = app.sandbox.neonomics().consents()[0].id.clone();
    app.sandbox.neonomics().set_consent_status(&at_bank, "expired").unwrap();
    let (user, consent) = (anna.user.parse::<UserId>().unwrap().uuid(), consent(&app).await.uuid());
    let mut elsewhere = app.db.begin().await.unwrap();
    sqlx::query("SET LOCAL idle_in_transaction_session_timeout = 0")
        .execute(&mut *elsewhere)
        .await
        .unwrap();
    sqlx::query("SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE")
        .bind(user)
        .execute(&mut *elsewhere)
        .await
        .unwrap();
    let held = async {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%users%'";
        let waits = eventually(async || count(&app, waits).await > 0).await;
        // Whoever has the person's lock gets the consent's too: the other way round they would wait for each other.
        let free = sqlx::query("SELECT FROM bank_consents WHERE id = $1 FOR UPDATE NOWAIT")
            .bind(consent)
            .execute(&mut *elsewhere)
            .await;
        elsewhere.rollback().await.unwrap();
        (waits, free.is_ok())
    };
    let ((), held) = tokio::join!(read_alone(&app, &account), held);
    assert_eq!(held, (true, true));
    assert_eq!(status(&app).await, "deleted");
    app.finish().await;
}

async fn consent(app: &TestApp) -> ConsentId {
    let id: uuid::Uuid = value(app, "SELECT id FROM bank_consents").await;
    id.into()
}

#[rstest]
#[case::asking("start-consent", Operation::ConsentCreate)]
#[case::looking("fetch-accounts", Operation::ConsentStatus)]
#[case::ending("end-consent", Operation::ConsentDelete)]
#[tokio::test]
async fn a_bank_that_refuses_us_is_told_to_operations_once_whatever_it_was_asked(
    #[case] kind: &str,
    #[case] operation: Operation,
) {
    alerts::listen();
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let id = if kind == "start-consent" {
        app.stop_worker().await;
        wishes(&anna).await
    } else {
        let (id, link) = asks(&anna, "first").await;
        if kind == "end-consent" {
            anna.decides(&link, Decision::Approve).await;
        }
        app.stop_worker().await;
        id
    };
    if kind == "end-consent" {
        assert_eq!(anna.delete(&format!("/v1/bank-consents/{id}")).await.status, 204);
    }
    app.sandbox.fault(operation, refused("CERTIFICATE_EXPIRED"), 2);
    ready_now(&app, kind).await;
    app.run_jobs().await;
    assert_eq!(alerts::about(&id), ["bank_refuses_us"]);
    assert_eq!(count(&app, "SELECT count(*) FROM jobs WHERE state = 'dead'").await, 0);
    if kind != "start-consent" {
        ready_now(&app, kind).await;
        app.run_jobs().await;
        let asked = app.sandbox.journal().entries_of(operation).len();
        assert!(asked >= 2, "it is asked again: {asked}");
        assert_eq!(alerts::about(&id), ["bank_refuses_us"]);
    }
    app.finish().await;
}

#[tokio::test]
async fn a_consent_that_nobody_approved_is_ended_at_the_bank_too() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let (id, link) = asks(&anna, "first").await;
    app.stop_worker().await;
    execute(
        &app,
        "UPDATE bank_consents SET created_at = created_at - interval '24 hours'",
    )
    .await;
    ready_now(&app, "fetch-accounts").await;
    app.run_jobs().await;
    assert_eq!(status(&app).await, "expired");
    assert_eq!(app.sandbox.neonomics().consents()[0].status, "terminatedByTpp");
    assert_eq!(kept(&app).await, 0);
    let shown = anna.get(&format!("/v1/bank-consents/{id}")).await;
    assert_eq!(shown.body["status"], "expired");
    // At the bank there is nothing left to approve.
    let late = app.sandbox.bank().decide_at(&link, Decision::Approve);
    assert_eq!(
        app.sandbox.neonomics().consents()[0].status,
        "terminatedByTpp",
        "{late:?}"
    );
    app.finish().await;
}

/// Consents that are over and of which something is kept that could be used, or that tells of their owner.
async fn kept(app: &TestApp) -> i64 {
    count(
        app,
        "SELECT count(*) FROM bank_consents
          WHERE status NOT IN ('requested', 'received', 'valid')
            AND num_nonnulls(consent_id_sealed, sca_redirect, callback_state_sealed, psu_ip, psu_user_agent) > 0",
    )
    .await
}

#[rstest]
#[case::refused_by_the_bank("failed")]
#[case::rejected_by_the_person("rejected")]
#[case::expired_at_the_bank("expired")]
#[case::taken_back_at_the_bank("revoked")]
#[case::ended_there("terminated")]
#[case::replaced("replaced")]
#[tokio::test]
async fn of_a_consent_that_is_over_nothing_is_kept_that_could_be_used(#[case] end: &str) {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    if end == "failed" {
        app.sandbox.fault(Operation::ConsentCreate, Fault::status(400), 1);
        let wish = anna.request("/v1/bank-consents").header("Idempotency-Key", "first");
        let answer = Answer::of(wish.header("User-Agent", "a browser").send().await.unwrap()).await;
        assert_eq!(answer.problem(), (502, "provider_error"));
    } else {
        let wish = anna.request("/v1/bank-consents").header("Idempotency-Key", "first");
        let answer = Answer::of(wish.header("User-Agent", "a browser").send().await.unwrap()).await;
        let link = answer.body["scaRedirect"].as_str().unwrap().to_owned();
        match end {
            "rejected" => anna.decides(&link, Decision::Reject).await,
            "replaced" => {
                anna.decides(&link, Decision::Approve).await;
                let (_, link) = asks(&anna, "again").await;
                anna.decides(&link, Decision::Approve).await;
            }
            _ => {
                let word = match end {
                    "revoked" => "revokedByPsu",
                    "terminated" => "terminatedByTpp",
                    other => other,
                };
                let back = approves(&app, &link);
                let at_bank = app.sandbox.neonomics().consents()[0].id.clone();
                app.sandbox.neonomics().set_consent_status(&at_bank, word).unwrap();
                comes_back(&back).await;
                app.until_idle().await;
            }
        }
    }
    let over: String = value(&app, "SELECT status FROM bank_consents ORDER BY created_at LIMIT 1").await;
    assert_eq!(over, end);
    assert_eq!(kept(&app).await, 0);
    app.finish().await;
}

#[tokio::test]
async fn each_try_to_get_a_consent_is_a_call_of_its_own_name() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    app.stop_worker().await;
    app.sandbox.fault(Operation::ConsentCreate, Fault::status(503), 1);
    wishes(&anna).await;
    for _ in 0..2 {
        ready_now(&app, "start-consent").await;
        app.run_jobs().await;
    }
    assert_eq!(status(&app).await, "received");
    let calls = app.sandbox.journal().entries_of(Operation::ConsentCreate);
    let names: Vec<_> = calls.iter().map(|call| call.header("x-request-id").unwrap()).collect();
    assert_eq!(names.len(), 2);
    assert_ne!(names[0], names[1], "the standard wants it unique to the call");
    app.finish().await;
}
