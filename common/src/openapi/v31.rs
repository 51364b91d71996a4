//! What JSON Schema says in other words since 3.1: null and exclusive bounds.

use serde_json::{Map, Value, json};

use super::LICENSE;

/// The 3.0.3 document in 3.1.0.
pub fn in_3_1(mut document: Value) -> Value {
    modernise(&mut document);
    document["openapi"] = json!("3.1.0");
    document["info"]["license"] = json!({ "name": LICENSE, "identifier": LICENSE });
    document
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
