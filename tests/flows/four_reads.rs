//! Four reads without the owner in any 24 hours, however many workers want one (contract 3.2, RTS art. 36(5)(b)).

use chrono::{DateTime, TimeDelta, Utc};
use drop_common::{
    domain::ids::{AccountId, UserId},
    queue::{
        self,
        payloads::{RefreshBalance, SyncBalance},
    },
    storage::{balance_reads, schedule},
};
use drop_sandbox::Operation;
use drop_tests::app::TestApp;

use crate::paying::execute;

/// Racing for one account.
const WORKERS: usize = 8;
/// How far time goes on between two races. They differ, so that a window begins and ends anywhere.
const STEPS: [i64; 4] = [97, 151, 203, 149];

/// The bank's reads of one kind: when they came, by its clock.
pub(crate) fn reads(app: &TestApp, attended: bool) -> Vec<DateTime<Utc>> {
    let entries = app.sandbox.journal().entries_of(Operation::Balances);
    let of_kind = entries
        .iter()
        .filter(|entry| entry.header("psu-ip-address").is_some() == attended);
    of_kind.map(|entry| entry.at).collect()
}

/// The most reads in any 24 hours.
pub(crate) fn most_in_a_window(reads: &[DateTime<Utc>]) -> usize {
    let window = |start: &DateTime<Utc>| {
        let within = reads
            .iter()
            .filter(|read| *read >= start && **read - *start < TimeDelta::hours(24));
        within.count()
    };
    reads.iter().map(window).max().unwrap_or_default()
}

/// A planned read for each worker.
async fn plan(app: &TestApp, account: AccountId) {
    let now = schedule::now(&app.db).await.unwrap();
    let mut tx = app.db.begin().await.unwrap();
    for worker in 0..WORKERS {
        let planned_at = now - TimeDelta::seconds(i64::try_from(worker).unwrap());
        queue::enqueue(&mut tx, &SyncBalance { account, planned_at })
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
}

/// A wish of the owner. One that came without their address is one of the four too.
async fn wish(app: &TestApp, user: UserId, account: AccountId, address: Option<&str>) {
    let mut tx = app.db.begin().await.unwrap();
    let refresh = balance_reads::request_refresh(&mut tx, user, account, address)
        .await
        .unwrap();
    queue::enqueue(&mut tx, &RefreshBalance { refresh }).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_workers_read_one_account_four_times_in_any_24_hours_of_a_week_and_its_owner_without_limit() {
    let app = TestApp::start().await;
    app.sandbox.neonomics().configure(|bank| bank.unattended_reads = 1_000);
    let anna = app.signed_in("anna").await;
    let account: AccountId = anna.has_an_account().await.parse().unwrap();
    let user: UserId = anna.user.parse().unwrap();
    app.stop_worker().await;
    // Between counting and entering there is time for the other seven.
    execute(
        &app,
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.2); RETURN NEW; END';
         CREATE TRIGGER linger BEFORE INSERT ON balance_reads FOR EACH ROW WHEN (NOT NEW.attended)
           EXECUTE FUNCTION linger()",
    )
    .await;
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(app.worker_by_hand());
    }
    let (start, before, mut steps) = (app.now(), reads(&app, true).len(), STEPS.into_iter().cycle());
    let (mut asked, mut addresses) = (0, [None, Some("203.0.113.7")].into_iter().cycle());
    while app.now() - start < TimeDelta::days(7) {
        // The wish after the plan: a planned read makes way for one.
        plan(&app, account).await;
        app.run_jobs_by(&workers).await;
        let address = addresses.next().unwrap();
        wish(&app, user, account, address).await;
        app.run_jobs_by(&workers).await;
        asked += usize::from(address.is_some());
        app.advance(TimeDelta::minutes(steps.next().unwrap())).await;
    }

    let alone = reads(&app, false);
    assert_eq!(most_in_a_window(&alone), 4, "{alone:?}");
    assert!((24..=28).contains(&alone.len()), "four a day: {}", alone.len());
    assert_eq!(
        reads(&app, true).len() - before,
        asked,
        "the owner's own reads have no limit"
    );
    app.finish().await;
}
