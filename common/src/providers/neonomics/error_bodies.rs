//! What banks say when they refuse: every shape of body with every code that we have a rule for.

use reqwest::header::HeaderMap;
use rstest::rstest;

use super::errors::{consent_bound, is_known, is_token_refused, success};
use crate::providers::{Class, ProviderError, http::Reply};

fn reply(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    Reply {
        status,
        headers: HeaderMap::new(),
        body: body.into(),
    }
}

fn refusal(status: u16, body: impl Into<Vec<u8>>) -> ProviderError {
    success(&reply(status, body)).err().expect("not a success")
}

/// The shapes that banks use, each with `CODE` where the code is.
const SHAPES: [&str; 10] = [
    r#"{"tppMessages":[{"category":"ERROR","code":"CODE","text":"Anna has no money","path":"x"}]}"#,
    // `category` is left out by some.
    r#"{"tppMessages":[{"code":"CODE"}]}"#,
    // A warning beside it, and before it, is no error.
    r#"{"tppMessages":[{"category":"WARNING","code":"CONSENT_EXPIRED"},{"category":"ERROR","code":"CODE"}]}"#,
    r#"{"tppMessages":[{"category":"ERROR","code":"CODE"}],"_links":{"self":{"href":"x"}}}"#,
    r#"[{"category":"ERROR","code":"CODE","text":"x"}]"#,
    r#"{"type":"https://berlingroup.com/error-codes/CODE","title":"x","detail":"x","code":"CODE"}"#,
    r#"{"type":"about:blank","status":400,"additionalErrors":[{"title":"x","detail":"x","code":"CODE"}]}"#,
    r#"{"type":"about:blank","code":"CODE","additionalErrors":[{"code":"SOMETHING_ELSE"}]}"#,
    r#"{"id":"7d3","errorCode":"CODE","message":"x","source":"BANK","type":"x","timestamp":1700000000000}"#,
    r#"{"errorCode":"CODE","code":null,"tppMessages":null}"#,
];

fn in_every_shape(status: u16, code: &str) -> impl Iterator<Item = (String, ProviderError)> {
    SHAPES.iter().map(move |shape| {
        let body = shape.replace("CODE", code);
        let error = refusal(status, body.as_str());
        (body, error)
    })
}

#[rstest]
fn a_dead_consent_is_recognised_by_its_code_on_any_4xx(
    #[values("CONSENT_EXPIRED", "CONSENT_INVALID", "CONSENT_UNKNOWN")] code: &str,
) {
    for status in 400..=499 {
        for (body, error) in in_every_shape(status, code) {
            assert_eq!(error.class(), Class::Expired, "{status} {body}");
            assert_eq!(
                (error.code(), error.needs_ops()),
                (Some(code), false),
                "{status} {body}"
            );
        }
    }
    for (body, error) in in_every_shape(500, code) {
        assert_eq!(error.class(), Class::Transient, "{body}");
    }
}

#[test]
fn too_many_calls_are_recognised_by_the_code_on_any_4xx_and_count_for_no_breaker() {
    for status in 400..=499 {
        for (body, error) in in_every_shape(status, "ACCESS_EXCEEDED") {
            assert_eq!(error.class(), Class::Limited, "{status} {body}");
            assert!(!error.counts_for_breaker() && !error.needs_ops());
        }
    }
}

#[rstest]
fn trouble_with_our_own_standing_calls_for_a_person_and_keeps_the_consent(
    #[values(
        "CERTIFICATE_INVALID",
        "CERTIFICATE_EXPIRED",
        "CERTIFICATE_BLOCKED",
        "CERTIFICATE_REVOKED",
        "CERTIFICATE_MISSING",
        "SIGNATURE_INVALID",
        "SIGNATURE_MISSING",
        "ROLE_INVALID"
    )]
    code: &str,
    #[values(400, 401, 403, 404, 405, 409, 415)] status: u16,
) {
    for (body, error) in in_every_shape(status, code) {
        assert_eq!((error.class(), error.needs_ops()), (Class::Refused, true), "{body}");
        assert!(is_known(code));
    }
}

#[rstest]
fn a_token_is_refused_by_a_401_with_a_token_code_alone(
    #[values("TOKEN_UNKNOWN", "TOKEN_INVALID", "TOKEN_EXPIRED")] code: &str,
) {
    for (body, error) in in_every_shape(401, code) {
        assert!(is_token_refused(&error), "{body}");
    }
    for (body, error) in in_every_shape(403, code) {
        assert!(!is_token_refused(&error), "{body}");
    }
    assert!(is_known(code) && !is_token_refused(&refusal(401, "")));
}

#[rstest]
#[case(400, &["FORMAT_ERROR", "PARAMETER_NOT_CONSISTENT", "PARAMETER_NOT_SUPPORTED", "SERVICE_INVALID", "RESOURCE_UNKNOWN",
    "RESOURCE_EXPIRED", "RESOURCE_BLOCKED", "TIMESTAMP_INVALID", "PERIOD_INVALID", "SCA_METHOD_UNKNOWN", "SCA_INVALID",
    "PAYMENT_FAILED", "EXECUTION_DATE_INVALID", "PRODUCT_INVALID"])]
#[case(401, &["PSU_CREDENTIALS_INVALID"])]
#[case(403, &["SERVICE_BLOCKED", "PRODUCT_INVALID", "RESOURCE_UNKNOWN", "RESOURCE_EXPIRED", "FORBIDDEN", "PAYMENT_FAILED",
    "EXECUTION_DATE_INVALID"])]
#[case(404, &["RESOURCE_UNKNOWN", "PRODUCT_UNKNOWN"])]
#[case(405, &["SERVICE_INVALID", "CANCELLATION_INVALID"])]
#[case(409, &["STATUS_INVALID"])]
fn a_refusal_of_the_order_or_the_person_is_definite_and_alerts_nobody(#[case] status: u16, #[case] codes: &[&str]) {
    for code in codes {
        assert!(is_known(code), "{code}");
        for (body, error) in in_every_shape(status, code) {
            assert_eq!((error.class(), error.needs_ops()), (Class::Refused, false), "{body}");
            assert_eq!((error.code(), error.status()), (Some(*code), Some(status)), "{body}");
            assert!(!error.counts_for_breaker());
        }
    }
}

#[rstest]
#[case(500, "INTERNAL_SERVER_ERROR", Class::Transient)]
#[case(503, "SERVICE_UNAVAILABLE", Class::Transient)]
#[case(504, "INTERNAL_SERVER_ERROR", Class::Ambiguous)]
fn a_bank_that_failed_is_judged_by_the_status_whatever_it_says(
    #[case] status: u16,
    #[case] code: &str,
    #[case] class: Class,
) {
    for (body, error) in in_every_shape(status, code) {
        assert_eq!((error.class(), error.code()), (class, Some(code)), "{body}");
        assert!(error.counts_for_breaker());
    }
}

/// What says nothing that could be acted on.
const NOTHING_SAID: [&[u8]; 14] = [
    b"",
    b" ",
    b"<html><body>403 Forbidden: CONSENT_EXPIRED</body></html>",
    b"CONSENT_EXPIRED",
    b"\"CONSENT_EXPIRED\"",
    b"null",
    b"42",
    b"{}",
    b"[]",
    br#"{"tppMessages":"CONSENT_EXPIRED"}"#,
    br#"{"tppMessages":[{"category":"WARNING","code":"CONSENT_EXPIRED"}]}"#,
    br#"{"tppMessages":[{"category":"ERROR","code":"CONSENT_EXP"#,
    b"{\"code\":\"\xff\"}",
    br#"{"detail":{"code":"CONSENT_EXPIRED"}}"#,
];

#[test]
fn a_401_or_403_that_says_nothing_keeps_the_consent_and_calls_for_a_person() {
    for body in NOTHING_SAID {
        let shown = String::from_utf8_lossy(body);
        for status in [401, 403] {
            let error = refusal(status, body);
            assert_eq!(
                (error.class(), error.code()),
                (Class::Refused, None),
                "{status} {shown}"
            );
            assert!(error.needs_ops(), "{status} {shown}");
            assert!(!is_token_refused(&error));
        }
        for status in [400, 404, 406, 415] {
            let error = refusal(status, body);
            assert_eq!(
                (error.class(), error.needs_ops()),
                (Class::Refused, false),
                "{status} {shown}"
            );
        }
        assert_eq!(refusal(408, body).class(), Class::Ambiguous, "{shown}");
        assert_eq!(refusal(429, body).class(), Class::Limited, "{shown}");
    }
}

#[test]
fn a_401_or_403_with_a_code_that_has_no_rule_keeps_the_consent_and_calls_for_a_person() {
    for (body, error) in in_every_shape(403, "SOMETHING_NEW") {
        assert_eq!((error.class(), error.needs_ops()), (Class::Refused, true), "{body}");
        assert!(!is_known("SOMETHING_NEW"));
    }
}

#[rstest]
#[case("Anna has no money")]
#[case("NO9386011117947 is closed")]
#[case("consent_expired")]
#[case("13897249477")]
fn what_is_no_machine_word_is_not_kept(#[case] text: &str) {
    for (body, error) in in_every_shape(403, text).filter(|(body, _)| !body.contains("SOMETHING_ELSE")) {
        assert_eq!(error.code(), None, "{body}");
        assert!(!format!("{error} {error:?}").contains(text), "{body}");
    }
    assert_eq!(refusal(403, r#"{"errorCode":13897249477}"#).code(), None);
    assert_eq!(refusal(403, r#"{"errorCode":1426}"#).code(), Some("1426"));
}

#[test]
fn a_code_that_is_acted_on_goes_before_its_neighbours() {
    for body in [
        r#"{"code":"FORMAT_ERROR","additionalErrors":[{"code":"CONSENT_EXPIRED"}]}"#,
        r#"[{"code":"FORMAT_ERROR"},{"category":"ERROR","code":"CONSENT_EXPIRED"}]"#,
    ] {
        assert_eq!(refusal(400, body).class(), Class::Expired, "{body}");
        let standing = refusal(400, body.replace("CONSENT_EXPIRED", "CERTIFICATE_REVOKED"));
        assert!(standing.needs_ops(), "{body}");
    }
}

#[test]
fn an_expired_resource_is_the_consent_on_reads_that_hang_on_one_only() {
    for (body, error) in in_every_shape(403, "RESOURCE_EXPIRED") {
        assert_eq!(error.class(), Class::Refused, "{body}");
        let read = consent_bound(&reply(403, body.as_str())).err();
        assert_eq!(read.map(|error| error.class()), Some(Class::Expired), "{body}");
    }
}

#[test]
fn messages_on_a_success_are_no_error() {
    for body in SHAPES {
        for status in [200, 201, 202, 204] {
            assert!(success(&reply(status, body.replace("CODE", "CONSENT_EXPIRED"))).is_ok());
        }
    }
}
