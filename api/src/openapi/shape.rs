//! What the framework's document lacks or says oddly.

use poem::http::StatusCode;
use serde_json::{Map, Value, json};

use super::{errors, links, texts};

pub(super) const LICENSE: &str = "MIT OR Apache-2.0";
/// The tags in reading order; the framework sorts them by name.
const CHAPTERS: [&str; 7] = [
    "Auth",
    "Notifications",
    "Accounts",
    "Payments",
    "KYC",
    "Webhooks",
    "Health",
];
const DIGEST: &str = "X-Payload-Digest";
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
    digest_as_security(&mut document);
    texts::write_out(&mut document);
    let schemas = document["components"]["schemas"].clone();
    let paths = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    for (method, operation) in paths.filter_map(Value::as_object_mut).flat_map(operations) {
        complete(method, operation, &schemas);
        links::write_out(operation);
    }
    if let Some(code) = document.pointer_mut("/components/schemas/Problem/properties/code") {
        code["x-extensible-enum"] = errors::codes_so_far();
        document["components"]["examples"] = errors::examples();
    }
    document
}

fn operations(path: &mut Map<String, Value>) -> impl Iterator<Item = (&str, &mut Map<String, Value>)> {
    path.iter_mut()
        .filter(|(method, _)| METHODS.contains(&method.as_str()))
        .filter_map(|(method, value)| Some((method.as_str(), value.as_object_mut()?)))
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
fn complete(method: &str, operation: &mut Map<String, Value>, schemas: &Value) {
    operation.entry("security").or_insert_with(|| json!([]));
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    if let Value::Array(parameters) = parameters {
        parameters.push(json!({
            "name": "X-Request-ID", "in": "header", "required": false,
            "description": "A UUID that names this request. Without one, or with anything else, the service makes one.",
            "schema": { "type": "string" },
        }));
    }
    errors::write_out(method, operation);
    let Some(Value::Object(responses)) = operation.get_mut("responses") else {
        return;
    };
    for (status, response) in responses {
        let Some(response) = response.as_object_mut() else {
            continue;
        };
        if response
            .get("description")
            .and_then(Value::as_str)
            .is_none_or(str::is_empty)
        {
            let words = described_by_schema(response, schemas).unwrap_or_else(|| phrase(status));
            response.insert("description".to_owned(), json!(words));
        }
        let headers = response.entry("headers").or_insert_with(|| json!({}));
        headers["X-Request-ID"] = json!({
            "description": "The request's id, for support.",
            "required": true,
            "schema": { "type": "string", "format": "uuid" },
        });
        if status == "401" {
            headers["WWW-Authenticate"] = json!({
                "description": "`Bearer`: the way to sign in that is taken here.",
                "required": true,
                "schema": { "type": "string" },
            });
        }
        if status == "429" {
            headers["Retry-After"] = json!({
                "description": "Seconds after which the next request is accepted.",
                "schema": { "type": "integer", "format": "int32", "minimum": 0 },
            });
        }
    }
}

/// A webhook's digest proves who sends it: a way to authenticate, not a parameter among others.
fn digest_as_security(document: &mut Value) {
    let paths = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    let mut found = false;
    for (_, operation) in paths.filter_map(Value::as_object_mut).flat_map(operations) {
        let Some(Value::Array(parameters)) = operation.get_mut("parameters") else {
            continue;
        };
        let before = parameters.len();
        parameters.retain(|parameter| parameter["name"] != DIGEST);
        if parameters.len() < before {
            operation.insert("security".to_owned(), json!([{ "PayloadDigest": [] }]));
            found = true;
        }
    }
    if found {
        document["components"]["securitySchemes"]["PayloadDigest"] = json!({
            "type": "apiKey", "in": "header", "name": DIGEST,
            "description": "The HMAC of the raw body under the webhook's secret, in hex.",
        });
    }
}

/// What the schema of an answer says of itself.
fn described_by_schema(response: &Map<String, Value>, schemas: &Value) -> Option<String> {
    let schema = &response.get("content")?["application/json"]["schema"]["$ref"];
    let name = schema.as_str()?.rsplit('/').next()?;
    schemas[name]["description"].as_str().map(str::to_owned)
}

fn phrase(status: &str) -> String {
    let phrase = status
        .parse::<StatusCode>()
        .ok()
        .and_then(|status| status.canonical_reason());
    format!("{}.", phrase.unwrap_or("An answer"))
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
    fn a_digest_is_a_way_to_authenticate() {
        let parameters = json!([{ "name": "X-Payload-Digest" }, { "name": "X-Payload-Digest-Alg" }]);
        let mut document = json!({ "paths": { "/v1/hook": { "post": { "parameters": parameters } } } });
        digest_as_security(&mut document);
        let operation = &document["paths"]["/v1/hook"]["post"];
        assert_eq!(operation["parameters"].as_array().unwrap().len(), 1);
        assert_eq!(operation["security"], json!([{ "PayloadDigest": [] }]));
        assert_eq!(
            document["components"]["securitySchemes"]["PayloadDigest"]["name"],
            DIGEST
        );
    }

    #[test]
    fn security_and_descriptions_are_written_out_where_there_are_none() {
        let content = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Thing" } } });
        let mut operation = json!({ "responses": { "200": { "content": content }, "204": {} } });
        let schemas = json!({ "Thing": { "description": "A thing." } });
        complete("get", operation.as_object_mut().unwrap(), &schemas);
        assert_eq!(operation["security"], json!([]));
        assert_eq!(operation["responses"]["200"]["description"], "A thing.");
        assert_eq!(operation["responses"]["204"]["description"], "No Content.");
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
}
