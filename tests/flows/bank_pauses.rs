//! Fewer calls, where the bank or the gateway asks for that: of one account, or altogether (contract 3.2).

use chrono::TimeDelta;
use drop_sandbox::{Decision, Fault, Operation};
use drop_tests::app::TestApp;
use rstest::rstest;
use serde_json::Value;

use crate::{
    balances::{calls, count, hours_to_the_next_read, plan_read, refresh_without_address, sync},
    consents::asks,
    paying::value,
};

/// For how long nothing of the lane is claimed, in seconds.
async fn throttled(app: &TestApp, lane: &str) -> f64 {
    let sql = format!(
        "SELECT coalesce(extract(epoch FROM throttled_until - clock_timestamp()), 0)::float8 FROM lanes WHERE name = '{lane}'"
    );
    value(app, &sql).await
}

/// How far away the one job of this kind is, in seconds, and how many attempts it has used.
async fn waits(app: &TestApp, kind: &str) -> (f64, i32) {
    let sql = format!(
        "SELECT extract(epoch FROM run_at - clock_timestamp())::float8, attempt - unused FROM jobs WHERE kind = '{kind}' AND state = 'ready'"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .fetch_one(&app.db)
        .await
        .unwrap()
}

#[rstest]
#[case::without_a_time(Fault::status(429), 60.0)]
#[case::for_two_minutes(Fault::Limited { retry_after: 120 }, 120.0)]
#[case::for_ever(Fault::Limited { retry_after: u64::MAX }, 300.0)]
#[tokio::test]
async fn a_gateway_that_is_asked_too_much_slows_the_lane_and_not_the_account(#[case] fault: Fault, #[case] pause: f64) {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.sandbox.fault(Operation::Balances, fault.clone(), 1);
    sync(&app, 1).await;
    let wait = throttled(&app, "balance.batch").await;
    assert!((pause - 10.0..=pause).contains(&wait), "{wait}");
    let away = hours_to_the_next_read(&app).await;
    assert!((0.9..1.1).contains(&away), "it is read when the pause is over: {away}");
    assert!(throttled(&app, "balance.user").await <= 0.0);

    app.sandbox.fault(Operation::Balances, fault, 1);
    let refresh = format!("/v1/bank-accounts/{account}/balance/refresh");
    assert_eq!(anna.post(&refresh, &Value::Null).await.body["stale"], true);
    let wait = throttled(&app, "balance.user").await;
    assert!((pause - 10.0..=pause).contains(&wait), "{wait}");
    let asked = calls(&app);
    assert_eq!(anna.post(&refresh, &Value::Null).await.body["stale"], true);
    assert_eq!(calls(&app), asked, "nobody else asks meanwhile");
    app.finish().await;
}

#[rstest]
#[case("start-consent", Operation::ConsentCreate)]
#[case("fetch-accounts", Operation::ConsentStatus)]
#[case("end-consent", Operation::ConsentDelete)]
#[tokio::test]
async fn a_pause_is_kept_by_whatever_is_asked_about_a_consent_and_is_never_endless(
    #[case] kind: &str,
    #[case] operation: Operation,
) {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    if kind != "start-consent" {
        let (id, link) = asks(&anna, "first").await;
        if kind == "end-consent" {
            anna.decides(&link, Decision::Approve).await;
            app.stop_worker().await;
            assert_eq!(anna.delete(&format!("/v1/bank-consents/{id}")).await.status, 204);
        }
    }
    app.stop_worker().await;
    if kind == "start-consent" {
        let wish = anna.request("/v1/bank-consents").header("Idempotency-Key", "first");
        let answer = wish.header("Prefer", "respond-async").send().await.unwrap();
        assert_eq!(answer.status(), 202);
    }
    for (retry_after, least) in [(u64::MAX, 295.0), (200, 195.0)] {
        let now = format!("UPDATE jobs SET run_at = clock_timestamp() WHERE kind = '{kind}'");
        crate::paying::execute(&app, &now).await;
        app.sandbox.fault(operation, Fault::Limited { retry_after }, 1);
        app.run_jobs().await;
        let (wait, used) = waits(&app, kind).await;
        assert!((least..451.0).contains(&wait), "{wait}");
        assert_eq!(used, 0, "waiting is not failing");
        assert!(throttled(&app, "balance.user").await >= least);
        app.lane("balance.user", "throttled_until = NULL").await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_pause_of_one_account_holds_a_read_that_was_planned_before_it() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.stop_worker().await;
    let before = calls(&app);
    let hours = Fault::Exceeded { retry_after: 12 * 3600 };
    app.sandbox.fault(Operation::Balances, hours, 1);
    plan_read(&app, &account, 1).await;
    app.run_jobs().await;
    assert_eq!(calls(&app), before + 1);
    // The owner's own read has ended well meanwhile, and another plan was under way.
    let refresh = format!("/v1/bank-accounts/{account}/balance/refresh");
    app.start_worker().await;
    assert_eq!(anna.post(&refresh, &Value::Null).await.body["stale"], false);
    app.stop_worker().await;
    plan_read(&app, &account, 2).await;
    app.run_jobs().await;
    assert_eq!(calls(&app), before + 2, "the bank wanted to be left alone");
    let away = hours_to_the_next_read(&app).await;
    assert!((11.9..12.1).contains(&away), "{away}");

    app.advance(TimeDelta::hours(13)).await;
    plan_read(&app, &account, 0).await;
    app.run_jobs().await;
    assert_eq!(calls(&app), before + 3, "it is over");
    app.finish().await;
}

#[tokio::test]
async fn a_pause_ends_with_the_consent_that_it_was_asked_under() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.sandbox
        .fault(Operation::Balances, Fault::Exceeded { retry_after: 40 * 3600 }, 1);
    sync(&app, 1).await;
    assert!(!refresh_without_address(&app, &anna.user, &account).await);
    let (_, link) = asks(&anna, "again").await;
    anna.decides(&link, Decision::Approve).await;
    assert!(refresh_without_address(&app, &anna.user, &account).await);
    app.finish().await;
}

#[rstest]
#[case::away(Fault::status(503), 1.0)]
#[case::no_answer(Fault::Drop, 1.0)]
#[case::nonsense(Fault::Garbage, 1.0)]
#[case::refused(Fault::status(404), 6.0)]
#[tokio::test]
async fn a_read_that_failed_for_the_moment_is_made_good_within_the_hour(#[case] fault: Fault, #[case] hours: f64) {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.has_an_account().await;
    app.sandbox.fault(Operation::Balances, fault.clone(), 1);
    sync(&app, 1).await;
    let away = hours_to_the_next_read(&app).await;
    assert!((hours - 0.1..hours + 0.1).contains(&away), "{away}");
    // Not again and again: an outage must not use the four reads up.
    app.sandbox.fault(Operation::Balances, fault, 1);
    sync(&app, 2).await;
    let away = hours_to_the_next_read(&app).await;
    assert!((5.9..6.1).contains(&away), "{away}");
    assert_eq!(
        count(
            &app,
            "SELECT count(*) FROM bank_accounts WHERE balance_failed_at IS NOT NULL"
        )
        .await,
        1
    );
    app.finish().await;
}

#[rstest]
#[case::no_token("NEONOMICS_CLIENT_SECRET", "a-secret-that-is-not-known-there")]
#[case::no_connection("NEONOMICS_BASE_URL", "http://127.0.0.1:1")]
#[tokio::test]
async fn a_read_that_did_not_reach_the_bank_is_none_of_the_four_and_is_made_within_the_hour(
    #[case] variable: &'static str,
    #[case] wrong: &str,
) {
    let mut app = TestApp::start().await;
    let account = app.signed_in("anna").await.has_an_account().await;
    let before = calls(&app);
    app.stop_worker().await;
    app.reconfigure_worker(&[(variable, wrong)]);
    for _ in 0..5 {
        app.advance(TimeDelta::minutes(2)).await; // three within a minute would open the circuit
        plan_read(&app, &account, 0).await;
        app.run_jobs().await;
        let away = hours_to_the_next_read(&app).await;
        assert!((0.9..1.1).contains(&away), "{away}");
    }
    assert_eq!(calls(&app), before);
    let right = app.sandbox.neonomics().base_url();
    app.reconfigure_worker(&[
        ("NEONOMICS_CLIENT_SECRET", "neonomics-test-secret"),
        ("NEONOMICS_BASE_URL", &right),
    ]);
    for read in 1..=5 {
        app.advance(TimeDelta::minutes(2)).await;
        plan_read(&app, &account, 0).await;
        app.run_jobs().await;
        assert_eq!(calls(&app), before + read.min(4), "four, and no fifth");
    }
    app.finish().await;
}
