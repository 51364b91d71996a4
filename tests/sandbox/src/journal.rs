//! What was asked and what came of it. Tests read it instead of guessing.

use std::{collections::BTreeMap, sync::Mutex};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    call::{Call, Reply},
    encoding::{form_pairs, hex, sha256},
    faults::Fault,
    locked,
    operation::{Operation, Provider},
};

/// Headers worth keeping. `authorization` is kept by its scheme alone.
const KEPT_HEADERS: [&str; 15] = [
    "accept",
    "authorization",
    "content-type",
    "x-request-id",
    "x-correlation-id",
    "consent-id",
    "x-consent-id",
    "psu-ip-address",
    "psu-user-agent",
    "psu-accept-language",
    "tpp-redirect-uri",
    "tpp-nok-redirect-uri",
    "tpp-explicit-authorisation-preferred",
    "x-app-access-ts",
    "traceparent",
];

/// Headers of an answer worth keeping. Not `location`: a code or a state may be in it.
const KEPT_ANSWER_HEADERS: [&str; 4] = ["aspsp-sca-approach", "content-type", "retry-after", "x-request-id"];

/// Members that stay out even of a test's journal.
const SECRET_MEMBERS: [&str; 9] = [
    "access_token",
    "client_secret",
    "code",
    "code_verifier",
    "id_token",
    "refresh_token",
    "state",
    "token",
    "nonce",
];

/// One request and how it was answered.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Position over all providers, from 1.
    pub number: u64,
    /// When it came, by the sandbox's clock.
    pub at: DateTime<Utc>,
    /// Whom it was for.
    pub provider: Provider,
    /// The operation's name; absent when no operation has this path.
    pub operation: Option<&'static str>,
    /// The HTTP method.
    pub method: String,
    /// The path without its query.
    pub path: String,
    /// The headers worth keeping, lower-case; repeated ones are joined with a comma.
    pub headers: BTreeMap<String, String>,
    /// SHA-256 of the raw body, hexadecimal.
    pub body_sha256: String,
    /// The body as JSON, a form as an object, anything else null; secrets are replaced by `(present)`.
    pub body: Value,
    /// The status that went out; absent when no answer did.
    pub status: Option<u16>,
    /// The headers of the answer worth keeping, lower-case.
    pub answer_headers: BTreeMap<String, String>,
    /// The answer's body as JSON, before a fault spoiled it; null when it was none. Secrets are replaced as in `body`.
    pub answer: Value,
    /// The fault that hit it.
    pub fault: Option<Fault>,
}

impl Entry {
    /// A kept header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Whether a fault made up the answer: what it says is then not this provider's.
    pub fn is_answer_invented(&self) -> bool {
        self.fault.as_ref().is_some_and(Fault::invents_the_answer)
    }
}

/// Something that changed at a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Effect {
    /// What happened, for instance `payment_created`.
    pub kind: &'static str,
    /// Of which payment, consent, applicant, …
    pub id: String,
    /// The `X-Request-ID` of the request that caused it; empty when none did.
    pub request_id: String,
}

impl Effect {
    pub(crate) fn new(kind: &'static str, id: &str, request_id: &str) -> Self {
        Self {
            kind,
            id: id.to_owned(),
            request_id: request_id.to_owned(),
        }
    }
}

#[derive(Debug, Default)]
struct Book {
    entries: Vec<Entry>,
    effects: Vec<(Provider, Effect)>,
}

/// Every request and every effect since the start or the last reset.
#[derive(Debug, Default)]
pub struct Journal {
    book: Mutex<Book>,
}

impl Journal {
    /// The requests of one provider, oldest first.
    pub fn entries(&self, provider: Provider) -> Vec<Entry> {
        locked(&self.book)
            .entries
            .iter()
            .filter(|entry| entry.provider == provider)
            .cloned()
            .collect()
    }

    /// The requests for one operation, oldest first.
    pub fn entries_of(&self, operation: Operation) -> Vec<Entry> {
        let mut entries = self.entries(operation.provider());
        entries.retain(|entry| entry.operation == Some(operation.name()));
        entries
    }

    /// What changed at one provider, oldest first.
    pub fn effects(&self, provider: Provider) -> Vec<Effect> {
        let book = locked(&self.book);
        book.effects
            .iter()
            .filter(|(of, _)| *of == provider)
            .map(|(_, effect)| effect.clone())
            .collect()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *locked(&self.book) = Book::default();
    }

    pub(crate) fn record_effects(&self, provider: Provider, effects: &[Effect]) {
        locked(&self.book)
            .effects
            .extend(effects.iter().map(|effect| (provider, effect.clone())));
    }

    pub(crate) fn record(
        &self,
        at: DateTime<Utc>,
        provider: Provider,
        operation: Option<Operation>,
        call: &Call,
        sent: Option<&Reply>,
        fault: Option<&Fault>,
    ) {
        let mut book = locked(&self.book);
        let number = book.entries.len() as u64 + 1;
        book.entries.push(Entry {
            number,
            at,
            provider,
            operation: operation.map(Operation::name),
            method: call.method.clone(),
            path: call.path.clone(),
            headers: kept_headers(call),
            body_sha256: hex(&sha256(&call.body)),
            body: readable_body(call),
            status: sent.map(|reply| reply.status),
            answer_headers: sent.map(kept_answer_headers).unwrap_or_default(),
            answer: sent
                .and_then(|reply| serde_json::from_slice(&reply.body).ok())
                .map_or(Value::Null, without_secrets),
            fault: fault.cloned(),
        });
    }
}

fn kept_headers(call: &Call) -> BTreeMap<String, String> {
    let value = |name: &&str| {
        let values: Vec<_> = call
            .headers
            .get_all(*name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    };
    let kept = KEPT_HEADERS
        .iter()
        .filter_map(|name| value(name).map(|value| ((*name).to_owned(), value)));
    kept.map(|(name, value)| {
        let shown = if name == "authorization" {
            value.split(' ').next().unwrap_or_default().to_owned()
        } else {
            value
        };
        (name, shown)
    })
    .collect()
}

fn readable_body(call: &Call) -> Value {
    without_secrets(call.json().unwrap_or_else(|| match call.form() {
        Some(_) => {
            let text = String::from_utf8_lossy(&call.body);
            form_pairs(&text)
                .into_iter()
                .map(|(name, value)| (name, Value::from(value)))
                .collect()
        }
        None => Value::Null,
    }))
}

fn kept_answer_headers(reply: &Reply) -> BTreeMap<String, String> {
    let kept = reply
        .headers
        .iter()
        .filter(|(name, _)| KEPT_ANSWER_HEADERS.contains(&name.as_str()));
    kept.cloned().collect()
}

fn without_secrets(mut body: Value) -> Value {
    if let Some(members) = body.as_object_mut() {
        for (name, value) in members.iter_mut() {
            if SECRET_MEMBERS.contains(&name.as_str()) {
                *value = json!("(present)");
            }
        }
    }
    body
}
