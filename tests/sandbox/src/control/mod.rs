//! The HTTP control interface: everything a test can do in process, for those who are not.

mod index;
mod providers;

use poem::Request;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    App,
    call::{Call, Reply},
    faults::Fault,
    operation::{Operation, Provider},
};

/// What was wrong with a control request: a status and a sentence.
struct Wrong(u16, String);

type Answer = Result<Reply, Wrong>;

pub(crate) async fn handle(app: &App, request: Request) -> Reply {
    let call = match Call::read(request).await {
        Ok(call) => call,
        Err(reply) => return reply,
    };
    let segments = call.segments();
    let segments: Vec<_> = segments
        .iter()
        .map(String::as_str)
        .filter(|segment| !segment.is_empty())
        .collect();
    let answer = match (call.method.as_str(), segments.as_slice()) {
        ("GET", []) => Ok(Reply::json(200, &index::index())),
        ("POST", ["reset"]) => done(app.reset()),
        ("GET" | "POST", ["clock"]) => clock(app, &call),
        ("GET", ["journal", provider]) => journal(app, provider),
        ("GET", ["confidential"]) => shown(&app.shared.confidential.values()),
        (method, [provider, "faults"]) => faults(app, method, provider, &call),
        (method, path) => providers::handle(app, method, path, &call).await,
    };
    answer.unwrap_or_else(|Wrong(status, text)| Reply::json(status, &json!({ "error": text })))
}

/// The body of a control request.
fn read<T: DeserializeOwned>(call: &Call) -> Result<T, Wrong> {
    let body = if call.body.is_empty() {
        b"{}".as_slice()
    } else {
        &call.body
    };
    serde_json::from_slice(body).map_err(|error| Wrong(400, error.to_string()))
}

fn shown(value: &impl Serialize) -> Answer {
    let value = serde_json::to_value(value).map_err(|error| Wrong(500, error.to_string()))?;
    Ok(Reply::json(200, &value))
}

fn done(result: anyhow::Result<()>) -> Answer {
    result
        .map(|()| Reply::empty(204))
        .map_err(|error| Wrong(409, format!("{error:#}")))
}

fn provider_named(name: &str) -> Result<Provider, Wrong> {
    Provider::parse(name).ok_or_else(|| Wrong(404, format!("no provider is called {name}")))
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClockRequest {
    #[serde(default)]
    advance_seconds: i64,
    set: Option<chrono::DateTime<chrono::Utc>>,
}

fn clock(app: &App, call: &Call) -> Answer {
    if call.method == "POST" {
        let request: ClockRequest = read(call)?;
        if let Some(at) = request.set {
            app.shared.clock.set(at);
        }
        app.shared
            .clock
            .advance(chrono::TimeDelta::seconds(request.advance_seconds));
    }
    shown(&json!({ "now": app.shared.clock.now() }))
}

fn journal(app: &App, provider: &str) -> Answer {
    let provider = provider_named(provider)?;
    let journal = &app.shared.journal;
    shown(&json!({ "requests": journal.entries(provider), "effects": journal.effects(provider) }))
}

#[derive(serde::Deserialize)]
struct FaultRequest {
    operation: String,
    times: Option<u32>,
    #[serde(flatten)]
    fault: Fault,
}

fn faults(app: &App, method: &str, provider: &str, call: &Call) -> Answer {
    let provider = provider_named(provider)?;
    let faults = &app.shared.faults;
    match method {
        "POST" => {
            let request: FaultRequest = read(call)?;
            let operation = Operation::parse(provider, &request.operation);
            let operation =
                operation.ok_or_else(|| Wrong(400, format!("no operation is called {}", request.operation)))?;
            if let Fault::Status { code, .. } | Fault::ExecuteThenStatus { code } = request.fault
                && !(200..600).contains(&code)
            {
                return Err(Wrong(400, "a status is a number from 200 to 599".to_owned()));
            }
            faults.add(operation, request.fault, request.times);
        }
        "DELETE" => faults.clear(Some(provider)),
        "GET" => {}
        _ => return Err(Wrong(405, "GET, POST or DELETE".to_owned())),
    }
    let waiting = faults.waiting(provider);
    let waiting: Vec<Value> = waiting
        .into_iter()
        .map(|(operation, rule)| json!({ "operation": operation.name(), "fault": rule.fault, "times": rule.times }))
        .collect();
    shown(&waiting)
}
