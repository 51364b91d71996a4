//! What the framework's document lacks or says oddly.

use drop_common::openapi;
use poem::http::StatusCode;
use serde_json::{Map, Value, json};

use super::{errors, links, texts};

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
    openapi::tidy(&mut document);
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
    let is_signed = operation["security"] == json!([{ "PayloadDigest": [] }]);
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
            let meant = if is_signed {
                "`Bearer`, as on every 401. What is asked for here is the digest."
            } else {
                "`Bearer`: the way to sign in that is taken here."
            };
            headers["WWW-Authenticate"] = json!({
                "description": meant,
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
}
