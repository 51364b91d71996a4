//! From the listener to the provider and back: the one way every simulated request takes.

use std::{future, io, panic::resume_unwind, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use poem::{Body, Endpoint, Request, Response, Route, endpoint::make};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use crate::{
    App,
    call::{Call, Reply},
    control,
    faults::Fault,
    operation::{Operation, Provider},
    witness::Arrival,
};

/// Everything the sandbox answers.
pub(crate) fn routes(app: &Arc<App>) -> impl Endpoint<Output = Response> + 'static {
    let mut route = Route::new();
    for provider in Provider::ALL {
        let app = Arc::clone(app);
        let endpoint = make(move |request| {
            let app = Arc::clone(&app);
            async move { Ok::<Response, poem::Error>(simulate(&app, provider, request).await) }
        });
        route = route.nest(format!("/{}", provider.name()), endpoint);
    }
    let app = Arc::clone(app);
    let control = make(move |request| {
        let app = Arc::clone(&app);
        async move { Ok::<Response, poem::Error>(control::handle(&app, request).await.into_response()) }
    });
    poem::EndpointExt::map_to_response(route.nest("/control", control))
}

async fn simulate(app: &App, provider: Provider, request: Request) -> Response {
    let call = match Call::read(request).await {
        Ok(call) => call,
        Err(reply) => return reply.into_response(),
    };
    let now = app.shared.clock.now();
    let segments = call.segments();
    let segments: Vec<_> = segments.iter().map(String::as_str).collect();
    let Some(operation) = Operation::of(provider, &call.method, &segments) else {
        let reply = Reply::text(404, "no such operation in this sandbox");
        app.shared
            .journal
            .record(now, provider, None, &call, Some(&reply), None);
        return reply.into_response();
    };
    if let Some(witness) = app.shared.witness.get() {
        witness(Arrival::of(operation, &call)).await;
    }
    let fault = app.shared.faults.take(operation);
    let reply = match &fault {
        Some(fault) if !fault.executes() => refusal(fault),
        Some(Fault::ExecuteThenStatus { code }) => app.answer(operation, &call).lost_to(*code),
        _ => app.answer(operation, &call),
    };
    app.shared.confidential.record(&call, &reply);
    // Effects first: whoever sees the request in the journal also sees what it did.
    app.shared.journal.record_effects(provider, &reply.effects);
    let sent = answered(fault.as_ref()).then_some(&reply);
    app.shared
        .journal
        .record(now, provider, Some(operation), &call, sent, fault.as_ref());
    // Neither the query, where codes and state would be, nor the path: a consent's id is in it. The journal has both.
    debug!(
        status = sent.map(|reply| reply.status),
        faulty = fault.is_some(),
        "{} {}",
        provider.name(),
        operation.name()
    );
    deliver(fault, reply).await
}

/// The answer of a fault under which nothing is done. Those without any answer get an empty one that is never sent.
fn refusal(fault: &Fault) -> Reply {
    match fault {
        Fault::Status { code, body: None } => Reply::empty(*code),
        Fault::Status {
            code,
            body: Some(Value::String(text)),
        } => Reply::html(*code, text.clone()),
        Fault::Status { code, body: Some(body) } => Reply::json(*code, body),
        Fault::Limited { retry_after } => Reply::empty(429).header("retry-after", &retry_after.to_string()),
        Fault::Exceeded { retry_after } => {
            let codes = json!({ "tppMessages": [{ "category": "ERROR", "code": "ACCESS_EXCEEDED" }] });
            Reply::json(429, &codes).header("retry-after", &retry_after.to_string())
        }
        Fault::Redirect { to } => Reply::empty(307).header("location", to),
        _ => Reply::empty(500),
    }
}

fn answered(fault: Option<&Fault>) -> bool {
    !matches!(
        fault,
        Some(Fault::Hang | Fault::Drop | Fault::ExecuteThenDrop | Fault::ExecuteThenHang)
    )
}

async fn deliver(fault: Option<Fault>, reply: Reply) -> Response {
    match fault {
        None
        | Some(
            Fault::Status { .. }
            | Fault::Limited { .. }
            | Fault::Exceeded { .. }
            | Fault::Redirect { .. }
            | Fault::ExecuteThenStatus { .. },
        ) => reply.into_response(),
        Some(Fault::Delay { ms }) => {
            sleep_until(Instant::now() + Duration::from_millis(ms)).await;
            reply.into_response()
        }
        Some(Fault::Hang | Fault::ExecuteThenHang) => future::pending().await,
        Some(Fault::Garbage) => reply.head().body("<html><body>This is not the answer you asked for"),
        Some(Fault::Truncate) => truncated(&reply),
        Some(Fault::Oversize { bytes }) => oversized(&reply, bytes),
        Some(Fault::Drip { ms }) => dripped(&reply, ms),
        // poem has no way to close a connection from within: an unwinding endpoint ends its connection's task, and no
        // byte has been written then. (A failing body is too late, its head goes out first.) Unlike a panic, this calls
        // no hook, so nothing is printed.
        Some(Fault::Drop | Fault::ExecuteThenDrop) => resume_unwind(Box::new("closed by a fault")),
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "cut by a fault")
}

fn truncated(reply: &Reply) -> Response {
    let half = reply.body[..reply.body.len() / 2].to_vec();
    let first = stream::once(future::ready(Ok(half)));
    let rest = stream::once(async {
        // Without a pause the failure would overtake the first half in the write buffer.
        tokio::task::yield_now().await;
        Err(cut())
    });
    let parts = first.chain(rest);
    reply
        .head()
        .header("content-length", reply.body.len().max(1))
        .body(Body::from_bytes_stream(parts))
}

fn oversized(reply: &Reply, bytes: u64) -> Response {
    const BLOCK: u64 = 64 * 1024;
    let missing = bytes.saturating_sub(reply.body.len() as u64);
    let padding = stream::unfold(missing, |missing| async move {
        let size = missing.min(BLOCK);
        let block = vec![b' '; usize::try_from(size).unwrap_or_default()];
        (size > 0).then(|| (Ok::<_, io::Error>(block), missing - size))
    });
    let first = stream::once(future::ready(Ok(reply.body.clone())));
    reply.head().body(Body::from_bytes_stream(first.chain(padding)))
}

fn dripped(reply: &Reply, ms: u64) -> Response {
    let bytes = stream::unfold(reply.body.clone().into_iter(), move |mut rest| async move {
        let byte = rest.next()?;
        sleep_until(Instant::now() + Duration::from_millis(ms)).await;
        Some((Ok::<_, io::Error>(vec![byte]), rest))
    });
    reply
        .head()
        .header("content-length", reply.body.len())
        .body(Body::from_bytes_stream(bytes))
}
