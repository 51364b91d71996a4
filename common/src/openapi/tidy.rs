//! What the framework's documents say oddly, said plainly, in 3.0.3.

use serde_json::{Map, Value, json};

use super::LICENSE;

/// The framework's document as others read it: in the version whose words it uses, with our licence and contact.
pub fn tidy(document: &mut Value) {
    plain(document);
    document["openapi"] = json!("3.0.3");
    document["info"]["license"] = json!({ "name": LICENSE, "url": "https://spdx.org/licenses/" });
    document["info"]["contact"] = json!({ "name": "The team that runs Drop" });
}

/// Whole numbers as integers, plain media types, header names as people write them, no nulls.
fn plain(value: &mut Value) {
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
            object.values_mut().for_each(plain);
        }
        Value::Array(members) => {
            members.retain(|member| !member.is_null());
            members.iter_mut().for_each(plain);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_nulls_are_tidied() {
        let mut document = json!({
            "headers": { "RETRY-AFTER": {}, "x-request-id": {} },
            "content": { "application/json; charset=utf-8": { "minimum": 1.0, "maximum": 0.5, "gone": null } },
        });
        plain(&mut document);
        assert_eq!(
            document,
            json!({
                "headers": { "Retry-After": {}, "X-Request-ID": {} },
                "content": { "application/json": { "minimum": 1, "maximum": 0.5 } },
            })
        );
    }

    #[test]
    fn unsigned_numbers_and_described_references_are_said_plainly() {
        let mut schema = json!({ "format": "uint16", "allOf": [{ "$ref": "#/x" }, { "description": "twice" }] });
        plain(&mut schema);
        assert_eq!(
            schema,
            json!({ "format": "int32", "minimum": 0, "allOf": [{ "$ref": "#/x" }] })
        );
    }
}
