//! Login with `BankID` (contract 3.1).

use std::collections::BTreeSet;

use chrono::TimeDelta;
use drop_sandbox::{Fault, Mutation, Operation};
use drop_tests::{alerts, app::TestApp, person::Answer};
use rstest::rstest;
use serde_json::json;

use crate::paying::busy;

#[tokio::test]
async fn an_adult_logs_in_and_is_the_same_user_the_next_time() {
    let app = TestApp::start().await;
    let first = app.log_in("anna").await;
    assert_eq!(first.status, 200, "{:?}", first.problem());
    assert_eq!(first.body["user"]["kycStatus"], "pending");
    assert_eq!(first.body["tokenType"], "Bearer");
    let second = app.log_in("anna").await;
    assert_eq!(second.status, 200);
    assert_eq!(first.body["user"]["id"], second.body["user"]["id"]);
    assert_ne!(first.body["accessToken"], second.body["accessToken"]);
    app.finish().await;
}

#[tokio::test]
async fn a_person_is_the_same_user_whichever_pepper_their_row_was_hashed_with() {
    const FIRST: &str = "the-first-pepper-of-this-test-000";
    const SECOND: &str = "the-second-pepper-of-this-test-00";
    let rotation: [&[(&str, &str)]; 4] = [
        &[],
        &[("NATIONAL_ID_PEPPER", FIRST), ("NATIONAL_ID_PEPPER_PREVIOUS", "none")],
        &[("NATIONAL_ID_PEPPER", SECOND), ("NATIONAL_ID_PEPPER_PREVIOUS", FIRST)],
        // Swapped, as a worker that was not restarted yet has them.
        &[("NATIONAL_ID_PEPPER", FIRST), ("NATIONAL_ID_PEPPER_PREVIOUS", SECOND)],
    ];
    let mut app = TestApp::start().await;
    let (mut users, mut hashes) = (BTreeSet::new(), Vec::new());
    for peppers in rotation {
        app.stop_worker().await;
        app.reconfigure_worker(peppers);
        app.start_worker().await;
        users.insert(app.signed_in("anna").await.user);
        let hash: String = sqlx::query_scalar("SELECT national_id_hash FROM users")
            .fetch_one(&app.db)
            .await
            .unwrap();
        hashes.push(hash);
    }
    assert_eq!(users.len(), 1);
    assert_eq!(hashes[1], hashes[3]);
    assert_eq!(
        hashes.iter().collect::<BTreeSet<_>>().len(),
        3,
        "the row has the current pepper's hash"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_cancelled_login_is_400_bankid_cancelled() {
    let app = TestApp::start().await;
    let answer = app.log_in("cancel").await;
    assert_eq!(answer.problem(), (400, "bankid_cancelled"));
    app.finish().await;
}

#[tokio::test]
async fn a_person_under_18_is_403_underage_and_leaves_no_user_and_no_session() {
    let app = TestApp::start().await;
    let answer = app.log_in("minor").await;
    assert_eq!(answer.problem(), (403, "underage"));
    let (users, sessions): (i64, i64) =
        sqlx::query_as("SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM sessions)")
            .fetch_one(&app.db)
            .await
            .unwrap();
    assert_eq!((users, sessions), (0, 0));
    app.finish().await;
}

#[tokio::test]
async fn a_callback_that_comes_twice_gives_one_session() {
    let app = TestApp::start().await;
    let login = app.start_login().await;
    let callback = app.sandbox.bankid().sign_in(&login.authorization_url, "anna").unwrap();
    let (one, other) = tokio::join!(
        app.come_back(&callback, &login.cookie),
        app.come_back(&callback, &login.cookie)
    );
    let mut answers = [one.problem(), other.problem()];
    answers.sort_unstable();
    assert_eq!(answers, [(200, ""), (400, "invalid_state")]);
    let sessions: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(sessions, 1);
    app.finish().await;
}

#[tokio::test]
async fn a_callback_in_another_browser_is_400_and_the_first_browser_still_gets_in() {
    let app = TestApp::start().await;
    let (victim, other) = (app.start_login().await, app.start_login().await);
    let callback = app.sandbox.bankid().sign_in(&victim.authorization_url, "anna").unwrap();
    assert_eq!(
        app.come_back(&callback, &other.cookie).await.problem(),
        (400, "invalid_state")
    );
    assert_eq!(app.come_back(&callback, &victim.cookie).await.status, 200);
    app.finish().await;
}

#[tokio::test]
async fn no_code_nonce_or_verifier_is_left_after_the_login() {
    let app = TestApp::start().await;
    assert_eq!(app.log_in("anna").await.status, 200);
    let left: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM logins WHERE code_sealed IS NOT NULL OR nonce_sealed IS NOT NULL OR verifier_sealed IS NOT NULL",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert_eq!(left, 0);
    app.finish().await;
}

/// What stands in the way of a login.
#[derive(Debug, Clone, Copy)]
enum Obstacle {
    OurClientIsUnknown,
    OurScopeIsWrong,
    TheTokenIsForged,
    TheNumberIsNone,
    TheCodeIsOld,
    ThePersonCancels,
    ThePersonIsYoung,
}

impl Obstacle {
    async fn met(self, app: &TestApp) -> Answer {
        let person = match self {
            Self::ThePersonCancels => "cancel",
            Self::ThePersonIsYoung => "minor",
            _ => "anna",
        };
        let refuses = |status, error| {
            let body = Some(json!({ "error": error }));
            let fault = Fault::Status { code: status, body };
            app.sandbox.faults().add(Operation::BankidToken, fault, Some(1));
        };
        match self {
            Self::OurClientIsUnknown => refuses(401, "unauthorized_client"),
            Self::TheCodeIsOld => refuses(400, "invalid_grant"),
            Self::TheTokenIsForged => app.sandbox.bankid().spoil_next(vec![Mutation::WrongNonce]),
            Self::TheNumberIsNone => app.sandbox.bankid().spoil_next(vec![Mutation::Claim {
                name: "pid".into(),
                value: json!("12345678901"),
            }]),
            Self::OurScopeIsWrong => {
                let login = app.start_login().await;
                let state = login.cookie.split_once('=').expect("name=value").1;
                let back = format!("{}/api/auth/bankid/callback?error=invalid_scope&state={state}", app.url);
                return app.come_back(&back, &login.cookie).await;
            }
            Self::ThePersonCancels | Self::ThePersonIsYoung => {}
        }
        app.log_in(person).await
    }
}

#[rstest]
#[case(Obstacle::OurClientIsUnknown, "token_exchange_failed", Some("bankid_login_refused"))]
#[case(Obstacle::OurScopeIsWrong, "bankid_error", Some("bankid_request_refused"))]
#[case(Obstacle::TheTokenIsForged, "jwks_verification_failed", Some("bankid_login_refused"))]
#[case(Obstacle::TheNumberIsNone, "invalid_identity_claim", Some("bankid_login_refused"))]
#[case(Obstacle::TheCodeIsOld, "token_exchange_failed", None)]
#[case(Obstacle::ThePersonCancels, "bankid_cancelled", None)]
#[case(Obstacle::ThePersonIsYoung, "underage", None)]
#[tokio::test]
async fn a_refused_login_is_audited_and_alerts_where_the_person_is_not_the_reason(
    #[case] obstacle: Obstacle,
    #[case] code: &str,
    #[case] alert: Option<&str>,
) {
    alerts::listen();
    let app = TestApp::start().await;
    assert_eq!(obstacle.met(&app).await.problem().1, code);
    let audited: Vec<(String, String, String)> =
        sqlx::query_as("SELECT action, object, detail ->> 'failure' FROM audit_log ORDER BY id")
            .fetch_all(&app.db)
            .await
            .unwrap();
    let [(action, login, failure)] = &audited[..] else {
        panic!("{audited:?}");
    };
    assert_eq!((action.as_str(), failure.as_str()), ("login.refused", code));
    let raised = alerts::about(login);
    assert_eq!(raised.first().map(String::as_str), alert);
    app.finish().await;
}

#[tokio::test]
async fn a_session_is_audited_with_the_login_that_opened_it_and_the_request_that_asked() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let audited: Vec<(String, String, Option<String>, bool)> = sqlx::query_as(
        "SELECT action, 'usr_' || replace(user_id::text, '-', ''), detail ->> 'login', request_id IS NOT NULL
           FROM audit_log ORDER BY id",
    )
    .fetch_all(&app.db)
    .await
    .unwrap();
    let login: String = sqlx::query_scalar("SELECT object FROM audit_log WHERE action = 'login.succeeded'")
        .fetch_one(&app.db)
        .await
        .unwrap();
    let expected = [
        ("login.succeeded".to_owned(), anna.user.clone(), None, true),
        ("session.opened".to_owned(), anna.user.clone(), Some(login), true),
    ];
    assert_eq!(audited, expected);
    app.finish().await;
}

#[tokio::test]
async fn a_session_ends_by_the_databases_clock_whatever_a_process_takes_the_time_for() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let ends_in = async |minutes: i32| {
        sqlx::query("UPDATE sessions SET expires_at = clock_timestamp() + make_interval(mins => $1)")
            .bind(minutes)
            .execute(&app.db)
            .await
            .unwrap();
    };
    ends_in(5).await;
    app.misset_clock(TimeDelta::minutes(9)); // the token itself still has a minute
    assert_eq!(anna.get("/v1/transactions").await.status, 200);
    app.misset_clock(TimeDelta::minutes(-9));
    ends_in(-1).await;
    assert_eq!(anna.get("/v1/transactions").await.problem(), (401, "unauthenticated"));
    app.finish().await;
}

#[tokio::test]
async fn a_login_that_bankid_granted_is_written_although_the_database_is_busy_at_first() {
    let app = TestApp::start().await;
    // A code is taken once: an exchange that is not written would be a login that the person starts again.
    busy(&app, "TRIGGER busy BEFORE INSERT ON users FOR EACH ROW", 3).await;
    let login = app.log_in("anna").await;
    assert_eq!(login.status, 200, "{:?}", login.problem());
    assert_eq!(app.sandbox.journal().entries_of(Operation::BankidToken).len(), 1);
    app.finish().await;
}
