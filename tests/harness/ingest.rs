//! A small Sentry: it takes envelopes, and can be slow, refuse them, or never answer.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use poem::{Endpoint, Request, Response, Server, http::StatusCode, listener::TcpAcceptor};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::app::{eventually, listener};

/// How it treats whoever reports.
#[derive(Debug, Clone, Copy)]
pub enum Manner {
    /// Takes everything.
    Well,
    /// Takes everything, this long after it came.
    Slow(Duration),
    /// Says that it has had enough.
    Refuses,
    /// Says that it never takes such a thing.
    NeverTakes,
    /// Takes the request and never answers.
    Hangs,
}

/// A running one; it ends when this is dropped.
pub struct Ingest {
    /// What a process is given as `SENTRY_DSN`.
    pub dsn: String,
    taken: Arc<Taken>,
    server: JoinHandle<()>,
}

struct Taken {
    manner: Mutex<Manner>,
    envelopes: Mutex<Vec<String>>,
}

impl Ingest {
    /// Starts one on a free port.
    pub async fn start(manner: Manner) -> Self {
        let listener = listener().await;
        let dsn = format!("http://public@{}/1", listener.local_addr().expect("a bound address"));
        let taken = Arc::new(Taken {
            manner: Mutex::new(manner),
            envelopes: Mutex::default(),
        });
        let acceptor = TcpAcceptor::from_tokio(listener).expect("a listener");
        let server = Server::new_with_acceptor(acceptor).run(Desk(Arc::clone(&taken)));
        let server = tokio::spawn(async move { server.await.expect("the ingest serves") });
        Self { dsn, taken, server }
    }

    /// From here on it treats them so.
    pub fn becomes(&self, manner: Manner) {
        *self.taken.manner() = manner;
    }

    /// Everything that arrived, as it was sent: address and headers of the requests, and the envelopes.
    pub fn everything(&self) -> String {
        self.taken.envelopes().join("\n")
    }

    /// The payloads of one type that arrived: `event`, `transaction`.
    pub fn items(&self, kind: &str) -> Vec<Value> {
        let envelopes = self.taken.envelopes();
        envelopes.iter().flat_map(|envelope| items(envelope, kind)).collect()
    }

    /// The events of an alert.
    pub fn alerts(&self, name: &str) -> Vec<Value> {
        let mut events = self.items("event");
        events.retain(|event| event["tags"]["alert.name"] == name);
        events
    }

    /// Waits, for a bounded time, until something of the type is there that is so; then gives it.
    pub async fn until(&self, kind: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let found = || self.items(kind).into_iter().find(|item| is_so(item));
        assert!(
            eventually(async || found().is_some()).await,
            "no such {kind} in {}",
            self.everything()
        );
        found().expect("it was there")
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Taken {
    fn manner(&self) -> MutexGuard<'_, Manner> {
        self.manner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn envelopes(&self) -> MutexGuard<'_, Vec<String>> {
        self.envelopes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Desk(Arc<Taken>);

impl Endpoint for Desk {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let body = request.take_body().into_string().await?;
        let head = format!("{} {} {:?}", request.method(), request.uri(), request.headers());
        self.0.envelopes().push(format!("{head}\n{body}"));
        let manner = *self.0.manner();
        match manner {
            Manner::Well => {}
            Manner::Slow(time) => drop(tokio::time::timeout(time, std::future::pending::<()>()).await),
            Manner::Refuses => return Ok(StatusCode::TOO_MANY_REQUESTS.into()),
            Manner::NeverTakes => return Ok(StatusCode::PAYLOAD_TOO_LARGE.into()),
            Manner::Hangs => std::future::pending().await,
        }
        Ok(Response::builder().content_type("application/json").body("{}"))
    }
}

/// After the request's head and the envelope's own line, each item is a line about it and its payload on the next.
fn items(envelope: &str, kind: &str) -> Vec<Value> {
    let mut lines = envelope.lines().skip(2);
    let mut found = Vec::new();
    while let (Some(about), Some(payload)) = (lines.next(), lines.next()) {
        let about: Value = serde_json::from_str(about).expect("an item begins with what it is");
        if about["type"] == kind {
            found.push(serde_json::from_str(payload).expect("the payload is JSON"));
        }
    }
    found
}
