//! Reads every body before the operation runs: at most so many bytes, within ten seconds, never compressed.

use std::time::Duration;

use poem::error::ReadBodyError;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Body, Endpoint, Request, Result};

/// Paths below take the larger limit, and a missing content type: the sender is a machine we do not configure.
pub const WEBHOOK_PREFIX: &str = "/v1/webhooks/";

/// The largest bodies taken, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// For operations of clients; default 64 KiB.
    pub api: usize,
    /// For webhooks; default 256 KiB.
    pub webhook: usize,
    /// How long a body may take to arrive; default 10 s.
    pub patience: Duration,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            api: 64 * 1024,
            webhook: 256 * 1024,
            patience: Duration::from_secs(10),
        }
    }
}

/// The innermost layer.
pub(super) struct Limited<E> {
    inner: E,
    limits: BodyLimits,
}

impl<E> Limited<E> {
    pub(super) fn new(inner: E, limits: BodyLimits) -> Self {
        Self { inner, limits }
    }
}

impl<E: Endpoint> Endpoint for Limited<E> {
    type Output = E::Output;

    async fn call(&self, mut request: Request) -> Result<Self::Output> {
        let webhook = request.uri().path().starts_with(WEBHOOK_PREFIX);
        // A compressed body could be far larger than it looks. `identity` says that it is not.
        let mut encodings = request.headers().get_all(header::CONTENT_ENCODING).iter();
        if encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE.into());
        }
        let limit = if webhook { self.limits.webhook } else { self.limits.api };
        let declared = request
            .header(header::CONTENT_LENGTH)
            .and_then(|text| text.parse::<usize>().ok());
        if declared.is_some_and(|length| length > limit) {
            return Err(ReadBodyError::PayloadTooLarge.into());
        }
        let reading = request.take_body().into_bytes_limit(limit);
        let bytes = tokio::time::timeout(self.limits.patience, reading)
            .await
            .map_err(|_| poem::Error::from_status(StatusCode::REQUEST_TIMEOUT))??;
        request.set_body(Body::from_bytes(bytes));
        // The digest decides about a webhook, and a missing one is 401; without this the framework answers 415 first.
        if webhook && request.method() == Method::POST && !request.headers().contains_key(header::CONTENT_TYPE) {
            request
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        self.inner.call(request).await
    }
}
