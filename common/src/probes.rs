//! The internal listener of both binaries: `/livez`, `/readyz`, `/startupz`, `/metrics`.
//!
//! None of them asks a provider: an outage there must not take this process out of service. `/livez` does not even ask
//! the database, because a restart would not repair it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use poem::http::{StatusCode, header};
use poem::web::Data;
use poem::{EndpointExt, IntoEndpoint, IntoResponse, Response, Route, get, handler};
use sqlx::PgPool;

use crate::{
    metrics::{DRAINING, Metrics},
    storage,
};

/// How long `/readyz` waits for a connection.
const DATABASE_PATIENCE: Duration = Duration::from_secs(1);

/// The state of this process as the probes see it; clones share it.
#[derive(Debug, Clone)]
pub struct Readiness {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pool: PgPool,
    metrics: Arc<Metrics>,
    started: AtomicBool,
    draining: AtomicBool,
    schema_known: AtomicBool,
    alive: Alive,
}

/// What `/livez` asks besides "does the process answer": the worker tells whether its claimer still goes round.
struct Alive(Box<dyn Fn() -> bool + Send + Sync>);

impl std::fmt::Debug for Alive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Alive")
    }
}

impl Readiness {
    /// Not started, not draining; alive as long as the process answers.
    pub fn new(pool: PgPool, metrics: Arc<Metrics>) -> Self {
        Self::with_liveness(pool, metrics, || true)
    }

    /// The same, with a check of its own for `/livez`. It must not touch the database or a provider.
    pub fn with_liveness(
        pool: PgPool,
        metrics: Arc<Metrics>,
        alive: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let shared = Shared {
            pool,
            metrics,
            started: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            schema_known: AtomicBool::new(false),
            alive: Alive(Box::new(alive)),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Configuration read, schema known, keys loaded: `/startupz` answers 200 from now on.
    pub fn started(&self) {
        self.shared.started.store(true, Ordering::Release);
    }

    /// The process is about to end: `/readyz` answers 503 from now on.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Release);
        self.shared.metrics.set(&DRAINING, &[], 1.0);
    }

    /// Whether [`Readiness::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Acquire)
    }

    /// Whether new requests should come here: started, not draining, the database answers within a second, and its
    /// schema is at least ours.
    pub async fn is_ready(&self) -> bool {
        self.shared.started.load(Ordering::Acquire) && !self.is_draining() && self.database_is_usable().await
    }

    /// Migrations only add, so a schema that was ours once stays so.
    async fn database_is_usable(&self) -> bool {
        let shared = &self.shared;
        if shared.schema_known.load(Ordering::Acquire) {
            return database_answers(&shared.pool).await;
        }
        let check = storage::schema_is_current(&shared.pool);
        let known = matches!(tokio::time::timeout(DATABASE_PATIENCE, check).await, Ok(Ok(true)));
        if known {
            shared.schema_known.store(true, Ordering::Release);
        }
        known
    }
}

/// Whether the database answers a trivial query within a second.
pub async fn database_answers(pool: &PgPool) -> bool {
    let query = sqlx::query("SELECT 1").execute(pool);
    matches!(tokio::time::timeout(DATABASE_PATIENCE, query).await, Ok(Ok(_)))
}

/// The routes of the internal listener; a binary may nest more beside them.
pub fn routes(readiness: &Readiness) -> impl IntoEndpoint<Endpoint = poem::endpoint::BoxEndpoint<'static>> + use<> {
    Route::new()
        .at("/livez", get(show_livez))
        .at("/readyz", get(show_readyz))
        .at("/startupz", get(show_startupz))
        .at("/metrics", get(show_metrics))
        .data(readiness.clone())
        .boxed()
}

#[handler]
fn show_livez(Data(readiness): Data<&Readiness>) -> Response {
    // Whoever drains claims nothing more, and must not be killed in the middle of its last jobs.
    verdict(readiness.is_draining() || (readiness.shared.alive.0)())
}

#[handler]
async fn show_readyz(Data(readiness): Data<&Readiness>) -> Response {
    verdict(readiness.is_ready().await)
}

#[handler]
fn show_startupz(Data(readiness): Data<&Readiness>) -> Response {
    verdict(readiness.shared.started.load(Ordering::Acquire))
}

#[handler]
fn show_metrics(Data(readiness): Data<&Readiness>) -> Response {
    match readiness.shared.metrics.render() {
        Ok(text) => text
            .with_content_type("text/plain; version=0.0.4; charset=utf-8")
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into()
        }
    }
}

fn verdict(good: bool) -> Response {
    let (status, word) = if good {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no")
    };
    Response::builder()
        .status(status)
        .header(header::CACHE_CONTROL, "no-store")
        .content_type("text/plain")
        .body(word)
}

#[cfg(test)]
mod tests {
    use poem::{Endpoint, Request, http::Uri};
    use sqlx::postgres::PgPoolOptions;

    use super::*;
    use crate::metrics::Process;

    /// Nothing listens at port 1, so this stands for a database that is away.
    fn without_database(alive: bool) -> Readiness {
        let pool = PgPoolOptions::new()
            .connect_lazy("postgres://nobody@127.0.0.1:1/none")
            .unwrap();
        let metrics = Arc::new(Metrics::new(Process::Api, "0.1.0", "unknown").unwrap());
        Readiness::with_liveness(pool, metrics, move || alive)
    }

    async fn status(readiness: &Readiness, path: &'static str) -> u16 {
        let request = Request::builder().uri(Uri::from_static(path)).finish();
        routes(readiness)
            .into_endpoint()
            .get_response(request)
            .await
            .status()
            .as_u16()
    }

    #[tokio::test]
    async fn a_lost_database_makes_the_process_unready_but_not_dead() {
        let readiness = without_database(true);
        readiness.started();
        assert_eq!(status(&readiness, "/livez").await, 200);
        assert_eq!(status(&readiness, "/readyz").await, 503);
        assert_eq!(status(&readiness, "/startupz").await, 200);
    }

    #[tokio::test]
    async fn a_process_is_not_started_before_it_says_so() {
        assert_eq!(status(&without_database(true), "/startupz").await, 503);
    }

    #[tokio::test]
    async fn a_stuck_worker_is_not_alive_unless_it_is_ending() {
        let stuck = without_database(false);
        assert_eq!(status(&stuck, "/livez").await, 503);
        stuck.drain();
        assert_eq!(status(&stuck, "/livez").await, 200);
    }

    #[tokio::test]
    async fn draining_shows_in_the_metrics() {
        let readiness = without_database(true);
        readiness.drain();
        assert!(readiness.is_draining() && !readiness.is_ready().await);
        let request = Request::builder().uri(Uri::from_static("/metrics")).finish();
        let response = routes(&readiness).into_endpoint().get_response(request).await;
        assert!(
            response
                .into_body()
                .into_string()
                .await
                .unwrap()
                .contains("drop_draining 1")
        );
    }
}
