//! One id per request: taken from the caller when it is a UUID, made otherwise, sent back, and known to every problem.

use poem::http::HeaderValue;
use poem::{Endpoint, Request, Response};
use tracing::Instrument;
use uuid::Uuid;

tokio::task_local! {
    static REQUEST_ID: Uuid;
}

/// The header's name.
pub const HEADER: &str = "x-request-id";

/// The id of the request being answered; a new one outside a request.
pub fn current() -> Uuid {
    REQUEST_ID.try_with(|id| *id).unwrap_or_else(|_| Uuid::now_v7())
}

/// The outermost layer.
pub(super) struct WithRequestId<E>(E);

impl<E> WithRequestId<E> {
    pub(super) fn new(inner: E) -> Self {
        Self(inner)
    }
}

impl<E: Endpoint> Endpoint for WithRequestId<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        // Anything but a UUID is replaced: the value goes into logs and answers.
        let id = request
            .header(HEADER)
            .and_then(|text| Uuid::try_parse(text).ok())
            .unwrap_or_else(Uuid::now_v7);
        // At error level, so that the ids are on every line that is shown, however few are.
        let span = tracing::error_span!("request", request.id = %id, method = %request.method());
        let mut response = REQUEST_ID
            .scope(id, self.0.get_response(request))
            .instrument(span)
            .await;
        let value = HeaderValue::from_str(&id.to_string()).expect("a UUID is a header value");
        response.headers_mut().insert(HEADER, value);
        Ok(response)
    }
}
