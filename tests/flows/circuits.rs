//! The circuits in front of the providers: one request probes, and a circuit closes by itself (contract 3.2).

use std::collections::BTreeSet;

use chrono::TimeDelta;
use drop_sandbox::{Decision, Fault, Operation};
use drop_tests::{
    app::{TestApp, eventually},
    person::{Answer, browser},
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    balances::{IBAN, calls, count, plan_reads},
    paying::{becomes, order, pays},
};

/// Three reads without the owner fail, one after the other.
async fn three_reads_fail(app: &TestApp) {
    app.sandbox.fault(Operation::Balances, Fault::status(500), 3);
    for plan in 1..=3 {
        plan_reads(app, plan).await;
        read_now(app).await;
    }
    assert!(is_open(app, "neonomics/aisp").await);
}

/// Plans are spread over some time: this one is due.
async fn read_now(app: &TestApp) {
    app.run_jobs().await;
    sqlx::query("UPDATE jobs SET run_at = clock_timestamp() WHERE state = 'ready'")
        .execute(&app.db)
        .await
        .unwrap();
    app.run_jobs().await;
}

pub(crate) async fn is_open(app: &TestApp, key: &str) -> bool {
    sqlx::query_scalar("SELECT open FROM breaker WHERE key = $1")
        .bind(key)
        .fetch_one(&app.db)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_outage_of_account_reads_ends_with_a_planned_read_and_no_user() {
    let app = TestApp::start().await;
    app.sandbox.neonomics().configure(|bank| bank.unattended_reads = 100);
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.stop_worker().await;
    three_reads_fail(&app).await;

    app.sandbox.neonomics().set_balance(IBAN, 5_000_000).unwrap();
    plan_reads(&app, 4).await;
    let before = calls(&app);
    read_now(&app).await;
    assert_eq!(calls(&app), before, "the circuit is open");
    app.advance(TimeDelta::seconds(61)).await;
    app.run_jobs().await;
    assert!(!is_open(&app, "neonomics/aisp").await);
    assert_eq!(calls(&app), before + 1);
    let shown = anna.get(&format!("/v1/bank-accounts/{account}/balance")).await;
    assert_eq!(
        (&shown.body["amount"], &shown.body["stale"]),
        (&"50000.00".into(), &false.into())
    );
    app.finish().await;
}

#[tokio::test]
async fn a_circuit_that_no_job_can_probe_closes_by_a_token_call() {
    let app = TestApp::start().await;
    for key in ["neonomics/aisp", "neonomics/pisp"] {
        sqlx::query("SELECT breaker_fail($1, 0, NULL, '0 s') FROM generate_series(1, 3)")
            .bind(key)
            .execute(&app.db)
            .await
            .unwrap();
        assert!(is_open(&app, key).await);
    }
    app.sandbox.fault(Operation::NeonomicsToken, Fault::status(503), 1);
    app.advance(TimeDelta::seconds(66)).await;
    let one_closed = async || count(&app, "SELECT count(*) FROM breaker WHERE open").await == 1;
    assert!(eventually(one_closed).await, "nobody asks");
    let tokens = || app.sandbox.journal().entries_of(Operation::NeonomicsToken).len();
    assert_eq!(
        tokens(),
        2,
        "one call each, and the one that failed keeps its circuit open"
    );
    app.advance(TimeDelta::seconds(66)).await;
    let all_closed = async || count(&app, "SELECT count(*) FROM breaker WHERE open").await == 0;
    assert!(eventually(all_closed).await, "nobody asks again");
    assert_eq!(tokens(), 3);
    app.finish().await;
}

#[tokio::test]
async fn a_job_that_cannot_be_claimed_keeps_no_user_from_probing() {
    let app = TestApp::start().await;
    app.sandbox.neonomics().configure(|bank| bank.unattended_reads = 100);
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.stop_worker().await;
    three_reads_fail(&app).await;
    app.lane("balance.batch", "paused = true").await;
    plan_reads(&app, 4).await;
    read_now(&app).await;
    assert_eq!(
        count(
            &app,
            "SELECT count(*) FROM jobs WHERE state = 'ready' AND kind = 'sync-balance'"
        )
        .await,
        1
    );
    app.advance(TimeDelta::seconds(61)).await;

    let refresh = format!("/v1/bank-accounts/{account}/balance/refresh");
    let (refreshed, ()) = tokio::join!(anna.post(&refresh, &Value::Null), async {
        let asked = async || {
            count(
                &app,
                "SELECT count(*) FROM jobs WHERE kind = 'refresh-balance' AND state = 'ready'",
            )
            .await
                == 1
        };
        assert!(eventually(asked).await, "the wish is answered from the cache");
        app.run_jobs().await;
    });
    assert_eq!(
        (refreshed.status.as_u16(), &refreshed.body["stale"]),
        (200, &false.into())
    );
    assert!(!is_open(&app, "neonomics/aisp").await);
    app.abandon().await;
}

#[tokio::test]
async fn a_probe_that_made_no_call_leaves_the_circuit_open_for_the_next_probe() {
    let mut app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.stop_worker().await;
    let order = json!({
        "accountId": account,
        "instructedAmount": { "amount": "2010.00", "currency": "NOK" },
        "creditorName": "Marko Petrovic",
        "creditorAccount": { "bban": "265-1234567-89" },
        "remittanceInformation": "Drop remittance"
    });
    assert_eq!(anna.post_later("/v1/transactions", "first", &order).await.status, 202);
    sqlx::query(
        "UPDATE breaker SET open = true, opened_at = clock_timestamp() - interval '61 s',
                retry_at = clock_timestamp() - interval '1 s' WHERE key = 'neonomics/pisp'",
    )
    .execute(&app.db)
    .await
    .unwrap();

    app.reconfigure_worker(&[("NEONOMICS_CLIENT_SECRET", "a-secret-that-is-not-known-there")]);
    app.run_jobs().await;
    let tried: i32 = sqlx::query_scalar("SELECT attempt FROM jobs WHERE kind = 'initiate-payment'")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(tried, 1, "the payment is the probe");
    assert_eq!(circuit(&app).await, (true, false), "open, and nobody probes");
    assert_eq!(app.sandbox.neonomics().payments().len(), 0);
    app.abandon().await;
}

/// Whether the circuit of payments is open, and whether somebody holds its probe.
async fn circuit(app: &TestApp) -> (bool, bool) {
    sqlx::query_as("SELECT open, probe_id IS NOT NULL FROM breaker WHERE key = 'neonomics/pisp'")
        .fetch_one(&app.db)
        .await
        .expect("the circuit's row")
}

#[tokio::test]
async fn health_names_what_is_degraded_and_stays_200() {
    let app = TestApp::start().await;
    let parts = async || {
        let answer = Answer::of(browser().get(format!("{}/v1/health", app.url)).send().await.unwrap()).await;
        assert_eq!(answer.status, 200);
        let body = answer.body.as_object().unwrap().clone();
        let degraded = body.into_iter().filter(|(_, condition)| condition == "degraded");
        degraded.map(|(part, _)| part).collect::<BTreeSet<_>>()
    };
    assert_eq!(parts().await, BTreeSet::new());
    sqlx::query(
        "UPDATE breaker SET open = true, opened_at = clock_timestamp(), retry_at = clock_timestamp() + interval '1 min'
          WHERE key = 'neonomics/pisp'",
    )
    .execute(&app.db)
    .await
    .unwrap();
    assert_eq!(parts().await, ["payments", "status"].map(str::to_owned).into());
    app.finish().await;
}

#[tokio::test]
async fn calls_that_succeed_and_refusals_that_count_for_nothing_write_no_circuit() {
    let app = TestApp::start().await;
    // Where a row lies, and who wrote it there: any write moves it.
    let rows = async || -> Vec<String> {
        let sql = "SELECT key || ctid::text || xmin::text FROM breaker ORDER BY key";
        sqlx::query_scalar(sql).fetch_all(&app.db).await.unwrap()
    };
    let before = rows().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    for (key, status) in [("refused", 400), ("limited", 429)] {
        app.sandbox.fault(Operation::Payment, Fault::status(status), 1);
        let mut order = order(&account, "2010.00");
        order["remittanceInformation"] = json!(key);
        assert_eq!(
            anna.post_keyed("/v1/transactions", key, &order).await.body["status"],
            "failed"
        );
    }
    // The pause after the 429 ends here and not with the time, which is moved in the circuits' rows too.
    app.lane("payment.send", "throttled_until = NULL").await;
    let paid = pays(&anna, &account, "first").await;
    anna.decides(paid.body["scaRedirect"].as_str().unwrap(), Decision::Approve)
        .await;
    becomes(&anna, paid.body["id"].as_str().unwrap(), "completed").await;
    assert_eq!(rows().await, before);
    app.finish().await;
}

#[tokio::test]
async fn health_says_so_when_the_last_three_logins_could_not_reach_bankid_until_one_can_or_they_are_old() {
    let app = TestApp::start().await;
    let bankid = async || {
        let answer = Answer::of(browser().get(format!("{}/v1/health", app.url)).send().await.unwrap()).await;
        let part = |part: &str| answer.body[part].as_str().unwrap().to_owned();
        assert_eq!((answer.status, part("status")), (StatusCode::OK, part("bankid")));
        part("bankid")
    };
    let fails = async |fault, times| {
        for _ in 0..times {
            app.sandbox.fault(Operation::BankidToken, Fault::clone(&fault), 1);
            assert_eq!(app.log_in("anna").await.problem(), (502, "token_exchange_failed"));
        }
    };
    // BankID answered: it is our client, or this code, that it does not take.
    let refused = Fault::Status {
        code: 400,
        body: Some(json!({ "error": "invalid_grant" })),
    };
    fails(refused, 3).await;
    fails(Fault::Drop, 2).await;
    assert_eq!(bankid().await, "ok");
    fails(Fault::status(500), 1).await;
    assert_eq!(bankid().await, "degraded");
    sqlx::query("UPDATE logins SET finished_at = finished_at - interval '11 minutes'")
        .execute(&app.db)
        .await
        .unwrap();
    assert_eq!(bankid().await, "ok");
    sqlx::query("UPDATE logins SET finished_at = finished_at + interval '11 minutes'")
        .execute(&app.db)
        .await
        .unwrap();
    assert_eq!(bankid().await, "degraded");
    assert_eq!(app.log_in("anna").await.status, 200);
    assert_eq!(bankid().await, "ok");
    app.finish().await;
}
