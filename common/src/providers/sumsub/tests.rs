use std::{io, sync::Arc};

use chrono::DateTime;
use rstest::rstest;
use secrecy::ExposeSecret;
use tracing::{level_filters::LevelFilter, subscriber::set_default};
use uuid::Uuid;

use super::{NewApplicant, Sumsub};
use crate::{
    config::{SumsubAuth, SumsubConfig},
    providers::{
        Class, ProviderError,
        http::Trace,
        testing::{FakeProvider, answer, json},
        unobserved,
    },
};

const USER: &str = "usr_abc123def456gh78";
const ANNA: NewApplicant<'_> = NewApplicant {
    external_user_id: USER,
    email: Some("anna@example.test"),
};

fn client(provider: &FakeProvider, auth: SumsubAuth) -> Sumsub {
    let config = SumsubConfig {
        base_url: provider.url.clone(),
        app_token: "app-token".into(),
        auth,
        app_secret: Some("example-app-secret".into()),
        level: "basic-kyc-level".to_owned(),
    };
    Sumsub::new(config, unobserved()).expect("a loopback address")
}

fn trace() -> Trace {
    Trace {
        request_id: Uuid::from_u128(7),
        correlation_id: None,
        not_after: None,
    }
}

fn now() -> DateTime<chrono::Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("a valid time")
}

#[tokio::test]
async fn an_applicant_is_created_as_the_contract_says() {
    let provider = FakeProvider::start([json(
        201,
        &format!(r#"{{"id":"5f9e","externalUserId":"{USER}","review":{{"reviewStatus":"init"}}}}"#),
    )])
    .await;
    let applicant = client(&provider, SumsubAuth::Bearer)
        .create_applicant(&ANNA, trace(), now())
        .await
        .expect("created");
    assert_eq!(
        (
            applicant.id.as_str(),
            applicant.review_status.as_deref(),
            applicant.adopted
        ),
        ("5f9e", Some("init"), false)
    );
    let seen = provider.seen();
    assert_eq!(seen[0].line(), "POST /resources/applicants HTTP/1.1");
    assert_eq!(seen[0].header("authorization"), Some("Bearer app-token"));
    assert_eq!(
        seen[0].header("x-request-id"),
        Some("00000000-0000-0000-0000-000000000007")
    );
    assert_eq!(
        seen[0].body,
        r#"{"externalUserId":"usr_abc123def456gh78","email":"anna@example.test","levelName":"basic-kyc-level"}"#
    );
}

#[tokio::test]
async fn an_applicant_that_exists_is_adopted() {
    let found = json(200, &format!(r#"{{"id":"5f9e","externalUserId":"{USER}"}}"#));
    let provider = FakeProvider::start([json(409, r#"{"description":"exists: 5f9e"}"#), found]).await;
    let applicant = client(&provider, SumsubAuth::Bearer)
        .create_applicant(&ANNA, trace(), now())
        .await
        .expect("adopted");
    assert!(applicant.adopted);
    assert_eq!(
        provider.seen()[1].line(),
        format!("GET /resources/applicants/-;externalUserId={USER}/one HTTP/1.1")
    );
}

#[tokio::test]
async fn an_applicant_of_another_user_is_never_adopted() {
    for other in [r#"{"id":"5f9e","externalUserId":"usr_other"}"#, r#"{"id":"5f9e"}"#] {
        let provider = FakeProvider::start([json(409, "{}"), json(200, other)]).await;
        let error = client(&provider, SumsubAuth::Bearer)
            .create_applicant(&ANNA, trace(), now())
            .await
            .expect_err("not ours");
        assert_eq!(error.class(), Class::Ambiguous);
    }
}

#[tokio::test]
async fn the_signed_mode_signs_the_bytes_it_sends_and_sends_no_bearer() {
    let provider = FakeProvider::start([json(200, &format!(r#"{{"id":"5f9e","externalUserId":"{USER}"}}"#))]).await;
    let person = NewApplicant { email: None, ..ANNA };
    client(&provider, SumsubAuth::Signed)
        .create_applicant(&person, trace(), now())
        .await
        .expect("created");
    let seen = provider.seen().remove(0);
    assert_eq!(
        seen.line(),
        "POST /resources/applicants?levelName=basic-kyc-level HTTP/1.1"
    );
    assert_eq!(seen.header("x-app-access-ts"), Some("1700000000"));
    let worked = "efe788d0c9a980377f154266130cae113f4c12af8b58234de9b5be7d0e113798";
    assert_eq!(seen.header("x-app-access-sig"), Some(worked));
    assert_eq!(
        (seen.header("x-app-token"), seen.header("authorization")),
        (Some("app-token"), None)
    );
}

#[tokio::test]
async fn a_status_is_read_with_words_nobody_knows_yet() {
    let body = r#"{"attemptId":"a1","reviewStatus":"brandNew","reviewDate":"2026-02-23 10:00:00+0000","reviewResult":{"reviewAnswer":"RED","reviewRejectType":"RETRY","rejectLabels":["BLURRY"]},"new":{}}"#;
    let provider = FakeProvider::start([json(200, body)]).await;
    let status = client(&provider, SumsubAuth::Bearer)
        .applicant_status("a/../b", trace(), now())
        .await
        .expect("read");
    assert_eq!(
        (status.review_status.as_deref(), status.reject_type.as_deref()),
        (Some("brandNew"), Some("RETRY"))
    );
    assert_eq!(
        provider.seen()[0].line(),
        "GET /resources/applicants/a%2F..%2Fb/status HTTP/1.1"
    );
}

#[tokio::test]
async fn a_token_of_another_user_is_refused_and_ours_is_not_shown() {
    let ours = json(200, &format!(r#"{{"token":"_act-secret","userId":"{USER}"}}"#));
    let provider = FakeProvider::start([ours, json(200, r#"{"token":"_act-secret","userId":"usr_other"}"#)]).await;
    let sumsub = client(&provider, SumsubAuth::Bearer);
    let token = sumsub.sdk_token(USER, 600, trace(), now()).await.expect("ours");
    assert_eq!(token.0.expose_secret(), "_act-secret");
    assert!(!format!("{token:?}").contains("_act-secret"));
    assert!(sumsub.sdk_token(USER, 600, trace(), now()).await.is_err());
}

#[tokio::test]
async fn a_limit_tells_how_long_to_wait() {
    let provider = FakeProvider::start([answer(429, "retry-after: 17\r\n", "")]).await;
    let error = client(&provider, SumsubAuth::Bearer)
        .applicant_status("5f9e", trace(), now())
        .await
        .expect_err("limited");
    assert_eq!(
        (error.class(), error.retry_after().map(|wait| wait.as_secs())),
        (Class::Limited, Some(17))
    );
}

/// Signed at 22:13:20.
#[rstest]
#[case::ahead(401, SumsubAuth::Signed, Some("22:15:20"), Some(120))]
#[case::behind(401, SumsubAuth::Signed, Some("22:12:20"), Some(-60))]
#[case::near_enough(401, SumsubAuth::Signed, Some("22:14:19"), None)]
#[case::no_date(401, SumsubAuth::Signed, None, None)]
#[case::not_for_that(403, SumsubAuth::Signed, Some("22:15:20"), None)]
#[case::not_signed(401, SumsubAuth::Bearer, Some("22:15:20"), None)]
#[tokio::test]
async fn a_refusal_whose_date_is_a_minute_from_the_signatures_is_the_clocks(
    #[case] status: u16,
    #[case] auth: SumsubAuth,
    #[case] date: Option<&str>,
    #[case] clock: Option<i64>,
) {
    let date = date.map_or_else(String::new, |time| format!("date: Tue, 14 Nov 2023 {time} GMT\r\n"));
    let provider = FakeProvider::start([answer(status, &date, "")]).await;
    let refused = client(&provider, auth).applicant_status("5f9e", trace(), now()).await;
    let error = refused.expect_err("refused");
    let ahead = match error {
        ProviderError::Clock { ahead } => Some(ahead),
        _ => None,
    };
    assert_eq!(
        (ahead, error.status(), error.class()),
        (clock, Some(status), Class::Refused)
    );
}

#[tokio::test]
async fn what_sumsub_calls_a_call_that_it_refused_is_in_the_log_and_what_it_says_of_it_is_not() {
    let body = |correlation: &str| {
        format!(
            r#"{{"description":"Applicant Anna exists","code":400,"correlationId":"{correlation}","errorName":"app-exists"}}"#
        )
    };
    let (told, odd) = (json(400, &body("req-a260b669")), json(400, &body("Anna Nordmann")));
    let provider = FakeProvider::start([told, odd, json(502, "<html>Anna</html>")]).await;
    let sumsub = client(&provider, SumsubAuth::Bearer);
    let (log, writer) = io::pipe().unwrap();
    let logging = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE);
    let logging = set_default(logging.with_writer(Arc::new(writer)).finish());
    for _ in 0..3 {
        assert!(sumsub.applicant_status("5f9e", trace(), now()).await.is_err());
    }
    drop(logging);
    let logged = io::read_to_string(log).unwrap();
    assert!(
        logged.contains("req-a260b669") && logged.contains("app-exists"),
        "{logged}"
    );
    assert!(!logged.contains("Anna"), "{logged}");
}
