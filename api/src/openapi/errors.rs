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

/// What this process holds itself: it is answered also while the database is not there.
const ASKS_NO_DATABASE: &str = "getSigningKeys";
/// What was taken on before its provider's circuit was seen to be open, and goes on: anything else was not started.
const GOES_ON: &str = "createTransaction";

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
    let goes_on = is(operation, GOES_ON);
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
        // No other failure of a provider than an open circuit knows when it ends, and no other conflict than an equal payment
        // has a place to look at.
        let never: &[&str] = match status {
            StatusCode::BAD_GATEWAY if !same.contains(&Code::CircuitOpen) => &["Retry-After", "Location"],
            StatusCode::BAD_GATEWAY if !goes_on => &["Location"],
            StatusCode::CONFLICT if !same.contains(&Code::PossibleDuplicate) => &["Retry-After", "Location"],
            _ => &[],
        };
        if let Some(headers) = response.get_mut("headers").and_then(Value::as_object_mut) {
            headers.retain(|name, _| !never.contains(&name.as_str()));
        }
    }
    let other = || problem("Any other problem; see `code`.");
    responses.entry("default").or_insert_with(other);
}

fn is(operation: &Map<String, Value>, id: &str) -> bool {
    operation.get("operationId").and_then(Value::as_str) == Some(id)
}

fn codes(method: &str, operation: &Map<String, Value>) -> Vec<Code> {
    let mut codes = vec![Code::Internal];
    if !is(operation, ASKS_NO_DATABASE) {
        codes.push(Code::Unavailable);
    }
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
            // There is no room for it beside the bodies of others.
            Code::Overloaded,
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
    let own = OWN.iter().find(|(name, _)| is(operation, name));
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
        // Behind an open circuit nothing is withdrawn later.
        let withdrawal = of("cancelTransaction");
        let kept = withdrawal["502"]["headers"].as_object().unwrap();
        assert!(kept.keys().eq(["Retry-After", "X-Request-ID"]));
    }

    #[test]
    fn a_body_may_find_no_room_and_the_signing_keys_are_there_without_a_database() {
        let codes = |operation| {
            let responses = written_out("post", operation);
            let of = |status| {
                responses
                    .get(status)
                    .map(|one| one["content"][PROBLEM]["examples"].clone())
            };
            of("503").map(|codes| codes.as_object().unwrap().keys().cloned().collect::<Vec<_>>())
        };
        let with_a_body = codes(json!({ "responses": {}, "requestBody": {} }));
        assert_eq!(with_a_body.unwrap(), ["overloaded", "unavailable"]);
        assert_eq!(codes(json!({ "responses": {} })).unwrap(), ["unavailable"]);
        assert_eq!(codes(json!({ "operationId": ASKS_NO_DATABASE, "responses": {} })), None);
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
