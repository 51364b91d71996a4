//! Streams of events. The framework describes one as a list of what its events hold, which nobody is sent: a stream is read
//! event by event, and each is its own text.

use serde_json::{Map, Value, json};

const STREAM: &str = "text/event-stream";

/// Describes each event instead. What its text holds can be said since 3.1 only.
pub(super) fn write_out(document: &mut Value, holds_json: bool) {
    for operation in members(&mut document["paths"]).flat_map(members) {
        let responses = operation.get_mut("responses").into_iter().flat_map(members);
        for stream in responses.filter_map(|response| response.get_mut("content")?.get_mut(STREAM)) {
            stream["schema"] = event(&stream["schema"]["items"], holds_json);
        }
    }
}

fn members(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    value.as_object_mut().into_iter().flat_map(Map::values_mut)
}

fn event(held: &Value, holds_json: bool) -> Value {
    let name = held["$ref"].as_str().and_then(|place| place.rsplit('/').next());
    let mut data = json!({
        "type": "string",
        "description": format!("A `{}` as JSON.", name.unwrap_or_default()),
    });
    if holds_json {
        data["contentMediaType"] = json!("application/json");
        data["contentSchema"] = held.clone();
    }
    let id = json!({ "type": "string", "description": "What to come back with, as `Last-Event-ID`." });
    json!({
        "type": "object",
        "description": "One event of the stream.",
        "required": ["id", "data"],
        "properties": { "id": id, "data": data },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_described_with_what_its_text_holds_where_that_can_be_said() {
        let schema = json!({ "type": "array", "items": { "$ref": "#/components/schemas/Thing" } });
        let plain = json!({ "paths": { "/things": { "get": { "responses": {
            "200": { "content": { STREAM: { "schema": schema } } },
            "204": {},
        } } } } });
        for holds_json in [true, false] {
            let mut document = plain.clone();
            write_out(&mut document, holds_json);
            let schema = &document["paths"]["/things"]["get"]["responses"]["200"]["content"][STREAM]["schema"];
            let data = &schema["properties"]["data"];
            assert_eq!(data["description"], "A `Thing` as JSON.");
            assert_eq!(data.get("contentSchema").is_some(), holds_json);
        }
    }
}
