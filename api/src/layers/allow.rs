//! A 405 says which methods the path takes (RFC 9110 section 15.5.6).

use std::sync::Arc;

use poem::http::{HeaderValue, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response};

use crate::openapi::PublishedRoutes;

pub(super) struct WithAllow<E> {
    inner: E,
    published: Arc<PublishedRoutes>,
}

impl<E> WithAllow<E> {
    pub(super) fn new(inner: E, published: Arc<PublishedRoutes>) -> Self {
        Self { inner, published }
    }
}

impl<E: Endpoint> Endpoint for WithAllow<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let allowed = self
            .published
            .find(request.uri().path())
            .map(|route| route.methods.join(", "));
        let mut response = self.inner.call(request).await?.into_response();
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            // Outside the document there are only pages, which are read.
            let allowed = allowed.as_deref().unwrap_or("GET, HEAD");
            let value = HeaderValue::from_str(allowed).expect("method names are header text");
            response.headers_mut().insert(header::ALLOW, value);
        }
        Ok(response)
    }
}
