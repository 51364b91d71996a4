//! What surrounds every operation, inside to outside: body limit, panics, errors, cookies, `Allow`, pages, metrics,
//! headers, request id.

mod allow;
mod body;
mod headers;
mod http_metrics;
mod pages;
pub mod request_id;

use std::sync::Arc;

use drop_common::metrics::Metrics;
use poem::endpoint::BoxEndpoint;
use poem::middleware::{CatchPanic, CookieJarManager};
use poem::{Endpoint, EndpointExt, IntoEndpoint};

pub use body::{BodyLimits, SMALL, WEBHOOK_PREFIX};

use crate::error::{framework_error, panic_answer};
use crate::openapi::PublishedRoutes;

/// Puts the layers around the routes. `published` tells which path takes which method; `metrics` are the process's own.
pub fn around(
    routes: impl IntoEndpoint<Endpoint: Endpoint + 'static>,
    limits: BodyLimits,
    published: PublishedRoutes,
    metrics: Arc<Metrics>,
) -> BoxEndpoint<'static> {
    let published = Arc::new(published);
    http_metrics::touch(&metrics, &published);
    let limited = body::Limited::new(routes.into_endpoint(), limits, Arc::clone(&metrics));
    let answered = limited
        .with(CatchPanic::new().with_handler(panic_answer))
        .catch_all_error(framework_error)
        // Around the errors, because they set cookies too: a login that is refused takes its own away.
        .with(CookieJarManager::new());
    let allowed = allow::WithAllow::new(answered, Arc::clone(&published));
    let shown = pages::WithPages::new(allowed);
    let measured = http_metrics::Measured::new(shown, published, metrics);
    request_id::WithRequestId::new(headers::WithHeaders::new(measured)).boxed()
}
