//! A worker that dies in the middle of a login. The code is worth one try, so the login ends refused or complete, never
//! half; and the person starts again at once.

use chrono::TimeDelta;
use drop_sandbox::Operation;
use drop_tests::{
    alerts,
    app::{TestApp, eventually},
    person::Answer,
    time,
};
use rstest::rstest;

use crate::login::scene::{Browser, NO_TOKEN, Underway, gets_in, service, signed_in};

/// Long enough for the lease to end that nobody renews any more.
const LEASE: TimeDelta = TimeDelta::seconds(30);

#[rstest]
#[case::when_it_has_claimed_the_job("queue.claimed=abort", true, 1)]
#[case::when_it_is_about_to_take_the_secrets("login.taking_secrets=abort", true, 1)]
#[case::when_it_has_taken_the_secrets("login.secrets_taken=abort", false, 0)]
#[case::when_it_has_exchanged_the_code("login.exchanged=abort", false, 1)]
#[case::when_it_has_verified_the_token("login.verified=abort", false, 1)]
#[case::when_it_is_about_to_write("queue.fenced=abort", false, 1)]
#[case::when_it_has_written_and_not_committed("login.written=abort", false, 1)]
#[case::when_it_has_committed_and_told_nobody("queue.domain_committed=abort", true, 1)]
#[tokio::test(flavor = "multi_thread")]
async fn a_login_ends_refused_or_complete_although_its_worker_died(
    #[case] point: &str,
    #[case] completes: bool,
    #[case] token_requests: usize,
) {
    let app = service().await;
    app.stop_worker().await;
    let browser = Browser::of(&app);
    let underway = browser.starts().await;
    let callback = signed_in(&app, &underway, "anna");
    let changes = [("DROP_FAILPOINT", point), ("DROP_LANES", "login")];
    let mut dying = app.worker_process(env!("CARGO_BIN_EXE_drop-node"), &changes);
    let (answer, ended) = tokio::join!(
        browser.returns_without_waiting(&callback, &underway.cookies),
        dying.ended()
    );
    assert!(!ended.success(), "it did not die at {point}: {ended:?}");
    assert_eq!(answer.status, 202, "{:?}", answer.problem());

    time::pass(&app.db, LEASE).await;
    app.start_worker().await;
    let end = outcome(&app, &browser, &underway, &answer).await;
    let users: i64 = sqlx::query_scalar("SELECT count(*) FROM users")
        .fetch_one(&app.db)
        .await
        .unwrap();
    if completes {
        assert_eq!((end.status.as_u16(), users), (200, 1), "{:?}", end.problem());
    } else {
        assert_eq!((end.problem(), users), ((502, NO_TOKEN), 0));
    }
    let asked = app.sandbox.journal().entries_of(Operation::BankidToken);
    assert_eq!(asked.len(), token_requests);
    let secrets: i64 =
        sqlx::query_scalar("SELECT sum(num_nonnulls(code_sealed, nonce_sealed, verifier_sealed)) FROM logins")
            .fetch_one(&app.db)
            .await
            .unwrap();
    assert_eq!(secrets, 0);
    gets_in(&app, &browser, "anna").await;
    app.finish().await;
}

/// Asks where the callback said to ask, until it is over.
async fn outcome(app: &TestApp, browser: &Browser<'_>, underway: &Underway, accepted: &Answer) -> Answer {
    let place = format!("{}{}", app.url, accepted.location.as_deref().expect("a place to ask"));
    let mut last = None;
    let over = eventually(async || {
        let answer = browser.returns_without_waiting(&place, &underway.cookies).await;
        let over = answer.status != 202;
        last = Some(answer);
        over
    })
    .await;
    assert!(over, "the login does not end");
    last.expect("an answer")
}

#[tokio::test]
async fn the_person_starts_again_at_once_while_the_dead_workers_login_still_waits() {
    let app = service().await;
    app.stop_worker().await;
    let browser = Browser::of(&app);
    let underway = browser.starts().await;
    let callback = signed_in(&app, &underway, "anna");
    let changes = [("DROP_FAILPOINT", "login.secrets_taken=abort"), ("DROP_LANES", "login")];
    let mut dying = app.worker_process(env!("CARGO_BIN_EXE_drop-node"), &changes);
    let (first, _) = tokio::join!(
        browser.returns_without_waiting(&callback, &underway.cookies),
        dying.ended()
    );
    app.start_worker().await;
    gets_in(&app, &browser, "anna").await;

    time::pass(&app.db, LEASE).await;
    let end = outcome(&app, &browser, &underway, &first).await;
    assert_eq!(end.problem(), (502, NO_TOKEN));
    app.finish().await;
}

#[tokio::test]
async fn a_login_whose_secrets_do_not_open_is_refused_at_once_and_somebody_is_told() {
    alerts::listen();
    let app = service().await;
    app.stop_worker().await;
    let browser = Browser::of(&app);
    let underway = browser.starts().await;
    let callback = signed_in(&app, &underway, "anna");
    let accepted = browser.returns_without_waiting(&callback, &underway.cookies).await;
    sqlx::query("UPDATE logins SET code_sealed = set_byte(code_sealed, 20, 255 - get_byte(code_sealed, 20))")
        .execute(&app.db)
        .await
        .unwrap();
    app.start_worker().await;
    let end = outcome(&app, &browser, &underway, &accepted).await;
    assert_eq!(end.problem(), (502, NO_TOKEN));
    let dead: i64 =
        sqlx::query_scalar("SELECT count(*) FROM jobs WHERE kind = 'check-login' AND state = 'dead' AND attempt = 1")
            .fetch_one(&app.db)
            .await
            .unwrap();
    assert_eq!(dead, 1);
    let login: String = sqlx::query_scalar("SELECT 'lgn_' || replace(id::text, '-', '') FROM logins")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(alerts::about(&login).len(), 1);
    app.abandon().await;
}
