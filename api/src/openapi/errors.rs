//! Which errors an operation can answer with. In code all operations share one error type, so the framework would
//! promise each of them every error there is.

use poem::http::StatusCode;
use poem_openapi::types::{Example, ToJSON};
use serde_json::{Map, Value, json};

use crate::error::{Code, Problem};

const PROBLEM: &str = "application/problem+json";

/// By operation, the codes that do not follow from its form.
const OWN: &[(&str, &[Code])] = &[
    ("startBankIdLogin", &[Code::ValidationFailed, Code::Forbidden]),
    ("finishBankIdLogin", LOGIN),
    ("getBankIdLogin", LOGIN),
    ("startAppLogin", &[Code::NotFound]),
    ("redeemAppLogin", REDEMPTION),
    ("refreshSession", &[Code::Unauthenticated, Code::Forbidden]),
    ("logout", &[Code::Forbidden]),
    ("listSessions", &[]),
    ("endSessions", &[]),
    ("endSession", &[]),
    ("getSigningKeys", &[]),
    ("getMe", &[]),
    ("listNotifications", &[Code::ValidationFailed]),
    ("readNotification", &[]),
    ("startKyc", &[Code::ProviderError]),
    (
        "createKycSdkToken",
        &[Code::Conflict, Code::ProviderError, Code::CircuitOpen, Code::Overloaded],
    ),
    ("getKyc", &[]),
    ("linkBank", &[Code::KycRequired, Code::ProviderError]),
    ("listBankConsents", &[]),
    ("getBankConsent", &[]),
    ("unlinkBank", &[]),
    ("finishBankConsent", &[Code::NotFound]),
    ("listBankAccounts", &[]),
    ("getBankAccount", &[]),
    ("getBalance", &[]),
    ("refreshBalance", &[]),
    (
        "createTransaction",
        &[
            Code::KycRequired,
            Code::NotFound,
            Code::PossibleDuplicate,
            Code::Conflict,
            Code::LimitExceeded,
            Code::IdempotencyKeyReused,
            Code::CircuitOpen,
            Code::Overloaded,
        ],
    ),
    ("listTransactions", &[Code::ValidationFailed]),
    ("getTransaction", &[]),
    ("followTransaction", &[]),
    ("cancelTransaction", &[Code::Conflict, Code::CircuitOpen]),
    ("finishPayment", &[Code::Unauthenticated, Code::NotFound]),
    ("receiveSumsubEvent", &[Code::InvalidSignature, Code::Overloaded]),
    ("getHealth", &[]),
];

/// However a login ends that gives no session. A login whose person was erased meanwhile is `unauthenticated`.
const LOGIN: &[Code] = &[
    Code::InvalidState,
    Code::InvalidCallback,
    Code::BankidCancelled,
    Code::Unauthenticated,
    Code::Underage,
    Code::AgeUnverified,
    Code::TokenExchangeFailed,
    Code::JwksVerificationFailed,
    Code::InvalidIdentityClaim,
    Code::BankidError,
];

/// However an app's login ends once its code is there. What ends it before, its link into the app says.
const REDEMPTION: &[Code] = &[
    Code::InvalidState,
    Code::Unauthenticated,
    Code::Underage,
    Code::AgeUnverified,
    Code::TokenExchangeFailed,
    Code::JwksVerificationFailed,
    Code::InvalidIdentityClaim,
];

/// Makes the problems among the operation's responses exactly those it can answer with, each with its codes.
pub(super) fn write_out(method: &str, operation: &mut Map<String, Value>) {
    let codes = codes(method, operation);
    let Some(Value::Object(responses)) = operation.get_mut("responses") else {
        return;
    };
    responses.retain(|status, _| {
        let status: Option<StatusCode> = status.parse().ok();
        status.is_none_or(|status| status.as_u16() < 400 || codes.iter().any(|code| code.status() == status))
    });
    for status in codes.iter().map(|code| code.status()) {
        let same: Vec<Code> = codes.iter().copied().filter(|code| code.status() == status).collect();
        let response = responses.entry(status.as_str()).or_insert_with(|| problem(""));
        response["description"] = json!(description(&same));
        response["content"][PROBLEM]["examples"] = same.iter().copied().map(example).collect();
        // Both come with an open circuit and an equal payment only: no other failure of a provider knows when it ends, and no
        // other conflict has a place to look at.
        let never = match status {
            StatusCode::BAD_GATEWAY => !same.contains(&Code::CircuitOpen),
            StatusCode::CONFLICT => !same.contains(&Code::PossibleDuplicate),
            _ => false,
        };
        let headers = response.get_mut("headers").and_then(Value::as_object_mut);
        if let Some(headers) = headers.filter(|_| never) {
            headers.retain(|name, _| !["Retry-After", "Location"].contains(&name.as_str()));
        }
    }
    let other = || problem("Any other problem; see `code`.");
    responses.entry("default").or_insert_with(other);
}

fn codes(method: &str, operation: &Map<String, Value>) -> Vec<Code> {
    let mut codes = vec![Code::Internal, Code::Unavailable];
    let webhook = operation.get("tags") == Some(&json!(["Webhooks"]));
    // A sender of webhooks is never told to slow down (contract 3.4).
    if !webhook {
        codes.push(Code::RateLimited);
    }
    let session = operation
        .get("security")
        .and_then(Value::as_array)
        .is_some_and(|ways| ways.iter().any(|way| way.get("Session").is_some()));
    if session {
        codes.push(Code::Unauthenticated);
        if method != "get" {
            // Only the cookie can be sent by a foreign page.
            codes.push(Code::Forbidden);
        }
    }
    if operation.contains_key("requestBody") {
        codes.extend([
            Code::BadRequest,
            Code::RequestTimeout,
            Code::PayloadTooLarge,
            Code::UnsupportedMediaType,
        ]);
    }
    let parameters = operation.get("parameters").and_then(Value::as_array);
    let required = parameters
        .into_iter()
        .flatten()
        .filter(|parameter| parameter["required"] == true);
    // An id that cannot exist is not found, whatever else is wrong with it.
    codes.extend(required.map(|parameter| match parameter["in"].as_str() {
        Some("path") => Code::NotFound,
        Some("header") => Code::BadRequest,
        _ => Code::ValidationFailed,
    }));
    if operation.contains_key("requestBody") && !webhook {
        codes.push(Code::ValidationFailed);
    }
    let id = operation.get("operationId").and_then(Value::as_str);
    let own = OWN.iter().find(|(name, _)| Some(*name) == id);
    codes.extend(own.map(|(_, own)| *own).unwrap_or_default());
    // In the order of their declaration, each once.
    Code::ALL.iter().copied().filter(|code| codes.contains(code)).collect()
}

fn description(codes: &[Code]) -> String {
    let lines = codes
        .iter()
        .map(|code| format!("`{}`: {}", code.as_str(), code.detail()));
    match codes {
        [_] => lines.collect(),
        _ => lines.map(|line| format!("- {line}")).collect::<Vec<_>>().join("\n"),
    }
}

fn problem(description: &str) -> Value {
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    json!({ "description": description, "content": { PROBLEM: { "schema": schema } } })
}

/// The names are the codes, so that a generator can read from them which codes an answer has.
fn example(code: Code) -> (String, Value) {
    let place = format!("#/components/examples/{}", code.as_str());
    (code.as_str().to_owned(), json!({ "$ref": place }))
}

/// What the answers' examples point to: each code as it is sent.
pub(super) fn examples() -> Value {
    // No operation's: it is the answer of a path that has operations, but not this one.
    let sent = Code::ALL.iter().filter(|code| **code != Code::MethodNotAllowed);
    sent.map(|code| {
        let shown = match code {
            Code::ValidationFailed => Problem::example(),
            _ => Problem {
                request_id: Problem::example().request_id,
                ..Problem::of(*code)
            },
        };
        let value = shown.to_json().unwrap_or_default();
        (
            code.as_str().to_owned(),
            json!({ "summary": code.title(), "value": value }),
        )
    })
    .collect()
}

/// Every code there is, for a member that takes more: a client must expect codes that came after it.
pub(super) fn codes_so_far() -> Value {
    Code::ALL.iter().map(|code| code.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written_out(method: &str, mut operation: Value) -> Map<String, Value> {
        write_out(method, operation.as_object_mut().unwrap());
        operation["responses"].as_object().unwrap().clone()
    }

    #[test]
    fn an_operation_promises_only_what_it_can_answer() {
        let operation = json!({ "responses": { "200": {}, "401": {}, "413": {}, "415": {}, "502": {} } });
        let responses = written_out("get", operation);
        assert!(responses.keys().eq(["200", "429", "500", "503", "default"]));
    }

    #[test]
    fn what_follows_from_the_form_is_promised_without_a_row() {
        let session = json!([{ "Session": [] }, { "SessionCookie": [] }]);
        let reading = written_out("get", json!({ "responses": {}, "security": session }));
        assert_eq!(
            reading["401"]["description"],
            "`unauthenticated`: A live session is required."
        );
        assert!(!reading.contains_key("403"));
        let writing = written_out(
            "post",
            json!({ "responses": {}, "security": session, "requestBody": {} }),
        );
        for status in ["400", "403", "408", "413", "415", "422"] {
            assert!(writing.contains_key(status), "{status}");
        }
        let parameters = json!([{ "in": "query", "required": true }, { "in": "path", "required": true }]);
        let demanding = written_out("get", json!({ "responses": {}, "parameters": parameters }));
        assert!(demanding.contains_key("422") && demanding.contains_key("404"));
        let parameters = json!([{ "in": "header", "required": true }]);
        let keyed = written_out("post", json!({ "responses": {}, "parameters": parameters }));
        assert!(keyed.contains_key("400") && !keyed.contains_key("422"));
    }

    #[test]
    fn every_code_of_a_status_is_named_and_a_time_to_come_back_only_where_there_is_one() {
        let headers = json!({ "Retry-After": {}, "Location": {}, "X-Request-ID": {} });
        let of = |id: &str| {
            written_out(
                "get",
                json!({ "operationId": id, "responses": { "502": { "headers": headers } } }),
            )
        };
        let login = of("finishBankIdLogin");
        let lines = login["502"]["description"].as_str().unwrap();
        assert_eq!(lines.lines().count(), 4, "{lines}");
        assert!(lines.contains("- `jwks_verification_failed`: "), "{lines}");
        assert!(login["502"]["headers"].as_object().unwrap().keys().eq(["X-Request-ID"]));
        assert_eq!(of("createTransaction")["502"]["headers"].as_object().unwrap().len(), 3);
    }

    #[test]
    fn every_operation_has_a_row_and_every_row_an_operation() {
        let document = crate::openapi::published().v31;
        let mut published: Vec<&str> = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|path| path.as_object().unwrap().values())
            .filter_map(|operation| operation["operationId"].as_str())
            .collect();
        let mut rows: Vec<&str> = OWN.iter().map(|(id, _)| *id).collect();
        published.sort_unstable();
        rows.sort_unstable();
        assert_eq!(published, rows, "the table OWN and the operations differ");
    }
}
