//! What the framework's document lacks or says oddly.

use poem::http::StatusCode;
use serde_json::{Map, Value, json};

const LICENSE: &str = "MIT OR Apache-2.0";
/// The tags in reading order; the framework sorts them by name.
const CHAPTERS: [&str; 6] = ["Auth", "Accounts", "Payments", "KYC", "Webhooks", "Health"];
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The document in 3.0.3.
pub(super) fn published(mut document: Value) -> Value {
    tidy(&mut document);
    document["openapi"] = json!("3.0.3");
    document["info"]["license"] = json!({ "name": LICENSE, "url": "https://spdx.org/licenses/" });
    document["info"]["contact"] = json!({ "name": "The team that runs Drop" });
    document["security"] = json!([{ "Session": [] }, { "SessionCookie": [] }]);
    if let Some(Value::Array(tags)) = document.get_mut("tags") {
        tags.sort_by_key(|tag| CHAPTERS.iter().position(|chapter| tag["name"] == *chapter));
    }
    let paths = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    for operation in paths.filter_map(Value::as_object_mut).flat_map(operations) {
        complete(operation);
    }
    document
}

/// The same document in 3.1.0: JSON Schema's own words for null and for exclusive bounds.
pub(super) fn as_31(mut document: Value) -> Value {
    modernise(&mut document);
    document["openapi"] = json!("3.1.0");
    document["info"]["license"] = json!({ "name": LICENSE, "identifier": LICENSE });
    document
}

fn operations(path: &mut Map<String, Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    path.iter_mut()
        .filter(|(method, _)| METHODS.contains(&method.as_str()))
        .filter_map(|(_, value)| value.as_object_mut())
}

/// Whole numbers as integers, plain media types, header names as people write them, no nulls.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|_, member| !member.is_null());
            let names: Vec<String> = object.keys().cloned().collect();
            for name in names {
                if let Some(plain) = name.strip_suffix("; charset=utf-8") {
                    let member = object.remove(&name).unwrap_or_default();
                    object.insert(plain.to_owned(), member);
                }
            }
            if let Some(Value::Object(headers)) = object.get_mut("headers") {
                *headers = std::mem::take(headers)
                    .into_iter()
                    .map(|(name, member)| (usual_name(&name), member))
                    .collect();
            }
            if let Some(Value::Array(members)) = object.get_mut("allOf") {
                // The framework repeats the field's description as a schema of its own.
                members.retain(|member| {
                    member
                        .as_object()
                        .is_none_or(|member| !member.keys().eq(["description"]))
                });
            }
            plain_format(object);
            object.values_mut().for_each(tidy);
        }
        Value::Array(members) => {
            members.retain(|member| !member.is_null());
            members.iter_mut().for_each(tidy);
        }
        Value::Number(number) => {
            if let Some(whole) = whole(number) {
                *value = json!(whole);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Unsigned formats are not in the registry of formats; a bound says the same.
fn plain_format(schema: &mut Map<String, Value>) {
    let plain = match schema.get("format").and_then(Value::as_str) {
        Some("uint8" | "uint16" | "uint32") => "int32",
        Some("uint64") => "int64",
        _ => return,
    };
    schema.insert("format".to_owned(), json!(plain));
    schema.entry("minimum").or_insert(json!(0));
}

fn whole(number: &serde_json::Number) -> Option<i64> {
    let float = number.as_f64().filter(|_| number.is_f64())?;
    // Within 2^53 every whole number is exact.
    let exact = float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0;
    exact.then(|| format!("{float:.0}").parse().ok()).flatten()
}

/// `RETRY-AFTER` → `Retry-After`, `X-REQUEST-ID` → `X-Request-ID`.
fn usual_name(name: &str) -> String {
    let words = name.split('-').map(|word| {
        if word.eq_ignore_ascii_case("id") {
            return "ID".to_owned();
        }
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + &rest.to_ascii_lowercase()
    });
    words.collect::<Vec<_>>().join("-")
}

/// Security written out where there is none, the answers every operation can give, and a description for each.
fn complete(operation: &mut Map<String, Value>) {
    operation.entry("security").or_insert_with(|| json!([]));
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    if let Value::Array(parameters) = parameters {
        parameters.push(json!({
            "name": "X-Request-ID", "in": "header", "required": false,
            "description": "A UUID that names this request; kept when given, made otherwise.",
            "schema": { "type": "string", "format": "uuid" },
        }));
    }
    let (public, bodiless) = (
        operation["security"] == json!([]),
        !operation.contains_key("requestBody"),
    );
    let webhook = operation.get("tags") == Some(&json!(["Webhooks"]));
    let Some(Value::Object(responses)) = operation.get_mut("responses") else {
        return;
    };
    // All operations share one error type; what one of them cannot answer is not promised.
    if bodiless {
        responses.retain(|status, _| !["413", "415"].contains(&status.as_str()));
    }
    if public && !webhook {
        responses.remove("401");
    }
    for (status, description) in [
        ("429", "Too many requests of this caller (`rate_limited`)."),
        ("500", "An error of ours (`internal_error`)."),
        ("default", "Any other problem; see `code`."),
    ] {
        responses.entry(status).or_insert_with(|| problem(description));
    }
    for (status, response) in responses {
        let Some(response) = response.as_object_mut() else {
            continue;
        };
        let description = response.entry("description").or_insert_with(|| json!(""));
        if description.as_str().is_none_or(str::is_empty) {
            *description = json!(phrase(status));
        }
        let headers = response.entry("headers").or_insert_with(|| json!({}));
        headers["X-Request-ID"] = json!({
            "description": "The request's id, for support.",
            "required": true,
            "schema": { "type": "string", "format": "uuid" },
        });
        if status == "429" {
            headers["Retry-After"] = json!({
                "description": "Seconds after which the next request is accepted.",
                "schema": { "type": "integer", "format": "int32", "minimum": 0 },
            });
        }
    }
}

fn problem(description: &str) -> Value {
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    json!({ "description": description, "content": { "application/problem+json": { "schema": schema } } })
}

fn phrase(status: &str) -> String {
    let phrase = status
        .parse::<StatusCode>()
        .ok()
        .and_then(|status| status.canonical_reason());
    format!("{}.", phrase.unwrap_or("An answer"))
}

fn modernise(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.values_mut().for_each(modernise);
            if object.get("nullable").is_some_and(Value::is_boolean) {
                let nullable = object.remove("nullable") == Some(Value::Bool(true));
                if nullable {
                    allow_null(object);
                }
            }
            for (bound, exclusive) in [("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")] {
                match object.get(exclusive) {
                    Some(Value::Bool(true)) => {
                        let limit = object.remove(bound).unwrap_or_default();
                        object.insert(exclusive.to_owned(), limit);
                    }
                    Some(Value::Bool(false)) => drop(object.remove(exclusive)),
                    _ => {}
                }
            }
        }
        Value::Array(members) => members.iter_mut().for_each(modernise),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn allow_null(schema: &mut Map<String, Value>) {
    if let Some(Value::String(kind)) = schema.get("type") {
        let kinds = json!([kind, "null"]);
        schema.insert("type".to_owned(), kinds);
    } else {
        let plain = std::mem::take(schema);
        schema.insert("anyOf".to_owned(), json!([plain, { "type": "null" }]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_nulls_are_tidied() {
        let mut document = json!({
            "headers": { "RETRY-AFTER": {}, "x-request-id": {} },
            "content": { "application/json; charset=utf-8": { "minimum": 1.0, "maximum": 0.5, "gone": null } },
        });
        tidy(&mut document);
        assert_eq!(
            document,
            json!({
                "headers": { "Retry-After": {}, "X-Request-ID": {} },
                "content": { "application/json": { "minimum": 1, "maximum": 0.5 } },
            })
        );
    }

    #[test]
    fn an_operation_promises_only_what_it_can_answer() {
        let mut operation = json!({ "responses": { "200": {}, "401": {}, "413": {}, "415": {} } });
        complete(operation.as_object_mut().unwrap());
        let statuses: Vec<_> = operation["responses"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(statuses, ["200", "429", "500", "default"]);
        assert_eq!(operation["security"], json!([]));
    }

    #[test]
    fn unsigned_numbers_and_described_references_are_said_plainly() {
        let mut schema = json!({ "format": "uint16", "allOf": [{ "$ref": "#/x" }, { "description": "twice" }] });
        tidy(&mut schema);
        assert_eq!(
            schema,
            json!({ "format": "int32", "minimum": 0, "allOf": [{ "$ref": "#/x" }] })
        );
    }

    #[test]
    fn null_and_exclusive_bounds_are_said_in_the_words_of_3_1() {
        let mut schema = json!({ "a": { "type": "string", "nullable": true }, "b": { "$ref": "#/x", "nullable": true },
            "c": { "minimum": 0, "exclusiveMinimum": true }, "d": { "maximum": 9, "exclusiveMaximum": false } });
        modernise(&mut schema);
        assert_eq!(
            schema,
            json!({ "a": { "type": ["string", "null"] }, "b": { "anyOf": [{ "$ref": "#/x" }, { "type": "null" }] },
                "c": { "exclusiveMinimum": 0 }, "d": { "maximum": 9 } })
        );
    }
}
