//! The operators' page, on the internal listener below `/operator`: rendered here, readable without script, and nothing on it
//! comes from elsewhere.
//!
//! Whoever looks is a [`session::Look`]: signed in, viewer or operator. Whoever changes something is a [`form::Act`]: an operator, with a form
//! that our own page made, and with a reason. There is no other way into a handler, so none can forget to ask. What is shown
//! are ids, times and words of ours: no name, number, amount or address of a person.

mod assets;
mod audit;
mod breakers;
mod cron;
mod find;
pub(in crate::operator) mod form;
mod job;
mod jobs;
mod lanes;
mod layout;
mod logins;
mod overview;
mod payment;
mod payments;
mod people;
pub(in crate::operator) mod session;
mod sign_in;
mod stop;
mod webhooks;
mod workers;

use std::sync::Arc;

use poem::{
    Endpoint, EndpointExt, IntoEndpoint, IntoResponse, Request, Response, Route,
    endpoint::BoxEndpoint,
    get,
    http::{HeaderValue, StatusCode, header},
    middleware::{CatchPanic, CookieJarManager},
    post,
};

use self::stop::Stop;
use super::json;
use crate::{context::Context, gauges::Readings};

/// What the pages share.
pub(crate) struct Page {
    context: Arc<Context>,
    readings: Arc<Readings>,
}

/// The probes' routes with the page beside them, where there is anybody who may see it.
pub(crate) fn beside(
    probes: impl IntoEndpoint<Endpoint = BoxEndpoint<'static>>,
    context: &Arc<Context>,
    readings: &Arc<Readings>,
) -> BoxEndpoint<'static> {
    let probes = probes.into_endpoint();
    if !context.settings.operators.has_anybody() {
        return probes;
    }
    let page = Arc::new(Page {
        context: Arc::clone(context),
        readings: Arc::clone(readings),
    });
    // Not nested: the paths in the pages are the whole ones.
    let pages = routes()
        .data(page)
        .with(CookieJarManager::new())
        .with(CatchPanic::new().with_handler(|_| Stop::Failed))
        .around(guarded)
        .boxed();
    let pages = Arc::new(pages);
    let api = Arc::new(json::endpoint(context, readings));
    let probes = Arc::new(probes);
    poem::endpoint::make(move |request: Request| {
        let (pages, api, probes) = (Arc::clone(&pages), Arc::clone(&api), Arc::clone(&probes));
        async move {
            let path = request.uri().path();
            if path.starts_with("/operator/api/") {
                api.call(request).await
            } else if path == "/operator" || path.starts_with("/operator/") {
                pages.call(request).await
            } else {
                probes.call(request).await
            }
        }
    })
    .boxed()
}

fn routes() -> Route {
    Route::new()
        .at("/operator", get(overview::show))
        .at(sign_in::SIGN_IN, get(sign_in::show).post(sign_in::sign_in))
        .at("/operator/sign-out", post(sign_in::sign_out))
        .at("/operator/find", get(find::find))
        .at("/operator/jobs", get(jobs::show))
        .at("/operator/jobs/dead", get(jobs::show_dead))
        .at("/operator/jobs/change", post(jobs::change))
        .at("/operator/jobs/change-dead", post(jobs::change_dead))
        .at("/operator/jobs/:id", get(job::show))
        .at("/operator/payments", get(payments::show))
        .at("/operator/payments/:id", get(payment::show))
        .at("/operator/payments/:id/settle", post(payment::settle))
        .at("/operator/payments/:id/track", post(payment::track))
        .at("/operator/payments/:id/retry", post(payment::retry))
        .at("/operator/logins/:id", get(logins::show))
        .at("/operator/workers", get(workers::show))
        .at("/operator/workers/quiet", post(workers::quiet))
        .at("/operator/lanes", get(lanes::show))
        .at("/operator/lanes/pause", post(lanes::pause))
        .at("/operator/lanes/resume", post(lanes::resume))
        .at("/operator/breakers", get(breakers::show))
        .at("/operator/breakers/set", post(breakers::set))
        .at("/operator/cron", get(cron::show))
        .at("/operator/cron/run", post(cron::run))
        .at("/operator/webhooks", get(webhooks::show))
        .at("/operator/webhooks/change", post(webhooks::change))
        .at("/operator/webhooks/replay-all", post(webhooks::replay_all))
        .at("/operator/webhooks/:id", get(webhooks::show_one))
        .at("/operator/people/:id", get(people::show))
        .at("/operator/audit", get(audit::show))
        .at("/operator/assets/:name", get(assets::serve))
}

/// The headers of every answer, refusals included. Nothing runs or loads that is not named by its hash, or ours.
async fn guarded(next: Arc<impl Endpoint + 'static>, request: Request) -> poem::Result<Response> {
    let mut response = match next.call(request).await {
        Ok(response) => response.into_response(),
        Err(error) if error.status() == StatusCode::NOT_FOUND && !error.is_from_response() => {
            Stop::NotFound.into_response()
        }
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not no-referrer, with which a browser says of its own form that it came from nowhere.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.insert(header::CONTENT_SECURITY_POLICY, assets::policy());
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    Ok(response)
}
