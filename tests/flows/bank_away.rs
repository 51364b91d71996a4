//! Neonomics is down for a day: what is shown, what is asked, and how it comes back (contract 3.2).

use std::{slice, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use drop_sandbox::{Fault, Operation, Provider};
use drop_tests::{
    app::{TestApp, eventually},
    person::Answer,
    web::Browser,
};
use drop_worker::{Context, probe_idle_circuits};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    balances::{IBAN, count, enqueue_plan},
    circuits::is_open,
    four_reads::{most_in_a_window, reads},
};

/// Time goes on in steps as small as this where every probe is to be seen, and in larger ones in between.
const SMALL: TimeDelta = TimeDelta::seconds(20);
const LARGE: TimeDelta = TimeDelta::minutes(30);

const ENTERED_ALONE: &str = "SELECT count(*) FROM balance_reads WHERE NOT attended";

/// What a worker does meanwhile: it plans what is due, runs what is ready, and probes where no job can.
async fn work(app: &TestApp, worker: &Arc<Context>) {
    // Of the time that passes here: several steps of the test may fall into one second of the database's.
    let slot = app.now();
    let mut tx = app.db.begin().await.unwrap();
    enqueue_plan(&mut tx, slot).await;
    tx.commit().await.unwrap();
    app.run_jobs_by(slice::from_ref(worker)).await;
    probe_idle_circuits(worker).await;
}

/// Logs in; the check runs by hand like everything else. A session in a browser lasts a day at most.
async fn logs_in(app: &TestApp, worker: &Arc<Context>) -> Browser {
    let checks = async {
        let waits = "SELECT count(*) FROM jobs WHERE kind = 'check-login' AND state = 'ready'";
        assert!(eventually(async || count(app, waits).await == 1).await);
        app.run_jobs_by(slice::from_ref(worker)).await;
    };
    let ((browser, _), ()) = tokio::join!(app.logged_in_browser("anna"), checks);
    browser
}

/// Looks at the balance, and at the session, which nobody may lose by a bank that is away.
async fn balance(browser: &mut Browser, account: &str) -> Value {
    let refreshed = browser.post("/v1/auth/refresh", &json!({})).await;
    assert!(refreshed.status.is_success(), "{:?}", refreshed.problem());
    let shown = browser.get(&format!("/v1/bank-accounts/{account}/balance")).await;
    assert_eq!(shown.status, 200, "{:?}", shown.problem());
    shown.body
}

/// Asks for a fresh balance without waiting for it.
async fn wishes(browser: &Browser, account: &str) -> Answer {
    let path = format!("/v1/bank-accounts/{account}/balance/refresh");
    let request = browser
        .request(Method::POST, &path, None)
        .header("Prefer", "respond-async");
    Answer::of(request.send().await.unwrap()).await
}

/// When Neonomics was asked for anything.
fn asked(app: &TestApp) -> Vec<DateTime<Utc>> {
    app.sandbox.neonomics().journal().iter().map(|entry| entry.at).collect()
}

#[tokio::test]
async fn a_day_without_neonomics_shows_old_balances_asks_once_a_minute_and_ends_by_itself() {
    let app = TestApp::start().await;
    let account = app.signed_in("anna").await.has_an_account().await;
    app.stop_worker().await;
    let worker = app.worker_by_hand();
    let mut browser = logs_in(&app, &worker).await;
    app.sandbox.neonomics().set_balance(IBAN, 5_000_000).unwrap();
    for operation in Operation::ALL
        .into_iter()
        .filter(|one| one.provider() == Provider::Neonomics)
    {
        app.sandbox.faults().add(operation, Fault::status(503), None);
    }

    // Nobody knows yet: the first three find it out.
    for _ in 0..3 {
        assert_eq!(wishes(&browser, &account).await.status, 202);
        work(&app, &worker).await;
    }
    assert!(is_open(&app, "neonomics/aisp").await);
    let (start, known) = (app.now(), asked(&app).len());
    let mut closely_from = start;
    while app.now() - start < TimeDelta::days(1) {
        if app.now() >= closely_from + TimeDelta::hours(8) {
            closely_from = app.now();
            browser = logs_in(&app, &worker).await;
        }
        let closely = app.now() - closely_from < TimeDelta::minutes(6);
        app.advance(if closely { SMALL } else { LARGE }).await;
        work(&app, &worker).await;
        let shown = balance(&mut browser, &account).await;
        let away = (app.now() - start).num_seconds();
        assert_eq!((&shown["amount"], &shown["stale"]), (&"45230.00".into(), &true.into()));
        assert!(shown["ageSeconds"].as_i64().unwrap() >= away, "{shown} after {away} s");
        let status = wishes(&browser, &account).await.status;
        assert!([200, 202].contains(&status.as_u16()), "{status}");
    }
    let probes = asked(&app).split_off(known);
    assert!(probes.len() > 50, "it is asked again and again: {}", probes.len());
    for pair in probes.windows(2) {
        assert!(pair[1] - pair[0] >= TimeDelta::seconds(60), "{pair:?}");
    }

    app.sandbox.faults().clear(Some(Provider::Neonomics));
    for _ in 0..48 {
        app.advance(LARGE).await;
        work(&app, &worker).await;
    }
    assert!(!is_open(&app, "neonomics/aisp").await);
    let mut browser = logs_in(&app, &worker).await;
    assert_eq!(
        balance(&mut browser, &account).await["amount"],
        "50000.00",
        "nobody asked for it"
    );
    assert_eq!(wishes(&browser, &account).await.status, 202);
    work(&app, &worker).await;
    assert_eq!(balance(&mut browser, &account).await["stale"], false);
    let entered: Vec<DateTime<Utc>> =
        sqlx::query_scalar("SELECT read_at FROM balance_reads WHERE NOT attended ORDER BY read_at")
            .fetch_all(&app.db)
            .await
            .unwrap();
    for alone in [reads(&app, false), entered] {
        assert!((1..=4).contains(&most_in_a_window(&alone)), "{alone:?}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_day_without_a_connection_to_neonomics_uses_none_of_the_four_reads_and_ends_by_itself() {
    let mut app = TestApp::start().await;
    app.signed_in("anna").await.has_an_account().await;
    app.stop_worker().await;
    app.sandbox.neonomics().set_balance(IBAN, 5_000_000).unwrap();
    let right = app.sandbox.neonomics().base_url();
    let nowhere = "http://127.0.0.1:1";
    app.reconfigure_worker(&[("NEONOMICS_BASE_URL", nowhere), ("NEONOMICS_TOKEN_URL", nowhere)]);
    let cut_off = app.worker_by_hand();
    for _ in 0..48 {
        app.advance(LARGE).await;
        work(&app, &cut_off).await;
        assert_eq!(count(&app, ENTERED_ALONE).await, 0);
    }
    let tried = "SELECT count(*) FROM jobs WHERE kind = 'sync-balance' AND state = 'done'";
    assert!(count(&app, tried).await > 4, "it is tried again and again");

    let token = format!("{right}/auth/token");
    app.reconfigure_worker(&[("NEONOMICS_BASE_URL", &right), ("NEONOMICS_TOKEN_URL", &token)]);
    let back = app.worker_by_hand();
    for _ in 0..4 {
        app.advance(LARGE).await;
        work(&app, &back).await;
    }
    assert_eq!(count(&app, "SELECT balance FROM bank_accounts").await, 5_000_000);
    assert_eq!(count(&app, ENTERED_ALONE).await, 1);
    app.finish().await;
}
