//! Puts operations, documents and layers together into what the public listener serves.

use std::sync::Arc;

use drop_common::metrics::Metrics;
use poem::endpoint::BoxEndpoint;
use poem::{EndpointExt, Route};
use poem_openapi::{OpenApi, OpenApiService, ServerObject};

use crate::layers::{self, BodyLimits};
use crate::openapi::{self, Documents, PublishedRoutes};
use crate::session::Sessions;

/// What the operations stand in.
pub struct Frame {
    /// Where the API is reached, with a word on each; the first is the default of the pages.
    pub servers: Vec<(String, String)>,
    /// Who is asking.
    pub sessions: Sessions,
    /// The largest bodies.
    pub limits: BodyLimits,
    /// The metrics of this process.
    pub metrics: Arc<Metrics>,
    /// Whether `/openapi.json` and `/docs` are served.
    pub public_docs: bool,
}

/// Everything the public listener serves.
pub fn assemble<T: OpenApi + 'static>(api: T, frame: Frame) -> BoxEndpoint<'static> {
    let service = service(api, &frame.servers);
    let documents = Documents::of(&service);
    let published = PublishedRoutes::of(&documents.v30);
    let mut route = Route::new();
    if frame.public_docs {
        route = openapi::pages(route, &service, &documents);
    }
    let route = route.nest("/", service).data(frame.sessions);
    layers::around(route, frame.limits, published, frame.metrics)
}

/// `api` under the name and version it is published with.
pub(crate) fn service<T: OpenApi>(api: T, servers: &[(String, String)]) -> OpenApiService<T, ()> {
    let service = OpenApiService::new(api, "Drop API", env!("CARGO_PKG_VERSION")).description(DESCRIPTION);
    servers.iter().fold(service, |service, (url, description)| {
        service.server(ServerObject::new(url).description(description))
    })
}

/// What a client developer reads first.
const DESCRIPTION: &str = include_str!("openapi/introduction.md");
