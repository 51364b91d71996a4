use serde_json::Value;

use crate::providers::{
    ProviderError,
    error::{NOT_OR_NOT_YET_VALID, TOO_MANY_READS},
    http::Reply,
};

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
        if word == TOO_MANY_READS {
            return Err(ProviderError::TooMany {
                code,
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
        || code == TOO_MANY_READS
        || WORDS.contains(&code)
        || FAMILIES.iter().any(|family| code.starts_with(family))
}

fn is_consent(code: &str) -> bool {
    matches!(code, "CONSENT_EXPIRED" | NOT_OR_NOT_YET_VALID | "CONSENT_UNKNOWN")
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
    let acted_on = codes.iter().position(|code| is_acted_on(code));
    (!codes.is_empty()).then(|| codes.swap_remove(acted_on.unwrap_or(0)))
}

/// Whether more hangs on the code than that the request is refused.
fn is_acted_on(code: &str) -> bool {
    const FAMILIES: [&str; 3] = ["TOKEN_", "CERTIFICATE_", "SIGNATURE_"];
    is_consent(code)
        || matches!(code, TOO_MANY_READS | "ROLE_INVALID")
        || FAMILIES.iter().any(|family| code.starts_with(family))
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
