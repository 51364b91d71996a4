//! A rolling upgrade: old and new processes on one database, a migration in between, and people who pay and log in throughout.
//!
//! Here both releases are this one, and the migration is made for the test. `ops/upgrade` plays it with two real builds.

use std::{path::PathBuf, time::Duration};

use drop_sandbox::Decision;
use drop_tests::{
    app::{TestApp, eventually},
    cluster::Role,
    person::{Answer, SignedIn, browser},
    rollout::{Build, Rollout},
};
use futures_util::future::join_all;
use reqwest::header::{ACCEPT, COOKIE, LOCATION, SET_COOKIE};
use serde_json::json;
use sqlx::migrate::Migrator;
use tokio_util::sync::CancellationToken;

use crate::paying::value;

const PAYERS: [&str; 3] = ["anna", "marko", "leap_day"];
/// What one person may write in a minute is limited, so they pay no more often.
const PACE: Duration = Duration::from_millis(700);
const CHANGES: [(&str, &str); 2] = [
    // The balancer here looks ten times as often as that of the manifests does.
    ("DROP_API_DRAIN_MS", "1000"),
    // Each request may name another address: those of one would be too many.
    ("DROP_TRUSTED_PROXIES", "127.0.0.0/8"),
];
/// Steps of the kind that a release adds: columns and an index on tables in use, a table, a function in another form.
const EXPAND: [&str; 7] = [
    "ALTER TABLE transactions ADD COLUMN next_release text",
    "ALTER TABLE jobs ADD COLUMN next_release bigint",
    "ALTER TABLE sessions ADD COLUMN next_release text NOT NULL DEFAULT 'then'",
    "ALTER TABLE logins ADD COLUMN next_release boolean",
    "CREATE INDEX transactions_next_release ON transactions (updated_at)",
    "CREATE TABLE next_release (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, job bigint REFERENCES jobs (id))",
    "CREATE OR REPLACE FUNCTION owner_of_payment(p_id uuid) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER
       SET search_path = public, pg_temp AS $$ SELECT t.user_id FROM transactions t WHERE t.id = p_id $$",
];

#[tokio::test(flavor = "multi_thread")]
async fn old_and_new_processes_share_a_database_that_is_migrated_in_between_and_nobody_notices() {
    let build = Build::Node(env!("CARGO_BIN_EXE_drop-node"));
    let (app, mut rollout) = TestApp::start_rollout(build.clone(), true, &CHANGES).await;
    let done = upgraded(&app, async |app| {
        expand(app).await;
        rollout.to(build).await;
        rollout.everything_runs();
    })
    .await;
    assert!(done.payments >= 9 && done.logins >= 9, "too little happened: {done:?}");
    app.finish().await;
}

/// By `ops/upgrade` alone, which builds both.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs two builds: ops/upgrade"]
async fn an_earlier_release_is_replaced_by_this_one_and_nobody_notices() {
    let build = |name: &str| Build::Shipped(PathBuf::from(std::env::var(name).expect("the folder of a build")));
    let (old, new) = (build("DROP_UPGRADE_FROM"), build("DROP_UPGRADE_TO"));
    let (app, mut rollout): (TestApp, Rollout) = TestApp::start_rollout(old, false, &CHANGES).await;
    let schema = "SELECT count(*) FROM _sqlx_migrations";
    let before: i64 = value(&app, schema).await;
    let (began, had_roles) = (std::time::Instant::now(), rollout.has_roles());
    let done = upgraded(&app, async |app| {
        app.migrate(&new).await;
        rollout.to(new.clone()).await;
        if !had_roles {
            rollout.give_roles(app);
            rollout.to(new.clone()).await;
        }
        rollout.everything_runs();
    })
    .await;
    let after: i64 = value(&app, schema).await;
    assert!(done.payments >= 9 && done.logins >= 9, "too little happened: {done:?}");
    eprintln!(
        "{done:?} in {:?}, migrations {before} -> {after}, {}, no request failed",
        began.elapsed(),
        if had_roles {
            "roles throughout"
        } else {
            "the owner, then roles"
        }
    );
    app.finish().await;
}

/// What people did meanwhile.
#[derive(Debug)]
struct Done {
    payments: usize,
    logins: usize,
}

/// Has people pay and log in before, during and after this. Whatever is answered with an error fails the test.
async fn upgraded(app: &TestApp, upgrade: impl AsyncFnOnce(&TestApp)) -> Done {
    // Settled with the first look after the approval: what a bank takes its time for is not the matter here.
    app.sandbox
        .neonomics()
        .configure(|bank| bank.progression = vec!["ACSC".to_owned()]);
    let people = join_all(PAYERS.map(|name| async move {
        let person = app.signed_in(name).await;
        let account = person.has_an_account().await;
        (person, account)
    }))
    .await;
    let over = CancellationToken::new();
    let paying = join_all(
        people
            .iter()
            .map(|(person, account)| pay_until(app, &over, person, account)),
    );
    let upgrading = async {
        pause(PACE * 3).await;
        upgrade(app).await;
        pause(PACE * 3).await;
        over.cancel();
    };
    let (paid, logins, ()) = tokio::join!(paying, log_in_until(app, &over), upgrading);
    Done {
        payments: paid.into_iter().sum(),
        logins,
    }
}

async fn pause(pause: Duration) {
    tokio::time::timeout(pause, std::future::pending::<()>()).await.ok();
}

async fn pay_until(app: &TestApp, over: &CancellationToken, person: &SignedIn<'_>, account: &str) -> usize {
    let (mut paid, mut ids, mut pace) = (0, Vec::new(), tokio::time::interval(PACE));
    while !over.is_cancelled() {
        pace.tick().await;
        paid += 1;
        let order = json!({
            "accountId": account,
            "instructedAmount": { "amount": format!("{paid}.00"), "currency": "NOK" },
            "creditorName": "Marko Horvat",
            "creditorAccount": { "iban": "HR1210010051863000160" },
        });
        let asked = person
            .post_keyed("/v1/transactions", &format!("pay-{paid}"), &order)
            .await;
        assert!([201, 202].contains(&asked.status.as_u16()), "{:?}", asked.problem());
        let path = format!("/v1/transactions/{}", asked.body["id"].as_str().expect("an id"));
        let shown = async || {
            let shown = person.get(&path).await;
            assert_eq!(shown.status, 200, "{:?}", shown.problem());
            shown.body
        };
        assert!(
            eventually(async || shown().await["scaRedirect"].is_string()).await,
            "no link"
        );
        let link = shown().await["scaRedirect"].as_str().expect("a link").to_owned();
        let back = app.sandbox.bank().decide_at(&link, Decision::Approve).unwrap().unwrap();
        let returned = browser()
            .get(&back)
            .header("X-Forwarded-For", address(paid))
            .send()
            .await;
        assert_eq!(returned.expect("an answer").status(), 200);
        ids.push(path);
    }
    for path in &ids {
        let is_completed = async || person.get(path).await.body["status"] == "completed";
        assert!(eventually(is_completed).await, "{path} is not completed");
    }
    ids.len()
}

async fn log_in_until(app: &TestApp, over: &CancellationToken) -> usize {
    let (mut logins, mut pace) = (0, tokio::time::interval(PACE));
    while !over.is_cancelled() {
        pace.tick().await;
        logins += 1;
        let left = browser()
            .get(format!("{}/api/auth/bankid/login", app.url))
            .header("X-Forwarded-For", address(logins))
            .send()
            .await
            .expect("an answer");
        assert_eq!(left.status(), 303);
        let header = |name| left.headers()[name].to_str().expect("text");
        let cookie = header(SET_COOKIE).split(';').next().expect("a cookie");
        let back = app.sandbox.bankid().sign_in(header(LOCATION), "d_number").unwrap();
        let returned = browser()
            .get(back)
            .header(COOKIE, cookie)
            .header(ACCEPT, "application/json")
            .header("X-Forwarded-For", address(logins))
            .send()
            .await
            .expect("an answer");
        let answer = Answer::of(returned).await;
        assert_eq!(answer.status, 200, "{:?}", answer.problem());
    }
    logins
}

/// Somebody else's each time.
fn address(number: usize) -> String {
    format!("198.51.100.{}", number % 250 + 1)
}

/// Applies more migrations than this release knows, as its role: one table a file, as `migrations/README.md` demands.
async fn expand(app: &TestApp) {
    let folder = std::env::temp_dir().join(format!("drop-migrations-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir(&folder).unwrap();
    for (number, change) in (1..).zip(EXPAND) {
        std::fs::write(folder.join(format!("2999010100000{number}_next.sql")), change).unwrap();
    }
    let mut next = Migrator::new(folder.as_path()).await.unwrap();
    next.set_ignore_missing(true); // those of this release
    let owner = app.pool_as(Role::Migrate).await;
    next.run(&owner).await.unwrap();
    owner.close().await;
    std::fs::remove_dir_all(&folder).unwrap();
}
