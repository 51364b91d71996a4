//! Balances that are read without their owner (contract 3.2).

use chrono::{DateTime, TimeDelta, Utc};
use drop_common::{
    domain::ids::{AccountId, RefreshId, UserId},
    queue::{
        self, EnqueueOptions,
        payloads::{PlanBalanceSyncs, RefreshBalance, SyncBalance},
    },
    storage::{Tx, balance_reads, schedule},
};
use drop_sandbox::{Account, Fault, Operation};
use drop_tests::app::{TestApp, eventually};
use serde_json::Value;

pub(crate) const IBAN: &str = "NO9386011117947";

/// Makes every account due, plans, and waits, for a bounded time, until the reads that follow are over.
/// `plan` tells plans apart that are made within one second.
pub(crate) async fn sync(app: &TestApp, plan: i64) {
    plan_reads(app, plan).await;
    nothing_left_of(app, &["plan-balance-syncs", "sync-balance"]).await;
}

/// Makes every account due, and has the reads planned.
pub(crate) async fn plan_reads(app: &TestApp, plan: i64) {
    sqlx::query("UPDATE bank_accounts SET next_sync_at = clock_timestamp() - interval '1 second'")
        .execute(&app.db)
        .await
        .expect("the database answers");
    let slot = schedule::now(&app.db).await.expect("the database answers") - TimeDelta::minutes(plan);
    let mut tx = app.db.begin().await.expect("the database answers");
    enqueue_plan(&mut tx, slot).await;
    tx.commit().await.expect("the database answers");
}

/// Has a slot planned, also where the worker's own schedule has had it: a job is known by the second of its slot, and a test
/// may ask in just that second.
pub(crate) async fn enqueue_plan(tx: &mut Tx, slot: DateTime<Utc>) {
    queue::enqueue_anew(tx, &PlanBalanceSyncs { slot }, EnqueueOptions::default())
        .await
        .expect("the database answers");
}

/// Plans a read of one account that may leave at once.
pub(crate) async fn plan_read(app: &TestApp, account: &str, minutes_ago: i64) {
    let account: AccountId = account.parse().expect("an account's id");
    let planned_at = schedule::now(&app.db).await.expect("the database answers") - TimeDelta::minutes(minutes_ago);
    let mut tx = app.db.begin().await.expect("the database answers");
    queue::enqueue(&mut tx, &SyncBalance { account, planned_at })
        .await
        .expect("the database answers");
    tx.commit().await.expect("the database answers");
}

async fn nothing_left_of(app: &TestApp, kinds: &'static [&'static str]) {
    let done = async || {
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE kind = ANY ($1) AND state <> 'done'")
            .bind(kinds)
            .fetch_one(&app.db)
            .await
            .expect("the database answers");
        left == 0
    };
    assert!(eventually(done).await, "{kinds:?} do not end");
}

/// A refresh that came without the owner's address; whether it brought a balance.
pub(crate) async fn refresh_without_address(app: &TestApp, user: &str, account: &str) -> bool {
    let (user, account): (UserId, AccountId) = (
        user.parse().expect("a user's id"),
        account.parse().expect("an account's id"),
    );
    let mut tx = app.db.begin().await.expect("the database answers");
    let refresh: RefreshId = balance_reads::request_refresh(&mut tx, user, account, None)
        .await
        .expect("the database answers");
    queue::enqueue(&mut tx, &RefreshBalance { refresh })
        .await
        .expect("the database answers");
    tx.commit().await.expect("the database answers");
    nothing_left_of(app, &["refresh-balance"]).await;
    balance_reads::refreshed(&app.db, refresh)
        .await
        .expect("the database answers")
        .expect("an end")
}

/// How many balance calls the bank has seen.
pub(crate) fn calls(app: &TestApp) -> usize {
    app.sandbox.journal().entries_of(Operation::Balances).len()
}

/// How far away the next unattended read is, in hours.
pub(crate) async fn hours_to_the_next_read(app: &TestApp) -> f64 {
    sqlx::query_scalar(
        "SELECT (extract(epoch FROM next_sync_at - clock_timestamp()) / 3600)::float8 FROM bank_accounts",
    )
    .fetch_one(&app.db)
    .await
    .expect("the database answers")
}

pub(crate) async fn count(app: &TestApp, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql)
        .fetch_one(&app.db)
        .await
        .expect("the database answers")
}

#[tokio::test]
async fn a_due_account_is_read_once_without_its_owner_and_shows_the_new_balance() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let before = calls(&app);
    app.sandbox.neonomics().set_balance(IBAN, 5_000_000).unwrap();
    sync(&app, 1).await;

    let shown = anna.get(&format!("/v1/bank-accounts/{account}/balance")).await;
    assert_eq!(shown.body["amount"], "50000.00", "{}", shown.body);
    assert_eq!(shown.body["stale"], false);
    let entries = app.sandbox.journal().entries_of(Operation::Balances);
    assert_eq!(entries.len(), before + 1);
    assert_eq!(entries.last().unwrap().header("psu-ip-address"), None);
    let unattended = count(
        &app,
        "SELECT count(*) FROM balance_reads WHERE NOT attended AND outcome = 'read'",
    )
    .await;
    assert_eq!(unattended, 1);
    assert!(hours_to_the_next_read(&app).await > 5.9);
    app.finish().await;
}

#[tokio::test]
async fn a_fifth_unattended_read_within_24_hours_is_not_sent() {
    let app = TestApp::start().await;
    app.sandbox.neonomics().configure(|bank| bank.unattended_reads = 100);
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let before = calls(&app);
    app.sandbox.fault(Operation::Balances, Fault::status(404), 1);
    for plan in 1..=4 {
        sync(&app, plan).await;
    }
    assert_eq!(calls(&app), before + 4, "the one that failed has used its place");

    sync(&app, 5).await;
    assert!(!refresh_without_address(&app, &anna.user, &account).await);
    assert_eq!(calls(&app), before + 4);
    let away = hours_to_the_next_read(&app).await;
    assert!(
        (23.9..24.1).contains(&away),
        "it is planned for when the window has room: {away}"
    );

    sqlx::query("UPDATE balance_reads SET read_at = read_at - interval '25 hours' WHERE NOT attended")
        .execute(&app.db)
        .await
        .unwrap();
    sync(&app, 6).await;
    assert_eq!(calls(&app), before + 5);
    app.finish().await;
}

#[tokio::test]
async fn a_bank_that_says_access_exceeded_is_left_alone_and_the_cache_is_shown_as_stale() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.sandbox.neonomics().configure(|bank| bank.unattended_reads = 0);
    sync(&app, 1).await;
    let refused = calls(&app);
    let shown = anna.get(&format!("/v1/bank-accounts/{account}/balance")).await;
    assert_eq!(
        (&shown.body["amount"], &shown.body["stale"]),
        (&"45230.00".into(), &true.into())
    );
    assert!(hours_to_the_next_read(&app).await > 23.9);

    assert!(!refresh_without_address(&app, &anna.user, &account).await);
    assert_eq!(calls(&app), refused, "no other unattended read leaves either");
    let refreshed = anna
        .post(&format!("/v1/bank-accounts/{account}/balance/refresh"), &Value::Null)
        .await;
    assert_eq!(
        (refreshed.status.as_u16(), &refreshed.body["stale"]),
        (200, &false.into())
    );
    assert!(
        hours_to_the_next_read(&app).await > 23.9,
        "the owner's own read shortens no pause"
    );

    sqlx::query("UPDATE bank_accounts SET paused_until = NULL")
        .execute(&app.db)
        .await
        .unwrap();
    let hours = Fault::Exceeded { retry_after: 12 * 3600 };
    app.sandbox.fault(Operation::Balances, hours, 1);
    sync(&app, 2).await;
    let away = hours_to_the_next_read(&app).await;
    assert!((11.9..12.1).contains(&away), "the bank named the time: {away}");
    app.finish().await;
}

#[tokio::test]
async fn an_expired_consent_is_deleted_its_owner_is_told_once_and_no_call_uses_it_again() {
    let app = TestApp::start().await;
    let mut second = app.sandbox.neonomics().accounts()[0].clone();
    second.iban = "NO7112345678903".into();
    second.bban = None;
    let both: Vec<Account> = [app.sandbox.neonomics().accounts(), vec![second]].concat();
    app.sandbox.neonomics().set_accounts(both);
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    assert_eq!(
        anna.get("/v1/bank-accounts").await.body["accounts"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let at_bank = app.sandbox.neonomics().consents()[0].id.clone();
    app.sandbox.neonomics().set_consent_status(&at_bank, "expired").unwrap();
    sync(&app, 1).await;

    let told: Vec<String> = sqlx::query_scalar("SELECT title FROM notifications WHERE kind = 'consent'")
        .fetch_all(&app.db)
        .await
        .unwrap();
    assert_eq!(told, ["Koble til banken på nytt"]);
    let audited = count(&app, "SELECT count(*) FROM audit_log WHERE action = 'consent.deleted'").await;
    let kept = count(
        &app,
        "SELECT count(*) FROM bank_consents WHERE consent_id_sealed IS NOT NULL",
    )
    .await;
    assert_eq!((audited, kept), (1, 0));
    assert_eq!(
        anna.get("/v1/bank-accounts").await.body["accounts"],
        Value::Array(vec![])
    );

    let used = calls(&app);
    sync(&app, 2).await;
    let refresh = format!("/v1/bank-accounts/{account}/balance/refresh");
    assert_eq!(anna.post(&refresh, &Value::Null).await.problem(), (404, "not_found"));
    assert!(!refresh_without_address(&app, &anna.user, &account).await);
    assert_eq!(calls(&app), used);
    app.finish().await;
}
