//! Counts and times answers by route pattern, never by path, for Prometheus and for Sentry.

use std::sync::Arc;
use std::time::Instant;

use drop_common::metrics::{HTTP_IN_FLIGHT, HTTP_REQUEST_DURATION, HTTP_REQUESTS, Metrics};
use drop_common::telemetry::{Status, Transaction};
use poem::http::{Method, StatusCode};
use poem::{Endpoint, IntoResponse, Request, Response};

use super::request_id;
use crate::openapi::PublishedRoutes;

/// The label of a path that is no operation: documents, pages, and whatever scanners ask for.
const UNPUBLISHED: &str = "other";

pub(super) struct Measured<E> {
    inner: E,
    published: Arc<PublishedRoutes>,
    metrics: Arc<Metrics>,
}

impl<E> Measured<E> {
    pub(super) fn new(inner: E, published: Arc<PublishedRoutes>, metrics: Arc<Metrics>) -> Self {
        Self {
            inner,
            published,
            metrics,
        }
    }
}

/// Makes the series of every published operation appear before its first request.
pub(super) fn touch(metrics: &Metrics, published: &PublishedRoutes) {
    for (route, method, statuses) in published.operations() {
        let slo = slo(method, &route.pattern);
        metrics.touch(&HTTP_REQUEST_DURATION, &[method, &route.pattern, slo]);
        for status in statuses {
            metrics.touch(&HTTP_REQUESTS, &[method, &route.pattern, slo, status]);
        }
    }
}

impl<E: Endpoint> Endpoint for Measured<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let begun = Instant::now();
        let route = self
            .published
            .find(request.uri().path())
            .map_or(UNPUBLISHED, |route| &route.pattern);
        let method = method_label(request.method());
        let slo = slo(method, route);
        let _running = InFlight::new(&self.metrics);
        let name = (route != UNPUBLISHED).then(|| format!("{method} {route}"));
        let transaction = Transaction::begin(
            "http.server",
            name.as_deref(),
            &[("request.id", &request_id::current())],
        );
        let response = transaction.around(self.inner.call(request)).await?.into_response();
        transaction.end(outcome(response.status()));
        self.metrics.observe(
            &HTTP_REQUEST_DURATION,
            &[method, route, slo],
            begun.elapsed().as_secs_f64(),
        );
        self.metrics
            .count(&HTTP_REQUESTS, &[method, route, slo, response.status().as_str()]);
        Ok(response)
    }
}

/// Counts a request for as long as it lives, also when the caller goes away.
struct InFlight<'a>(&'a Metrics);

impl<'a> InFlight<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.add(&HTTP_IN_FLIGHT, &[], 1.0);
        Self(metrics)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.add(&HTTP_IN_FLIGHT, &[], -1.0);
    }
}

/// A status in Sentry's words.
fn outcome(status: StatusCode) -> Status {
    match status.as_u16() {
        ..400 => Status::Ok,
        401 => Status::Unauthenticated,
        403 => Status::PermissionDenied,
        404 => Status::NotFound,
        429 => Status::ResourceExhausted,
        400..500 => Status::InvalidArgument,
        503 => Status::Unavailable,
        504 => Status::DeadlineExceeded,
        _ => Status::InternalError,
    }
}

/// A client can invent methods; a label cannot.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// The objective an operation counts towards.
fn slo(method: &str, pattern: &str) -> &'static str {
    let within = |prefix: &str| pattern.starts_with(prefix);
    if within("/v1/webhooks/") {
        "webhook"
    } else if within("/api/auth/") || within("/v1/auth/") {
        "login"
    } else if method == "POST" && within("/v1/transactions") || within("/api/payments/") {
        "payment"
    } else if method == "GET" && within("/v1/") && pattern != "/v1/health" {
        "read"
    } else {
        "none"
    }
}
