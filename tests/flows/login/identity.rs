//! Who a login is, and what of it is kept.

use std::collections::BTreeSet;

use drop_sandbox::{Mutation, Operation};
use drop_tests::app::TestApp;
use reqwest::StatusCode;
use serde_json::Value;

use crate::{login::gate::meeting, paying::busy};

const FIRST: &str = "the-first-pepper-of-this-test-000";
const SECOND: &str = "the-second-pepper-of-this-test-00";
const THIRD: &str = "the-third-pepper-of-this-test-000";

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
async fn the_name_follows_bankid_and_what_bankid_leaves_out_stays() {
    let app = TestApp::start().await;
    let person = |given: &str, family: &str| drop_sandbox::Person {
        given_name: given.into(),
        family_name: family.into(),
        ..app.sandbox.bankid().person("anna").unwrap()
    };
    for (given, family, renamed) in [
        ("Anna", "Berg", false),
        ("Anna", "Berg", false),
        ("Anna", "Dahl", true),
        ("Anne", "Dahl", true),
    ] {
        app.sandbox.bankid().add_person(person(given, family));
        let login = app.log_in("anna").await;
        assert_eq!(named(&login.body), (given, family));
        assert_eq!(last_renamed(&app).await, renamed, "{given} {family}");
    }
    for left_out in [&["name", "given_name", "family_name"][..], &["name", "family_name"]] {
        let without = left_out.iter().map(|claim| Mutation::claim(claim, Value::Null));
        app.sandbox.bankid().spoil_next(without.collect());
        let login = app.log_in("anna").await;
        assert_eq!(named(&login.body), ("Anne", "Dahl"), "without {left_out:?}");
        assert!(!last_renamed(&app).await, "without {left_out:?}");
    }
    app.finish().await;
}

fn named(login: &Value) -> (&str, &str) {
    let part = |part| login["user"][part].as_str().unwrap();
    (part("firstName"), part("lastName"))
}

/// Whether the login that succeeded last changed the user's name, as the audit log says.
async fn last_renamed(app: &TestApp) -> bool {
    sqlx::query_scalar(
        "SELECT (detail ->> 'renamed')::boolean FROM audit_log WHERE action = 'login.succeeded' ORDER BY id DESC LIMIT 1",
    )
    .fetch_one(&app.db)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_person_is_the_same_user_whichever_pepper_their_row_was_hashed_with() {
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
async fn whoever_was_erased_is_not_made_anew_after_the_former_pepper_is_gone() {
    let mut app = TestApp::start_with(&[("NATIONAL_ID_PEPPER", FIRST)]).await;
    assert_eq!(app.log_in("anna").await.status, 200);
    sqlx::query("UPDATE users SET erased_at = clock_timestamp()")
        .execute(&app.db)
        .await
        .unwrap();
    for previous in [FIRST, THIRD] {
        app.stop_worker().await;
        app.reconfigure_worker(&[
            ("NATIONAL_ID_PEPPER", SECOND),
            ("NATIONAL_ID_PEPPER_PREVIOUS", previous),
        ]);
        app.start_worker().await;
        assert_eq!(app.log_in("anna").await.problem(), (401, "unauthenticated"));
    }
    let users: i64 = sqlx::query_scalar("SELECT count(*) FROM users")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(users, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_first_logins_at_workers_before_and_after_a_change_of_the_pepper_make_one_user() {
    let peppers = |current, previous| {
        [
            ("NATIONAL_ID_PEPPER", current),
            ("NATIONAL_ID_PEPPER_PREVIOUS", previous),
            // One login at a time, so that the other worker takes the other.
            ("DROP_LANES", "login=1,upkeep"),
        ]
    };
    let app = TestApp::start_with(&peppers(FIRST, SECOND)).await;
    let after = app.worker_process(env!("CARGO_BIN_EXE_drop-node"), &peppers(SECOND, FIRST));
    let logins = async { tokio::join!(app.log_in("anna"), app.log_in("anna")) };
    let (one, other) = meeting(&app, 2, logins).await;
    assert_eq!((one.status, other.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(one.body["user"]["id"], other.body["user"]["id"]);
    drop(after);
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
