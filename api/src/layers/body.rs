//! Reads every body before the operation runs: at most so many bytes, within ten seconds, never compressed, and no more than
//! fit into the memory beside the others.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use drop_common::metrics::{Metrics, SUMSUB_WEBHOOK_FAILURES};
use futures_util::StreamExt as _;
use poem::error::ReadBodyError;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Body, Endpoint, Request, Result};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::{ApiError, Code};

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
    /// What the large bodies of all requests under way may hold together, beyond the first [`SMALL`] bytes of each; default
    /// 64 MiB.
    pub room: u32,
}

/// So much of each body needs no room, and is about what a connection costs without one. Sumsub's are smaller: whoever fills
/// the room, with large ones that never end, keeps none of them out.
pub const SMALL: usize = 16 * 1024;

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            api: 64 * 1024,
            webhook: 256 * 1024,
            patience: Duration::from_secs(10),
            room: 64 * 1024 * 1024,
        }
    }
}

/// The innermost layer.
pub(super) struct Limited<E> {
    inner: E,
    limits: BodyLimits,
    /// A permit for each byte.
    room: Semaphore,
    metrics: Arc<Metrics>,
}

impl<E> Limited<E> {
    pub(super) fn new(inner: E, limits: BodyLimits, metrics: Arc<Metrics>) -> Self {
        let room = Semaphore::new(limits.room.try_into().expect("addresses have 32 bits or more"));
        Self {
            inner,
            limits,
            room,
            metrics,
        }
    }

    /// Reads a body as it arrives, with the room that it takes. Where there is none, the answer is 503 `overloaded`.
    async fn read(&self, body: Body, limit: usize) -> Result<(Vec<u8>, SemaphorePermit<'_>)> {
        let take = |bytes: usize| {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            let full = |_| ApiError::retry_after(Code::Overloaded, 5);
            self.room.try_acquire_many(bytes).map_err(full)
        };
        let (mut bytes, mut room) = (Vec::new(), take(0)?);
        let mut chunks = pin!(body.into_bytes_stream());
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(ReadBodyError::Io)?;
            let arrived = bytes.len() + chunk.len();
            if arrived > limit {
                return Err(ReadBodyError::PayloadTooLarge.into());
            }
            room.merge(take(arrived.saturating_sub(SMALL.max(bytes.len())))?);
            bytes.extend_from_slice(&chunk);
        }
        Ok((bytes, room))
    }
}

/// Whether a body was refused for the state that we, or the way to us, are in: its sender will come again.
fn had_no_room_or_time(refusal: &poem::Error) -> bool {
    matches!(
        refusal.status(),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::REQUEST_TIMEOUT
    )
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
        let reading = self.read(request.take_body(), limit);
        let read = tokio::time::timeout(self.limits.patience, reading)
            .await
            .unwrap_or_else(|_| Err(StatusCode::REQUEST_TIMEOUT.into()));
        if webhook && read.as_ref().is_err_and(had_no_room_or_time) {
            self.metrics.count(&SUMSUB_WEBHOOK_FAILURES, &["overloaded"]);
        }
        let (bytes, _room) = read?;
        request.set_body(Body::from(bytes));
        // The digest decides about a webhook, and a missing one is 401; without this the framework answers 415 first.
        if webhook && request.method() == Method::POST && !request.headers().contains_key(header::CONTENT_TYPE) {
            request
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        self.inner.call(request).await
    }
}
