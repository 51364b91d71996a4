use serde_json::Value;

use crate::providers::{ProviderError, http::Reply};

/// The reply when it is a success, else what its status and code mean. A code decides on any 4xx.
pub(super) fn success(reply: &Reply) -> Result<&Reply, ProviderError> {
    if reply.is_success() {
        return Ok(reply);
    }
    let code = code(&reply.body);
    if let (400..=499, Some(word)) = (reply.status, code.as_deref()) {
        if is_consent(word) {
            return Err(ProviderError::ConsentExpired { code: word.to_owned() });
        }
        if word == "ACCESS_EXCEEDED" {
            return Err(ProviderError::TooMany {
                retry_after: reply.retry_after(),
            });
        }
    }
    Err(ProviderError::from_status(reply.status, code, reply.retry_after()))
}

/// As [`success`], for reads that hang on a consent: there an expired resource is the consent itself.
pub(super) fn consent_bound(reply: &Reply) -> Result<&Reply, ProviderError> {
    match success(reply) {
        Err(ProviderError::Refused { code: Some(code), .. }) if code == "RESOURCE_EXPIRED" => {
            Err(ProviderError::ConsentExpired { code })
        }
        other => other,
    }
}

/// Whether the refusal is about our access token, so that a fresh one may help.
pub(super) fn is_token_refused(error: &ProviderError) -> bool {
    matches!(error, ProviderError::Refused { status: 401, code: Some(code) } if code.starts_with("TOKEN_"))
}

/// Whether the code is one of Berlin Group's message codes that we have a rule for: any other may need one.
pub(super) fn is_known(code: &str) -> bool {
    const WORDS: [&str; 17] = [
        "FORMAT_ERROR",
        "SERVICE_INVALID",
        "SERVICE_BLOCKED",
        "RESOURCE_UNKNOWN",
        "RESOURCE_EXPIRED",
        "RESOURCE_BLOCKED",
        "TIMESTAMP_INVALID",
        "PERIOD_INVALID",
        "PAYMENT_FAILED",
        "EXECUTION_DATE_INVALID",
        "ROLE_INVALID",
        "PSU_CREDENTIALS_INVALID",
        "PRODUCT_INVALID",
        "PRODUCT_UNKNOWN",
        "FORBIDDEN",
        "CANCELLATION_INVALID",
        "STATUS_INVALID",
    ];
    const FAMILIES: [&str; 5] = ["CERTIFICATE_", "SIGNATURE_", "TOKEN_", "PARAMETER_", "SCA_"];
    is_consent(code)
        || code == "ACCESS_EXCEEDED"
        || WORDS.contains(&code)
        || FAMILIES.iter().any(|family| code.starts_with(family))
}

fn is_consent(code: &str) -> bool {
    matches!(code, "CONSENT_EXPIRED" | "CONSENT_INVALID" | "CONSENT_UNKNOWN")
}

/// The code of an error body in any of the shapes banks use. A code we act on wins over its neighbours.
fn code(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let mut codes: Vec<String> = match &body {
        Value::Array(messages) => messages.iter().filter_map(message_code).collect(),
        Value::Object(object) => {
            let lists = ["tppMessages", "additionalErrors"]
                .into_iter()
                .filter_map(|name| object.get(name)?.as_array());
            let own = ["code", "errorCode"]
                .into_iter()
                .filter_map(|name| word(object.get(name)?));
            own.chain(lists.flatten().filter_map(message_code)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    let acted_on = codes
        .iter()
        .position(|code| is_consent(code) || code.starts_with("TOKEN_") || code == "ACCESS_EXCEEDED");
    (!codes.is_empty()).then(|| codes.swap_remove(acted_on.unwrap_or(0)))
}

fn message_code(message: &Value) -> Option<String> {
    if message.get("category").and_then(Value::as_str) == Some("WARNING") {
        return None;
    }
    word(message.get("code")?)
}

/// Codes reach logs, so only a machine word passes.
fn word(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let machine = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    // Eleven digits and more could be an account or national number.
    let plain = (1..=64).contains(&text.len()) && text.bytes().all(machine);
    let number = text.len() > 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    (plain && !number).then_some(text)
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;
    use rstest::rstest;

    use super::{Reply, consent_bound, is_token_refused, success};
    use crate::providers::{Class, ProviderError};

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status,
            headers: HeaderMap::new(),
            body: body.as_bytes().to_vec(),
        }
    }

    fn refusal(status: u16, body: &str) -> ProviderError {
        success(&reply(status, body)).err().expect("not a success")
    }

    #[rstest]
    #[case(r#"{"tppMessages":[{"category":"ERROR","code":"CONSENT_EXPIRED","text":"x"}]}"#)]
    #[case(r#"[{"category":"ERROR","code":"CONSENT_EXPIRED"}]"#)]
    #[case(r#"{"type":"about:blank","code":"CONSENT_EXPIRED"}"#)]
    #[case(r#"{"code":"FORMAT_ERROR","additionalErrors":[{"code":"CONSENT_EXPIRED"}]}"#)]
    #[case(r#"{"errorCode":"CONSENT_EXPIRED","message":"x"}"#)]
    fn a_dead_consent_is_recognised_in_every_body_on_any_4xx(#[case] body: &str) {
        for status in [400, 401, 403, 404, 429] {
            assert_eq!(refusal(status, body).class(), Class::Expired, "{status}");
        }
        assert_eq!(refusal(500, body).class(), Class::Transient);
    }

    #[rstest]
    #[case("CONSENT_INVALID", Class::Expired)]
    #[case("CONSENT_UNKNOWN", Class::Expired)]
    #[case("ACCESS_EXCEEDED", Class::Limited)]
    #[case("CERTIFICATE_EXPIRED", Class::Refused)]
    #[case("PAYMENT_FAILED", Class::Refused)]
    fn a_code_decides_the_class(#[case] code: &str, #[case] class: Class) {
        assert_eq!(
            refusal(400, &format!(r#"{{"tppMessages":[{{"code":"{code}"}}]}}"#)).class(),
            class
        );
    }

    #[rstest]
    #[case("")]
    #[case("<html>403</html>")]
    #[case(r#"{"tppMessages":"odd"}"#)]
    #[case(r#"{"tppMessages":[{"category":"WARNING","code":"CONSENT_EXPIRED"}]}"#)]
    #[case(r#"{"code":"Anna has no money"}"#)]
    #[case(r#"{"errorCode":13897249477}"#)]
    fn a_403_without_a_code_keeps_the_consent_and_calls_for_a_person(#[case] body: &str) {
        let error = refusal(403, body);
        assert_eq!(
            (error.class(), error.code(), error.needs_ops()),
            (Class::Refused, None, true)
        );
    }

    #[test]
    fn an_expired_resource_is_the_consent_on_reads_only() {
        let body = r#"{"tppMessages":[{"code":"RESOURCE_EXPIRED"}]}"#;
        assert_eq!(refusal(403, body).class(), Class::Refused);
        assert_eq!(
            consent_bound(&reply(403, body)).err().map(|error| error.class()),
            Some(Class::Expired)
        );
    }

    #[test]
    fn a_token_refusal_is_a_401_with_a_token_code() {
        let body = r#"{"tppMessages":[{"code":"TOKEN_EXPIRED"}]}"#;
        assert!(is_token_refused(&refusal(401, body)));
        assert!(!is_token_refused(&refusal(403, body)));
        assert!(!is_token_refused(&refusal(401, "")));
    }
}
