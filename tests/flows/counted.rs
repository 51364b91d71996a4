//! What is counted about payments, balances and circuits: each thing once, when it is committed.

#![expect(
    clippy::float_cmp,
    reason = "a metric's value is text, and the counts compared here are exact in it"
)]

use std::collections::BTreeMap;

use chrono::TimeDelta;
use drop_sandbox::{Decision, Fault, Operation};
use drop_tests::{
    app::{TestApp, eventually},
    person::Answer,
};
use serde_json::{Value, json};

use crate::{
    balances::plan_reads,
    metrics::{Scrape, until},
    paying::{becomes, busy, execute, order, pays, pays_later, shown, value},
};

fn payments(scrape: &Scrape) -> BTreeMap<String, f64> {
    scrape.counted("drop_payments_total")
}

fn one(outcome: &str) -> BTreeMap<String, f64> {
    BTreeMap::from([(format!("{{outcome=\"{outcome}\"}}"), 1.0)])
}

#[tokio::test]
async fn a_payment_that_completes_counts_once_although_the_bank_says_so_twice() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let paid = pays(&anna, &account, "first").await;
    assert!(payments(&Scrape::of_worker(&app).await).is_empty());
    let id = paid.body["id"].as_str().unwrap();
    anna.decides(paid.body["scaRedirect"].as_str().unwrap(), Decision::Approve)
        .await;
    becomes(&anna, id, "completed").await;
    // ACCP has completed it; ACSC follows with the next look.
    app.advance(TimeDelta::seconds(30)).await;
    let finally = async || shown(&anna, id).await["bankFinal"] == true;
    assert!(eventually(finally).await);
    assert_eq!(payments(&Scrape::of_worker(&app).await), one("completed"));
    app.finish().await;
}

#[tokio::test]
async fn a_payment_that_is_rejected_counts_as_failed_once_although_its_first_commit_is_refused() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let paid = pays(&anna, &account, "first").await;
    let at_the_commit = "CONSTRAINT TRIGGER busy AFTER INSERT ON audit_log DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
                         WHEN (NEW.action = 'payment.moved')";
    busy(&app, at_the_commit, 2).await;
    anna.decides(paid.body["scaRedirect"].as_str().unwrap(), Decision::Reject)
        .await;
    becomes(&anna, paid.body["id"].as_str().unwrap(), "failed").await;
    let worker = until(&app, "it was counted", |scrape| !payments(scrape).is_empty()).await;
    assert_eq!(payments(&worker), one("failed"));
    assert_eq!(worker.value("pisp_payment_failures_total{reason=\"rejected\"}"), 1.0);
    app.finish().await;
}

#[tokio::test]
async fn a_payment_that_is_taken_back_before_it_left_is_counted_by_the_api() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.lane("payment.send", "paused = true").await;
    let id = pays_later(&anna, &account, "first").await.body["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let cancel = anna.request(&format!("/v1/transactions/{id}/cancel"));
    let cancelled = Answer::of(cancel.send().await.unwrap()).await;
    assert_eq!(cancelled.body["status"], "cancelled", "{:?}", cancelled.problem());
    assert_eq!(payments(&Scrape::of_api(&app).await), one("cancelled"));
    app.lane("payment.send", "paused = false").await;
    app.finish().await;
}

#[tokio::test]
async fn a_read_of_a_balance_counts_by_its_outcome_and_by_whether_the_owner_was_there() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let reads = |scrape: &Scrape| scrape.counted("drop_balance_reads_total");
    let counted = |attended: &str, outcome: &str| format!("{{attended=\"{attended}\",outcome=\"{outcome}\"}}");
    let mut expected = BTreeMap::from([(counted("true", "read"), 1.0)]);
    until(&app, "the first read", |scrape| reads(scrape) == expected).await;

    app.sandbox.fault(Operation::Balances, Fault::status(500), 1);
    let refresh = format!("/v1/bank-accounts/{account}/balance/refresh");
    anna.post(&refresh, &Value::Null).await;
    expected.insert(counted("true", "transient"), 1.0);
    until(&app, "a read that failed", |scrape| reads(scrape) == expected).await;

    app.sandbox
        .neonomics()
        .configure(|bank| bank.balance_answer = Some(json!({ "balances": [] })));
    plan_reads(&app, 1).await;
    let planned = async || {
        execute(
            &app,
            "UPDATE jobs SET run_at = clock_timestamp() WHERE kind = 'sync-balance' AND state = 'ready'",
        )
        .await;
        reads(&Scrape::of_worker(&app).await).len() > 2
    };
    assert!(eventually(planned).await, "the planned read");
    expected.insert(counted("false", "no_balance"), 1.0);
    assert_eq!(reads(&Scrape::of_worker(&app).await), expected);
    app.finish().await;
}

#[tokio::test]
async fn a_circuit_counts_each_time_it_opens_a_failed_probe_included_and_when_it_closes() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let circuits = |scrape: &Scrape| scrape.counted("drop_circuit_transitions_total");
    let of_payments = |open: f64, closed: f64| {
        let counted = |to: &str| format!("{{key=\"neonomics/pisp\",to=\"{to}\"}}");
        let all = BTreeMap::from([(counted("closed"), closed), (counted("open"), open)]);
        all.into_iter()
            .filter(|(_, count)| *count > 0.0)
            .collect::<BTreeMap<_, _>>()
    };
    assert!(circuits(&Scrape::of_worker(&app).await).is_empty());
    app.sandbox.fault(Operation::Payment, Fault::status(500), 4);
    let first = anna
        .post_keyed("/v1/transactions", "first", &order(&account, "2010.00"))
        .await;
    assert_eq!(first.problem(), (502, "circuit_open"));
    until(&app, "it opened", |scrape| circuits(scrape) == of_payments(1.0, 0.0)).await;
    // The circuit is told before the job is: where none waits, a call for a token would be the probe.
    let waits = "SELECT count(*) FROM jobs WHERE kind = 'initiate-payment' AND state = 'ready'";
    assert!(eventually(async || value::<i64>(&app, waits).await == 1).await);
    // At this moment, for the worker itself probes what no job has probed for five seconds.
    execute(
        &app,
        "UPDATE jobs SET run_at = clock_timestamp() WHERE kind = 'initiate-payment'",
    )
    .await;
    execute(
        &app,
        "UPDATE breaker SET retry_at = clock_timestamp() WHERE key = 'neonomics/pisp'",
    )
    .await;
    until(&app, "the probe failed", |scrape| {
        circuits(scrape) == of_payments(2.0, 0.0)
    })
    .await;
    app.advance(TimeDelta::seconds(70)).await;
    until(&app, "it closed", |scrape| circuits(scrape) == of_payments(2.0, 1.0)).await;
    app.abandon().await;
}
