//! One bank that is unwell, and the others: with one circuit for all of them, as the contract has it, and with a circuit for each
//! (`AISP_CIRCUIT_PER_BANK`).

use chrono::TimeDelta;
use drop_common::domain::ids::AccountId;
use drop_sandbox::{Account, Fault, Operation};
use drop_tests::{
    app::TestApp,
    person::{Answer, SignedIn, browser},
};
use rstest::rstest;
use serde_json::Value;

use crate::{
    balances::{calls, count, plan_read},
    circuits::is_open,
    consents::OTHER_IBAN,
    metrics::until,
    paying::execute,
};

const EACH: (&str, &str) = ("AISP_CIRCUIT_PER_BANK", "true");
const PROVIDER: &str = "neonomics/aisp";

/// Has two accounts, the second at a bank of its own; their ids. From here on jobs run by hand.
async fn at_two_banks(app: &TestApp, person: &SignedIn<'_>) -> [String; 2] {
    let first = app.sandbox.neonomics().accounts()[0].clone();
    let second = Account {
        iban: OTHER_IBAN.into(),
        bban: None,
        ..first.clone()
    };
    app.sandbox.neonomics().set_accounts(vec![first, second]);
    person.has_an_account().await;
    app.stop_worker().await;
    let listed = person.get("/v1/bank-accounts").await.body["accounts"].take();
    let ids = [0, 1].map(|at| listed[at]["id"].as_str().unwrap().to_owned());
    is_at(app, &ids[1], "another").await;
    ids
}

async fn is_at(app: &TestApp, account: &str, bank: &str) {
    let id = account.parse::<AccountId>().unwrap().uuid();
    execute(
        app,
        &format!("UPDATE bank_accounts SET bank = '{bank}' WHERE id = '{id}'"),
    )
    .await;
}

/// Three reads of the account meet a bank that fails.
async fn fails(app: &TestApp, account: &str) {
    app.sandbox.fault(Operation::Balances, Fault::status(500), 3);
    for minutes_ago in 0..3 {
        plan_read(app, account, minutes_ago).await;
        app.run_jobs().await;
    }
}

/// Has the accounts read without their owner; how many calls that was.
async fn read_alone(app: &TestApp, accounts: &[&String]) -> usize {
    let before = calls(app);
    for account in accounts {
        plan_read(app, account, 5).await;
    }
    app.run_jobs().await;
    calls(app) - before
}

async fn stale(person: &SignedIn<'_>, account: &str) -> Value {
    person.get(&format!("/v1/bank-accounts/{account}/balance")).await.body["stale"].take()
}

#[rstest]
#[case::one_circuit_for_all("false", false)]
#[case::a_circuit_for_each("true", true)]
#[tokio::test]
async fn a_bank_that_fails_cuts_the_others_off_unless_each_has_its_own_circuit(
    #[case] setting: &str,
    #[case] others_go_on: bool,
) {
    let app = TestApp::start_with(&[(EACH.0, setting)]).await;
    let anna = app.signed_in("anna").await;
    let [first, second] = at_two_banks(&app, &anna).await;
    fails(&app, &first).await;
    assert_eq!(is_open(&app, PROVIDER).await, !others_go_on);
    assert_eq!(read_alone(&app, &[&first, &second]).await, usize::from(others_go_on));
    assert_eq!(stale(&anna, &first).await, true);
    assert_eq!(stale(&anna, &second).await, !others_go_on);

    // A wish is answered from the cache where the bank cannot be asked, and waits for a worker where it can.
    let wishes = async |account: &str| {
        let request = anna.request(&format!("/v1/bank-accounts/{account}/balance/refresh"));
        Answer::of(request.header("Prefer", "respond-async").send().await.unwrap()).await
    };
    assert_eq!(wishes(&first).await.status, 200);
    assert_eq!(wishes(&second).await.status, if others_go_on { 202 } else { 200 });

    // What one bank's circuit cuts off has left the lane, and is planned anew for soon after; then it is the probe, as is
    // what waits for the circuit of all. The bank is well again.
    if others_go_on {
        assert_eq!(
            count(
                &app,
                "SELECT count(*) FROM jobs WHERE state = 'ready' AND kind = 'sync-balance'"
            )
            .await,
            0
        );
        let soon = "SELECT count(*) FROM bank_accounts WHERE next_sync_at BETWEEN now() AND now() + interval '17 min'";
        assert_eq!(count(&app, soon).await, 1);
    }
    app.advance(TimeDelta::seconds(80)).await;
    if others_go_on {
        plan_read(&app, &first, 0).await;
    }
    app.run_jobs().await;
    assert_eq!(stale(&anna, &first).await, false);
    assert_eq!(count(&app, "SELECT count(*) FROM breaker WHERE open").await, 0);
    assert_eq!(count(&app, "SELECT count(*) FROM jobs WHERE state = 'ready'").await, 0);
    app.finish().await;
}

#[tokio::test]
async fn a_bank_whose_own_circuit_is_half_open_is_asked_by_one_call() {
    let app = TestApp::start_with(&[EACH]).await;
    let anna = app.signed_in("anna").await;
    let [first, second] = at_two_banks(&app, &anna).await;
    is_at(&app, &second, "neonomics").await;
    fails(&app, &first).await;
    app.advance(TimeDelta::seconds(61)).await;
    app.sandbox.fault(Operation::Balances, Fault::status(500), 1);
    assert_eq!(read_alone(&app, &[&first, &second]).await, 1, "the probe failed");
    let entered = "SELECT count(*) FROM balance_reads WHERE NOT attended";
    assert_eq!(
        count(&app, entered).await,
        4,
        "what the circuit held back is not counted"
    );
    assert_eq!(
        count(&app, "SELECT count(*) FROM breaker WHERE open AND probe_id IS NULL").await,
        1
    );
    app.abandon().await;
}

#[tokio::test]
async fn a_probe_of_a_bank_that_finds_nothing_to_ask_leaves_it_to_the_next() {
    let app = TestApp::start_with(&[EACH]).await;
    let anna = app.signed_in("anna").await;
    let [first, second] = at_two_banks(&app, &anna).await;
    is_at(&app, &second, "neonomics").await;
    fails(&app, &first).await;
    app.advance(TimeDelta::seconds(61)).await;
    let paused = first.parse::<AccountId>().unwrap().uuid();
    let pause = format!("UPDATE bank_accounts SET paused_until = now() + interval '1 day' WHERE id = '{paused}'");
    execute(&app, &pause).await;
    assert_eq!(read_alone(&app, &[&first]).await, 0);
    assert_eq!(read_alone(&app, &[&second]).await, 1);
    assert_eq!(count(&app, "SELECT count(*) FROM breaker WHERE open").await, 0);
    app.finish().await;
}

#[tokio::test]
async fn that_neonomics_gives_no_token_is_no_bank_s_failure() {
    let mut app = TestApp::start_with(&[EACH]).await;
    let ids = {
        let anna = app.signed_in("anna").await;
        at_two_banks(&app, &anna).await
    };
    app.reconfigure_worker(&[EACH]); // a process that has no token yet
    app.sandbox.fault(Operation::NeonomicsToken, Fault::status(503), 3);
    for minutes_ago in 0..3 {
        plan_read(&app, &ids[0], minutes_ago).await;
        app.run_jobs().await;
    }
    assert!(is_open(&app, PROVIDER).await);
    assert_eq!(count(&app, "SELECT count(*) FROM breaker WHERE open").await, 1);
    assert_eq!(read_alone(&app, &[&ids[1]]).await, 0);
    app.abandon().await;
}

#[tokio::test]
async fn an_open_circuit_of_one_bank_is_shown_as_one_of_account_reads_and_forgotten_where_none_are_used() {
    let mut app = TestApp::start_with(&[EACH]).await;
    let first = {
        let anna = app.signed_in("anna").await;
        let [first, _] = at_two_banks(&app, &anna).await;
        first
    };
    fails(&app, &first).await;
    let health = browser().get(format!("{}/v1/health", app.url)).send().await.unwrap();
    assert_eq!(Answer::of(health).await.body["balances"], "degraded");
    app.start_worker().await;
    let open = "drop_circuit_state{key=\"neonomics/aisp\"}";
    until(&app, "the circuit is shown", |scrape| scrape.value(open) > 0.0).await;
    app.stop_worker().await;
    app.reconfigure_worker(&[(EACH.0, "false")]);
    app.start_worker().await;
    until(&app, "it is forgotten", |scrape| scrape.value(open) < 1.0).await;
    assert_eq!(count(&app, "SELECT count(*) FROM breaker").await, 3);
    app.finish().await;
}
