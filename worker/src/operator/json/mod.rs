//! What operators see and do as JSON, on the internal listener below `/operator/api`: the page's and the commands' own functions,
//! for programs. Whoever asks sends a token of theirs with each request, or comes through the proxy that signed them in. No cookie is taken, so no
//! other page can act for somebody who is signed in to ours.

mod caller;
mod jobs;
mod looks;
mod payments;
mod problem;
mod queue;
mod webhooks;

use std::sync::Arc;

use drop_common::openapi;
use poem::{
    Endpoint, EndpointExt, IntoResponse, Request, Response, Route,
    endpoint::{BoxEndpoint, make_sync},
    http::{HeaderValue, header},
    middleware::CatchPanic,
};
use poem_openapi::{
    ApiResponse, Object, OpenApiService, ServerObject, Tags,
    payload::Payload,
    registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry},
    types::Type,
};
use serde::Serialize;
use serde_json::Value;

use self::{jobs::Jobs, looks::Looks, payments::Payments, queue::Queue, webhooks::Webhooks};
use crate::{context::Context, gauges::Readings};

/// The document's chapter.
#[derive(Tags)]
enum Chapter {
    /// What operators see and do. Each change has an audit row: who, why, before and after.
    Ops,
}

/// Every operation there is.
type Operations = (Jobs, Queue, Payments, Webhooks, Looks);

/// A thousand jobs' numbers, and more.
const LARGEST: usize = 64 * 1024;

/// Everything below `/operator/api`.
pub(super) fn endpoint(context: &Arc<Context>, readings: &Arc<Readings>) -> BoxEndpoint<'static> {
    let document = openapi::file_text(&document());
    let document = make_sync(move |_| document.clone().with_content_type("application/json"));
    Route::new()
        .at("/operator/api/openapi.json", document)
        .nest("/", service())
        .data(Arc::clone(context))
        .data(Arc::clone(readings))
        .around(bounded)
        .with(CatchPanic::new().with_handler(|_| problem::panicked()))
        .catch_all_error(problem::of_the_framework)
        .around(guarded)
        .boxed()
}

fn service() -> OpenApiService<Operations, ()> {
    let operations = (Jobs, Queue, Payments, Webhooks, Looks);
    OpenApiService::new(operations, "Drop for operators", env!("CARGO_PKG_VERSION"))
        .description(include_str!("introduction.md"))
        .server(
            ServerObject::new("http://127.0.0.1:9091")
                .description("A worker's internal listener, through a forwarded port"),
        )
}

/// The published document; needs neither configuration nor database.
pub fn document() -> Value {
    let mut document: Value = serde_json::from_str(&service().spec()).expect("the framework writes JSON");
    openapi::tidy(&mut document);
    null_where_absent(&mut document["components"]);
    openapi::in_3_1(document)
}

/// What may be absent is written as null, and may be sent as null.
fn null_where_absent(value: &mut Value) {
    match value {
        Value::Object(object) => {
            let required = object
                .get("required")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            if let Some(Value::Object(members)) = object.get_mut("properties") {
                for (name, member) in members {
                    if let (false, Value::Object(member)) = (required.contains(&name.as_str().into()), member) {
                        member.insert("nullable".to_owned(), true.into());
                    }
                }
            }
            object.values_mut().for_each(null_where_absent);
        }
        Value::Array(members) => members.iter_mut().for_each(null_where_absent),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The framework reads a body of any size.
async fn bounded(next: Arc<impl Endpoint + 'static>, mut request: Request) -> poem::Result<Response> {
    let body = request.take_body().into_bytes_limit(LARGEST).await?;
    request.set_body(body);
    next.call(request).await.map(IntoResponse::into_response)
}

async fn guarded(next: Arc<impl Endpoint + 'static>, request: Request) -> poem::Result<Response> {
    let mut response = next.call(request).await?.into_response();
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// An answer: described by the framework, and written as the commands write theirs, so that both say the same.
struct Shown<T>(T);

impl<T: Type> Payload for Shown<T> {
    const CONTENT_TYPE: &'static str = "application/json; charset=utf-8";

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Serialize + Send> IntoResponse for Shown<T> {
    fn into_response(self) -> Response {
        poem::web::Json(self.0).into_response()
    }
}

impl<T: Type> ApiResponse for Shown<T> {
    fn meta() -> MetaResponses {
        let content = vec![MetaMediaType {
            content_type: Self::CONTENT_TYPE,
            schema: Self::schema_ref(),
        }];
        let response = MetaResponse {
            description: "What was asked for.",
            status: Some(200),
            status_range: None,
            content,
            headers: Vec::new(),
        };
        MetaResponses {
            responses: vec![response],
        }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// What was done.
#[derive(Debug, Serialize, Object)]
struct Changed {
    /// As the audit log has it, `noun.verb`.
    action: String,
    /// To how many it was done.
    changed: u64,
}

/// Why something is changed, where nothing else is to be said.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
struct Because {
    /// Why; names no person.
    reason: String,
}

const fn fifty() -> u16 {
    50
}
