//! Headers of every answer: nothing is cached, sniffed, framed or sent on as a referrer.

use poem::http::{HeaderName, HeaderValue, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response};

const DEFAULTS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    // Browsers ignore it over plain HTTP, so the local profile needs no exception.
    (header::STRICT_TRANSPORT_SECURITY, "max-age=63072000; includeSubDomains"),
];

pub(super) struct WithHeaders<E>(E);

impl<E> WithHeaders<E> {
    pub(super) fn new(inner: E) -> Self {
        Self(inner)
    }
}

impl<E: Endpoint> Endpoint for WithHeaders<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let mut response = self.0.call(request).await?.into_response();
        for (name, value) in DEFAULTS {
            // The documentation pages bring a policy of their own.
            response
                .headers_mut()
                .entry(name)
                .or_insert(HeaderValue::from_static(value));
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            // RFC 9110 section 15.5.2: a 401 names a way to authenticate.
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Ok(response)
    }
}
