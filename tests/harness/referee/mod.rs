//! Holds what our client sends to Neonomics, and what the simulator answers, against a description in OpenAPI.
//!
//! [`Referee::ours`] is the description that we wrote ourselves from the contract; every test that runs the whole service
//! is held against it when it ends. Another one reads a document of somebody else's.

mod description;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use drop_sandbox::Entry;
use jsonschema::{Draft, ValidationError, Validator, error::ValidationErrorKind};
use serde_json::{Value, json};

use self::description::Description;

/// The contract's calls, described by us.
const OURS: &str = include_str!("../../../openapi/providers/neonomics.yaml");
/// Where the simulator has the provider's root.
const PREFIX: &str = "/neonomics";
/// Headers of HTTP itself and of our tracing: no description names them, and none forbids them.
const OF_EVERY_CALL: [&str; 5] = [
    "accept",
    "authorization",
    "content-type",
    "traceparent",
    "x-correlation-id",
];

/// Something that a call or its answer has or lacks and the description does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The operation's name in the journal.
    pub operation: &'static str,
    /// `path`, `header psu-ip-address`, `body /creditorAccount/bban`, `answer 201 /paymentId`, …
    pub place: String,
    /// Why.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}: {}", self.operation, self.place, self.what)
    }
}

/// A description, ready to judge by.
pub struct Referee {
    description: Description,
    /// Made when first needed: of the standard's schemas most never are.
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Referee {
    /// The one that we wrote.
    pub fn ours() -> &'static Self {
        static OURS_READ: LazyLock<Referee> = LazyLock::new(|| Referee::read(OURS));
        &OURS_READ
    }

    /// One that judges by this document, OpenAPI 3.0 or 3.1 in YAML.
    pub fn read(document: &str) -> Self {
        Self {
            description: Description::read(document),
            validators: Mutex::default(),
        }
    }

    /// Every operation that is described, as method and path.
    pub fn described(&self) -> Vec<String> {
        self.description.calls()
    }

    /// What the call is in the description, as method and path.
    pub fn call_of(&self, entry: &Entry) -> Option<String> {
        let found = self.find(entry)?;
        Some(found.line)
    }

    /// What is wrong with the request and with its answer. One that a fault made up is not the simulator's, so it is not judged.
    pub fn judge(&self, entry: &Entry) -> Vec<Finding> {
        let mut notes = Notes::about(entry);
        let Some(found) = self.find(entry) else {
            notes.add("path", format!("{} {} is not described", entry.method, entry.path));
            return notes.findings;
        };
        self.judge_headers(&found, entry, &mut notes);
        self.judge_body(&found, entry, &mut notes);
        if !entry.is_answer_invented() {
            self.judge_answer(&found, entry, &mut notes);
        }
        notes.findings
    }

    fn find(&self, entry: &Entry) -> Option<description::Call> {
        let path = entry.path.strip_prefix(PREFIX)?;
        self.description.find(&entry.method, path, |schema, text| {
            self.errors(schema, &json!(text)).is_empty()
        })
    }

    fn judge_headers(&self, found: &description::Call, entry: &Entry, notes: &mut Notes) {
        if found.is_secured && entry.header("authorization") != Some("Bearer") {
            notes.add("header authorization", "a Bearer token is missing".to_owned());
        }
        for header in &found.headers {
            let place = format!("header {}", header.name);
            match entry.header(&header.name) {
                Some(text) => {
                    for (_, what) in self.errors(&header.schema, &json!(text)) {
                        notes.add(&place, what);
                    }
                }
                None if header.is_required => notes.add(&place, "it is missing".to_owned()),
                None => {}
            }
        }
        for name in entry.headers.keys() {
            let described = found.headers.iter().any(|header| header.name == *name);
            if !described && !OF_EVERY_CALL.contains(&name.as_str()) {
                notes.add(&format!("header {name}"), "it is not described".to_owned());
            }
        }
    }

    fn judge_body(&self, found: &description::Call, entry: &Entry, notes: &mut Notes) {
        let Some(content) = &found.body else {
            if !entry.body.is_null() {
                notes.add("body", "none is described".to_owned());
            }
            return;
        };
        let kind = entry.header("content-type").unwrap_or_default();
        match content.get(kind) {
            Some(schema) => {
                for (at, what) in self.errors(schema, &entry.body) {
                    notes.add(format!("body {at}").trim_end(), what);
                }
            }
            None => notes.add("body", format!("its content type {kind:?} is not described")),
        }
    }

    fn judge_answer(&self, found: &description::Call, entry: &Entry, notes: &mut Notes) {
        let Some(status) = entry.status else { return };
        let place = format!("answer {status}");
        let Some(answer) = self.description.answer(found, status) else {
            return notes.add(&place, "this status is not described".to_owned());
        };
        for header in &answer.headers {
            let place = format!("{place} header {}", header.name);
            match entry.answer_headers.get(&header.name) {
                Some(text) => {
                    for (_, what) in self.errors(&header.schema, &json!(text)) {
                        notes.add(&place, what);
                    }
                }
                None if header.is_required => notes.add(&place, "it is missing".to_owned()),
                None => {}
            }
        }
        let Some(kind) = entry.answer_headers.get("content-type") else {
            if !answer.content.is_empty() {
                notes.add(&place, "it has no body".to_owned());
            }
            return;
        };
        match answer.content.get(kind) {
            Some(schema) => {
                for (at, what) in self.errors(schema, &entry.answer) {
                    notes.add(format!("{place} {at}").trim_end(), what);
                }
            }
            None => notes.add(&place, format!("a body of type {kind} is not described")),
        }
    }

    /// Where the value does not fit the schema, and why.
    fn errors(&self, schema: &Value, value: &Value) -> Vec<(String, String)> {
        let validator = self.validator(schema);
        validator.iter_errors(value).flat_map(|error| places(&error)).collect()
    }

    fn validator(&self, schema: &Value) -> Arc<Validator> {
        let mut made = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        let validator = made.entry(schema.to_string()).or_insert_with(|| {
            // References point into the document's components.
            let whole = json!({ "components": self.description.components(), "allOf": [schema] });
            let options = jsonschema::options()
                .with_draft(Draft::Draft202012)
                .should_validate_formats(true);
            Arc::new(options.build(&whole).expect("a schema that can be judged by"))
        });
        Arc::clone(validator)
    }
}

/// Where an error is. Of several alternatives that the value may be, it is held against the one that it comes closest to.
fn places(error: &ValidationError<'_>) -> Vec<(String, String)> {
    if let ValidationErrorKind::OneOfNotValid { context } = error.kind()
        && let Some(closest) = context.iter().min_by_key(|errors| errors.len())
    {
        return closest.iter().flat_map(places).collect();
    }
    vec![(error.instance_path().to_string(), error.to_string())]
}

/// What is found about one entry.
struct Notes {
    operation: &'static str,
    findings: Vec<Finding>,
}

impl Notes {
    fn about(entry: &Entry) -> Self {
        Self {
            operation: entry.operation.unwrap_or("unknown"),
            findings: Vec::new(),
        }
    }

    fn add(&mut self, place: &str, what: String) {
        self.findings.push(Finding {
            operation: self.operation,
            place: place.to_owned(),
            what,
        });
    }
}
