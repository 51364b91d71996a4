//! The published document of the operators' API.
#![expect(clippy::unwrap_used, reason = "a test's own helpers fail the test")]

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value};

fn document() -> Value {
    drop_worker::operator::document()
}

fn is_written(value: Option<&Value>) -> bool {
    value
        .and_then(Value::as_str)
        .is_some_and(|text| !text.trim().is_empty())
}

/// Every operation with its method and path.
fn published(document: &Value) -> Vec<(String, &Map<String, Value>)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{method} {path}"), operation.as_object().unwrap()))
    });
    operations.collect()
}

#[test]
fn the_committed_file_is_what_the_command_writes_without_any_configuration() {
    let written = Command::new(env!("CARGO_BIN_EXE_drop-worker"))
        .arg("openapi")
        .env_clear()
        .output()
        .unwrap();
    assert!(written.status.success(), "{written:?}");
    let written = String::from_utf8(written.stdout).unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi/drop-ops.json");
    // Not `assert_eq`: it would print both whole.
    assert!(
        std::fs::read_to_string(file).unwrap_or_default() == written,
        "openapi/drop-ops.json is not what the code publishes. Write it anew and read the difference:\n  \
         cargo run -p drop-worker -- openapi > openapi/drop-ops.json && git diff openapi/drop-ops.json"
    );
}

#[test]
fn every_operation_is_named_described_for_operators_alone_and_its_errors_are_problems() {
    let document = document();
    let mut ids = HashSet::new();
    let operations = published(&document);
    assert!(operations.len() > 30);
    for (route, operation) in operations {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{id} is there twice");
        for text in ["summary", "description"] {
            assert!(is_written(operation.get(text)), "{route} has no {text}");
        }
        assert_eq!(operation["tags"], serde_json::json!(["Ops"]), "{route}");
        assert_eq!(operation["security"], serde_json::json!([{ "Token": [] }]), "{route}");
        for parameter in operation
            .get("parameters")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            assert!(is_written(parameter.get("description")), "{route}: {parameter}");
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(is_written(response.get("description")), "{route} {status}");
            let media: Vec<&String> = response["content"].as_object().unwrap().keys().collect();
            let known = if status == "200" {
                "application/json"
            } else {
                "application/problem+json"
            };
            assert_eq!(media, [known], "{route} {status}");
        }
    }
}

#[test]
fn every_object_says_what_each_member_is() {
    let document = document();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(is_written(schema.get("description")), "{name}");
        let own = schema["allOf"].as_array().into_iter().flatten().chain([schema]);
        for (member, schema) in own.filter_map(|part| part["properties"].as_object()).flatten() {
            let said = schema["anyOf"].as_array().into_iter().flatten().chain([schema]);
            assert!(
                said.into_iter().any(|part| is_written(part.get("description"))),
                "{name}.{member}"
            );
        }
    }
}
