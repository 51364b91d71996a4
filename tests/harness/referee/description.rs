//! An OpenAPI document, as far as calls and answers are judged by it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The document, its references followed where no schema begins yet.
pub(super) struct Description {
    document: Value,
}

/// A header, of a call or of an answer.
pub(super) struct Header {
    /// Lower-case.
    pub(super) name: String,
    pub(super) is_required: bool,
    pub(super) schema: Value,
}

/// An operation of the document.
pub(super) struct Call {
    /// Method and path.
    pub(super) line: String,
    pub(super) is_secured: bool,
    pub(super) headers: Vec<Header>,
    /// Schemas by content type; `None` where no body is described.
    pub(super) body: Option<BTreeMap<String, Value>>,
    answers: Value,
}

/// An answer of the document.
pub(super) struct Answer {
    pub(super) headers: Vec<Header>,
    /// Schemas by content type.
    pub(super) content: BTreeMap<String, Value>,
}

impl Description {
    pub(super) fn read(text: &str) -> Self {
        let mut document = serde_yaml::from_str(text).expect("a document in YAML");
        make_exact(&mut document);
        Self { document }
    }

    pub(super) fn components(&self) -> &Value {
        &self.document["components"]
    }

    pub(super) fn calls(&self) -> Vec<String> {
        let methods = |(path, item): (&String, &Value)| {
            let methods = ["get", "post", "put", "delete"].into_iter();
            let there: Vec<_> = methods.filter(|method| item.get(method).is_some()).collect();
            there.into_iter().map(|method| called(method, path)).collect::<Vec<_>>()
        };
        self.paths().iter().flat_map(methods).collect()
    }

    /// The operation of this path whose parts of the path `fit`; of several the one with the fewest of them.
    pub(super) fn find(&self, method: &str, path: &str, fit: impl Fn(&Value, &str) -> bool) -> Option<Call> {
        let method = method.to_lowercase();
        let segments: Vec<&str> = path.split('/').collect();
        let candidates = self.paths().iter().filter_map(|(template, item)| {
            let operation = item.get(&method)?;
            let parameters = self.parameters(item, operation);
            let parts: Vec<&str> = template.split('/').collect();
            let matches = parts.len() == segments.len()
                && parts.iter().zip(&segments).all(|(part, segment)| match variable(part) {
                    None => part == segment,
                    Some(name) => parameters.iter().any(|parameter| {
                        parameter["in"] == "path" && parameter["name"] == name && fit(&parameter["schema"], segment)
                    }),
                });
            let variables = parts.iter().filter(|part| variable(part).is_some()).count();
            matches.then_some((variables, template, operation, parameters))
        });
        let (_, template, operation, parameters) = candidates.min_by_key(|(variables, ..)| *variables)?;
        let headers = parameters.iter().filter(|parameter| parameter["in"] == "header");
        let body = operation.get("requestBody").map(|body| content(self.followed(body)));
        Some(Call {
            line: called(&method, template),
            is_secured: self.is_secured(operation),
            headers: headers
                .map(|header| Header {
                    name: header["name"].as_str().unwrap_or_default().to_lowercase(),
                    is_required: header["required"] == true,
                    schema: header["schema"].clone(),
                })
                .collect(),
            body,
            answers: operation["responses"].clone(),
        })
    }

    pub(super) fn answer(&self, call: &Call, status: u16) -> Option<Answer> {
        let answer = call.answers.get(status.to_string())?;
        let answer = self.followed(answer);
        let none = Map::new();
        let headers = answer["headers"].as_object().unwrap_or(&none).iter();
        let headers = headers.map(|(name, header)| {
            let header = self.followed(header);
            Header {
                name: name.to_lowercase(),
                is_required: header["required"] == true,
                schema: header["schema"].clone(),
            }
        });
        Some(Answer {
            headers: headers.collect(),
            content: content(answer),
        })
    }

    fn paths(&self) -> &Map<String, Value> {
        self.document["paths"].as_object().expect("paths")
    }

    fn parameters(&self, item: &Value, operation: &Value) -> Vec<Value> {
        let lists = [item, operation].map(|holder| holder["parameters"].as_array());
        let all = lists.into_iter().flatten().flatten();
        all.map(|parameter| self.followed(parameter).clone()).collect()
    }

    /// Whether a token must come along: where it may be left out, an empty alternative says so.
    fn is_secured(&self, operation: &Value) -> bool {
        let alternatives = operation.get("security").or_else(|| self.document.get("security"));
        let alternatives = alternatives.and_then(Value::as_array);
        alternatives.is_some_and(|all| !all.is_empty() && all.iter().all(|one| one != &json!({})))
    }

    fn followed<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str().and_then(|target| target.strip_prefix('#')) {
            Some(pointer) => self.followed(self.document.pointer(pointer).expect("a reference into the document")),
            None => value,
        }
    }
}

fn called(method: &str, path: &str) -> String {
    format!("{} {path}", method.to_uppercase())
}

fn variable(part: &str) -> Option<&str> {
    part.strip_prefix('{')?.strip_suffix('}')
}

fn content(holder: &Value) -> BTreeMap<String, Value> {
    let none = Map::new();
    let content = holder["content"].as_object().unwrap_or(&none).iter();
    content
        .map(|(kind, body)| (kind.clone(), body["schema"].clone()))
        .collect()
}

/// A pattern means the whole value, although JSON Schema looks for it anywhere: without this, `[0-9]{1,14}` would allow
/// any text with a digit in it. The boolean limits of OpenAPI 3.0 go: they are no schema of the dialect used here.
fn make_exact(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(pattern)) = members.get_mut("pattern") {
                *pattern = format!("^(?:{pattern})$");
            }
            members.retain(|name, value| !(name.starts_with("exclusive") && value.is_boolean()));
            members.values_mut().for_each(make_exact);
        }
        Value::Array(items) => items.iter_mut().for_each(make_exact),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
