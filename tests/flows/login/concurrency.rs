//! Logins at the same time: a code opens one session, and a person is one user.

use drop_sandbox::Operation;
use drop_tests::{app::TestApp, fleet::Fleet};
use futures_util::future::join_all;
use rstest::rstest;

use crate::login::{
    gate::meeting,
    scene::{BEHIND_A_PROXY, Browser, gets_in, service_with, signed_in},
};

/// The service in this process, or in several of each kind.
async fn service_in(processes: bool, changes: &[(&'static str, &str)]) -> TestApp {
    if !processes {
        return service_with(changes).await;
    }
    let fleet = Fleet {
        program: env!("CARGO_BIN_EXE_drop-node"),
        apis: 2,
        workers: 2,
    };
    TestApp::start_fleet_with(fleet, &[&[BEHIND_A_PROXY][..], changes].concat()).await
}

async fn count(app: &TestApp, table: &'static str) -> i64 {
    let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query_scalar(count).fetch_one(&app.db).await.unwrap()
}

#[rstest]
#[case::in_one_process(false)]
#[case::in_two_of_each_kind(true)]
#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_callbacks_at_once_one_opens_a_session(#[case] processes: bool) {
    let app = service_in(processes, &[]).await;
    let underway = Browser::of(&app).starts().await;
    let callback = signed_in(&app, &underway, "anna");
    // Each from an address of its own, or the limit would answer most of them.
    let browsers: Vec<_> = (0..50).map(|_| Browser::of(&app)).collect();
    let answers = join_all(
        browsers
            .iter()
            .map(|browser| browser.returns(&callback, &underway.cookies)),
    )
    .await;
    let (let_in, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((let_in.len(), refused.len()), (1, 49));
    for answer in refused {
        assert_eq!(answer.problem(), (400, "invalid_state"));
    }
    assert_eq!((count(&app, "users").await, count(&app, "sessions").await), (1, 1));
    assert_eq!(app.sandbox.journal().entries_of(Operation::BankidToken).len(), 1);
    app.finish().await;
}

#[rstest]
#[case::in_one_process(false)]
#[case::in_two_of_each_kind(true)]
#[tokio::test(flavor = "multi_thread")]
async fn twenty_first_logins_of_one_person_at_once_make_one_user(#[case] processes: bool) {
    // More at once than have a connection to the database: as many as have one meet.
    let app = service_in(processes, &[("DROP_LANES", "login=20,upkeep")]).await;
    let browsers: Vec<_> = (0..20).map(|_| Browser::of(&app)).collect();
    let logins = join_all(browsers.iter().map(|browser| gets_in(&app, browser, "anna")));
    let mut users = meeting(&app, 10, logins).await;
    users.sort_unstable();
    users.dedup();
    assert_eq!(users.len(), 1);
    assert_eq!((count(&app, "users").await, count(&app, "sessions").await), (1, 20));
    let codes = app.sandbox.journal().entries_of(Operation::BankidToken);
    assert_eq!(codes.len(), 20);
    app.finish().await;
}
