//! Starts the API from the environment and serves until told to end.

use std::sync::Arc;

use anyhow::Context as _;
use drop_common::{
    alerts,
    clock::Clock,
    config::{ApiSettings, Environment},
    database_metrics,
    keyring::Keyring,
    metrics::{Metrics, Process, REVISION},
    probes::Readiness,
    providers::{ProviderMetrics, bankid},
    queue::Wake,
    session_token::SessionTokens,
    storage::{self, PoolOptions},
    telemetry,
};
use secrecy::ExposeSecret;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{Frame, assemble},
    client_address::TrustedProxies,
    layers::BodyLimits,
    operations::operations,
    server::{self, Drain},
    session::Sessions,
    state::{Shared, State},
    wait::RowWaiters,
};

/// Reads the configuration, connects, and serves both listeners until SIGTERM or SIGINT.
pub async fn run(environment: &Environment) -> anyhow::Result<()> {
    let settings = ApiSettings::read(environment)?;
    let public = TcpListener::bind(settings.api.listen)
        .await
        .with_context(|| format!("cannot listen on {} (DROP_API_LISTEN)", settings.api.listen))?;
    let internal = TcpListener::bind(settings.api.internal_listen).await.with_context(|| {
        format!(
            "cannot listen on {} (DROP_API_INTERNAL_LISTEN)",
            settings.api.internal_listen
        )
    })?;
    serve(settings, Clock::real(), public, internal).await
}

/// The same by the given clock, on listeners that are bound already.
pub async fn serve(
    settings: ApiSettings,
    clock: Clock,
    public: TcpListener,
    internal: TcpListener,
) -> anyhow::Result<()> {
    let pool = PoolOptions {
        max: settings.database.pool_size,
        acquire_timeout: settings.database.acquire_timeout,
    };
    let db = storage::connect_lazy(&settings.database.url, pool)?;
    telemetry::telling_alerts(Some(db.clone()), serve_over(db, settings, clock, public, internal)).await
}

async fn serve_over(
    db: PgPool,
    mut settings: ApiSettings,
    clock: Clock,
    public: TcpListener,
    internal: TcpListener,
) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::new(Process::Api, env!("CARGO_PKG_VERSION"), REVISION)?);
    let calls = Arc::new(ProviderMetrics(Arc::clone(&metrics)));
    settings.bankid = tokio::select! {
        found = bankid::discovered(settings.bankid, calls) => found?,
        told = server::told_to_end() => return Ok(told?),
    };
    let readiness = Readiness::new(db.clone(), Arc::clone(&metrics));
    let tokens = Arc::new(tokens(&settings)?);
    let drain = Drain::after(settings.api.drain);
    let stop = CancellationToken::new();
    let wake = Wake::default();
    let waiters = RowWaiters::until(stop.clone());

    wake.start(&db, false, &stop);
    tokio::spawn({
        let (db, metrics, stop) = (db.clone(), Arc::clone(&metrics), stop.clone());
        async move { database_metrics::keep_current(&db, &metrics, &stop).await }
    });
    tokio::spawn({
        let (metrics, stop) = (Arc::clone(&metrics), stop.clone());
        async move { alerts::keep_counted(&metrics, &stop).await }
    });
    let listening = {
        let (waiters, db, stop) = (waiters.clone(), db.clone(), stop.clone());
        tokio::spawn(async move { waiters.listen(&db, &stop).await })
    };
    let frame = Frame {
        servers: vec![(settings.api.public_url.clone(), "This service".to_owned())],
        sessions: Sessions {
            tokens: Arc::clone(&tokens),
            pool: db.clone(),
            metrics: Arc::clone(&metrics),
            clock: {
                let clock = clock.clone();
                Arc::new(move || clock.now())
            },
            https: settings.api.public_url.starts_with("https:"),
            origins: Arc::from([settings.api.public_url.clone()]),
        },
        limits: BodyLimits::default(),
        metrics: Arc::clone(&metrics),
        public_docs: settings.api.public_docs,
    };
    let state = State::new(Shared {
        keys: Keyring::from_config(&settings.keys)?,
        proxies: TrustedProxies::new(settings.api.trusted_proxies.clone(), settings.api.edge_proxies.clone()),
        db: db.clone(),
        clock,
        wake,
        waiters,
        tokens,
        metrics,
        settings,
    });
    let app = assemble(operations(state), frame);
    readiness.started();
    tracing::info!("the API is up");
    let ended = server::serve(app, public, internal, readiness, drain, stop.clone(), async {
        if let Err(error) = server::told_to_end().await {
            tracing::error!(%error, "signals cannot be received; ending");
        }
    })
    .await;
    stop.cancel();
    let _ = listening.await;
    ended.context("the listeners failed")
}

fn tokens(settings: &ApiSettings) -> anyhow::Result<SessionTokens> {
    let previous: Vec<&[u8]> = settings
        .keys
        .session_key_previous
        .iter()
        .map(ExposeSecret::expose_secret)
        .collect();
    let address = &settings.api.public_url;
    Ok(SessionTokens::new(
        address,
        address,
        settings.keys.session_key.expose_secret(),
        &previous,
    )?)
}
