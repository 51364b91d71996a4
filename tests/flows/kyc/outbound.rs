//! Our calls to Sumsub: how they prove who we are, and how many there are.

use chrono::TimeDelta;
use drop_common::domain::ids::KycApplicantId;
use drop_sandbox::{Fault, Operation};
use drop_tests::{alerts, app::TestApp};
use serde_json::json;
use sqlx::AssertSqlSafe;

use crate::paying::{execute, value};

const SIGNED: [(&str, &str); 2] = [
    ("SUMSUB_AUTH", "signed"),
    ("SUMSUB_APP_SECRET", "app-secret-for-local-use"),
];

#[tokio::test]
async fn with_signed_headers_every_call_passes_where_the_contracts_bearer_is_refused() {
    let app = TestApp::start_with(&SIGNED).await;
    app.sandbox.sumsub().refuse_bearer(true);
    // The answer is lost, so that the applicant is read, too.
    app.sandbox.fault(Operation::ApplicantCreate, Fault::ExecuteThenDrop, 1);
    let anna = app.signed_in("anna").await;
    let email = json!({ "email": "anna@example.com" });
    assert_eq!(anna.post("/v1/kyc/applicant", &email).await.status, 201);
    assert_eq!(anna.post("/v1/kyc/sdk-token", &json!({})).await.status, 200);
    app.until_idle().await;
    let journal = app.sandbox.sumsub().journal();
    let ends = |end: &str| {
        journal
            .iter()
            .any(|entry| entry.path.ends_with(end) && entry.status == Some(200))
    };
    assert!(ends("/one") && ends("/status") && ends("/sdk"), "{journal:?}");
    app.finish().await;
}

#[tokio::test]
async fn with_the_contracts_bearer_a_provider_that_wants_signatures_refuses_and_the_person_is_told() {
    let app = TestApp::start().await;
    app.sandbox.sumsub().refuse_bearer(true);
    let anna = app.signed_in("anna").await;
    let refused = anna
        .post("/v1/kyc/applicant", &json!({ "email": "anna@example.com" }))
        .await;
    assert_eq!(refused.problem(), (502, "provider_error"));
    app.finish().await;
}

/// Otherwise somebody would look for a wrong secret.
#[tokio::test]
async fn a_signed_call_that_is_refused_for_its_time_raises_an_alert_of_its_own() {
    alerts::listen();
    let app = TestApp::start_with(&SIGNED).await;
    app.sandbox.sumsub().refuse_bearer(true);
    let anna = app.signed_in("anna").await;
    let email = json!({ "email": "anna@example.com" });
    app.misset_clock(TimeDelta::minutes(5));
    let refused = anna.post("/v1/kyc/applicant", &email).await;
    assert_eq!(refused.problem(), (502, "provider_error"));
    let applicant: uuid::Uuid = value(&app, "SELECT id FROM kyc_applicants").await;
    let applicant = KycApplicantId::from(applicant).to_string();
    assert_eq!(alerts::about(&applicant), ["sumsub_clock"]);
    app.misset_clock(-TimeDelta::minutes(5));
    assert_eq!(anna.post("/v1/kyc/applicant", &email).await.status, 201);
    app.finish().await;
}

#[tokio::test]
async fn a_hundred_applicants_a_minute_are_created_and_the_rest_waits_without_losing_an_attempt() {
    let app = TestApp::start().await;
    app.stop_worker().await;
    sqlx::raw_sql(AssertSqlSafe(
        "INSERT INTO users (id, national_id_hash, first_name, last_name)
         SELECT gen_random_uuid(), lpad(to_hex(n), 64, '0'), 'Kari', 'Testperson' FROM generate_series(1, 130) n;
         INSERT INTO kyc_applicants (id, user_id, level_name, request_id)
         SELECT gen_random_uuid(), id, 'basic-kyc-level', gen_random_uuid() FROM users;
         INSERT INTO jobs (lane, kind, unique_key, payload, max_attempts)
         SELECT 6, 'create-applicant', request_id::text, jsonb_build_object('applicant', id, 'request', request_id), 5
           FROM kyc_applicants",
    ))
    .execute(&app.db)
    .await
    .unwrap();
    for _ in 0..8 {
        app.run_jobs().await;
        app.advance(TimeDelta::seconds(10)).await;
    }
    let asked = app.sandbox.journal().entries_of(Operation::ApplicantCreate);
    assert_eq!((asked.len(), app.sandbox.sumsub().applicants().len()), (130, 130));
    // Sumsub's clock sees the calls, ours their permission a moment before.
    let slack = TimeDelta::seconds(2);
    let spread = asked
        .windows(101)
        .all(|calls| calls[100].at - calls[0].at >= TimeDelta::minutes(1) - slack);
    assert!(spread, "more than a hundred within a minute");
    let failed: i64 = value(&app, "SELECT count(*) FROM job_attempts").await;
    assert_eq!(failed, 0);
    app.finish().await;
}

/// Sumsub's own limits, which are lower than the contract's for a moment: beyond them it would refuse everybody's calls.
#[tokio::test]
async fn within_five_seconds_fifty_posts_leave_and_three_hundred_reads() {
    let app = TestApp::start().await;
    app.stop_worker().await;
    sqlx::raw_sql(AssertSqlSafe(
        "INSERT INTO users (id, national_id_hash, first_name, last_name)
         SELECT gen_random_uuid(), lpad(to_hex(n), 64, '0'), 'Kari', 'Testperson' FROM generate_series(1, 310) n;
         INSERT INTO kyc_applicants (id, user_id, level_name, status, applicant_id, request_id)
         SELECT gen_random_uuid(), id, 'basic-kyc-level', 'created', left(id::text, 24), gen_random_uuid() FROM users;
         INSERT INTO jobs (lane, kind, payload, max_attempts)
         SELECT 6, 'read-kyc-status', jsonb_build_object('applicant', id, 'not_before', NULL), 5 FROM kyc_applicants;
         INSERT INTO kyc_sdk_tokens (id, user_id, level_name, request_id)
         SELECT gen_random_uuid(), id, 'basic-kyc-level', gen_random_uuid() FROM users LIMIT 55;
         INSERT INTO jobs (lane, kind, payload, max_attempts)
         SELECT 6, 'create-sdk-token', jsonb_build_object('token', id), 3 FROM kyc_sdk_tokens",
    ))
    .execute(&app.db)
    .await
    .unwrap();
    let made = |operation| {
        let mut at: Vec<_> = app
            .sandbox
            .journal()
            .entries_of(operation)
            .iter()
            .map(|call| call.at)
            .collect();
        at.sort_unstable();
        at
    };
    for _ in 0..3 {
        app.run_jobs().await;
        app.advance(TimeDelta::seconds(6)).await;
    }
    for (operation, all, most) in [(Operation::SdkToken, 55, 50), (Operation::ApplicantStatus, 310, 300)] {
        let at = made(operation);
        assert_eq!(at.len(), all);
        // Sumsub's clock sees the calls, ours their permission a moment before.
        let apart = at[most] - at[0];
        assert!(apart >= TimeDelta::seconds(4), "{operation:?}: {apart}");
    }
    let failed: i64 = value(&app, "SELECT count(*) FROM job_attempts").await;
    assert_eq!(failed, 0);
    app.finish().await;
}

/// Fifty wishes for a token of the SDK.
const WISHES: &str = "
    INSERT INTO kyc_sdk_tokens (id, user_id, level_name, request_id)
    SELECT gen_random_uuid(), id, 'basic-kyc-level', gen_random_uuid() FROM users LIMIT 50;
    INSERT INTO jobs (lane, kind, payload, max_attempts)
    SELECT 6, 'create-sdk-token', jsonb_build_object('token', id), 3 FROM kyc_sdk_tokens WHERE status = 'requested'";

/// An applicant is one of the hundred in a minute and one of the fifty posts in five seconds. What waits for the one limit
/// must not use up the other.
#[tokio::test]
async fn an_applicant_that_does_not_leave_takes_no_other_calls_place() {
    let app = TestApp::start().await;
    app.stop_worker().await;
    execute(
        &app,
        "INSERT INTO users (id, national_id_hash, first_name, last_name)
         SELECT gen_random_uuid(), lpad(to_hex(n), 64, '0'), 'Kari', 'Testperson' FROM generate_series(1, 110) n",
    )
    .await;
    execute(&app, WISHES).await;
    execute(
        &app,
        "INSERT INTO kyc_applicants (id, user_id, level_name, request_id)
         SELECT gen_random_uuid(), id, 'basic-kyc-level', gen_random_uuid() FROM users;
         INSERT INTO jobs (lane, kind, unique_key, payload, max_attempts)
         SELECT 6, 'create-applicant', request_id::text, jsonb_build_object('applicant', id, 'request', request_id), 5
           FROM kyc_applicants",
    )
    .await;
    // Whoever waits tries again each time: nothing but the limits is to keep them back.
    let made_after = async |seconds: i64| {
        app.advance(TimeDelta::seconds(seconds)).await;
        execute(&app, "UPDATE jobs SET run_at = now() WHERE state = 'ready'").await;
        app.run_jobs().await;
        let made = |operation| app.sandbox.journal().entries_of(operation).len();
        (made(Operation::SdkToken), made(Operation::ApplicantCreate))
    };
    for _ in 0..3 {
        made_after(6).await;
    }
    assert_eq!(
        made_after(6).await,
        (50, 100),
        "who found no post free took none of the hundred"
    );
    execute(&app, WISHES).await;
    assert_eq!(
        made_after(6).await,
        (100, 100),
        "who was over the hundred took none of the posts"
    );
    assert_eq!(made_after(60).await, (100, 110));
    app.finish().await;
}

#[tokio::test]
async fn after_429_nothing_is_asked_of_sumsub_for_as_long_as_it_wants() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    app.stop_worker().await;
    app.sandbox
        .fault(Operation::ApplicantCreate, Fault::Limited { retry_after: 30 }, 1);
    let accepted = anna
        .post_later("/v1/kyc/applicant", "unused", &json!({ "email": "anna@example.com" }))
        .await;
    assert_eq!(accepted.status, 202);
    app.run_jobs().await;
    let seconds: f64 = value(
        &app,
        "SELECT extract(epoch FROM throttled_until - clock_timestamp())::float8 FROM lanes WHERE name = 'kyc.call'",
    )
    .await;
    assert!((25.0..=30.0).contains(&seconds), "{seconds}");
    app.advance(TimeDelta::seconds(60)).await;
    app.run_jobs().await;
    assert_eq!(anna.get("/v1/kyc").await.body["applicant"], "created");
    app.finish().await;
}
