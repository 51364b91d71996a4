//! Login with `BankID` (contract 3.1).

use std::collections::BTreeSet;

use drop_tests::app::TestApp;

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
