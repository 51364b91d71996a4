//! Starts the worker from the environment and runs jobs until told to end.

use std::{sync::Arc, time::Instant};

use anyhow::Context as _;
use drop_common::{
    clock::Clock,
    config::{DatabaseConfig, Environment, WorkerSettings},
    domain::national_id::{Accepted, Synthetic},
    keyring::Keyring,
    metrics::{Metrics, Process},
    probes::{self, Readiness},
    providers::{SharedObserver, bankid::BankId, neonomics::Neonomics, sumsub::Sumsub},
    queue::{Wake, WorkersConfig, run_workers},
    resilience::breaker::Breaker,
    storage::{self, PoolOptions},
};
use poem::{Server, listener::TcpAcceptor};
use sqlx::PgPool;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context, gauges, provider_metrics::ProviderMetrics, queue_metrics::QueueMetrics, registry::registry,
};

/// Reads the configuration, connects, and runs jobs until SIGTERM or SIGINT; then drains.
pub async fn run(environment: &Environment) -> anyhow::Result<()> {
    let settings = WorkerSettings::read(environment)?;
    let internal = TcpListener::bind(settings.worker.internal_listen)
        .await
        .with_context(|| {
            format!(
                "cannot listen on {} (DROP_WORKER_INTERNAL_LISTEN)",
                settings.worker.internal_listen
            )
        })?;
    work(settings, internal).await
}

/// The same on a listener that is bound already.
pub async fn work(settings: WorkerSettings, internal: TcpListener) -> anyhow::Result<()> {
    let db = pool(&settings.database)?;
    let metrics = Arc::new(Metrics::new(Process::Worker, env!("CARGO_PKG_VERSION"), "unknown")?);
    let clock = Clock::real();
    let workers = WorkersConfig {
        grace: settings.worker.drain,
        ..WorkersConfig::default()
    };
    let queue = Arc::new(QueueMetrics::new(
        Arc::clone(&metrics),
        clock.clone(),
        &workers.slots,
        Instant::now(),
    ));
    let readiness = Readiness::with_liveness(db.clone(), Arc::clone(&metrics), {
        let queue = Arc::clone(&queue);
        move || queue.goes_round(Instant::now())
    });
    let calls: SharedObserver = Arc::new(ProviderMetrics(Arc::clone(&metrics)));
    let context = Arc::new(Context {
        db: db.clone(),
        keys: Keyring::from_config(&settings.keys)?,
        clock,
        metrics: Arc::clone(&metrics),
        bankid: BankId::new(
            settings.bankid.clone(),
            settings.bankid_credentials.clone(),
            Arc::clone(&calls),
        )?,
        neonomics: Neonomics::new(settings.neonomics.clone(), Arc::clone(&calls))?,
        sumsub: Sumsub::new(settings.sumsub.clone(), calls)?,
        breaker: Breaker::new(db.clone()),
        accepted_ids: accepted_ids(&settings),
        settings,
    });

    let served = CancellationToken::new();
    let _stop_around = served.clone().drop_guard();
    let gauges = tokio::spawn({
        let (database, stop) = (db.connect_options(), served.clone());
        async move { gauges::keep_current(&database, metrics, stop).await }
    });
    let probing = tokio::spawn(
        Server::new_with_acceptor(TcpAcceptor::from_tokio(internal)?)
            .name("internal")
            .run_with_graceful_shutdown(probes::routes(&readiness), served.clone().cancelled_owned(), None),
    );
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    readiness.started();
    tracing::info!("the worker is up");
    let registry = registry().watched_by(queue);
    let ended = run_workers(workers, registry, context, db, Wake::default(), async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        readiness.drain();
        tracing::info!("draining: no new jobs are claimed");
    })
    .await;
    served.cancel();
    if gauges.await.is_err() {
        tracing::error!("the task that reads the gauges panicked");
    }
    probing
        .await
        .context("the internal listener panicked")?
        .context("the internal listener failed")?;
    Ok(ended?)
}

/// Applies the missing migrations.
pub async fn migrate(environment: &Environment) -> anyhow::Result<()> {
    let db = pool(&DatabaseConfig::alone(environment)?)?;
    storage::migrate(&db).await?;
    tracing::info!("the schema is up to date");
    Ok(())
}

fn pool(config: &DatabaseConfig) -> anyhow::Result<PgPool> {
    let options = PoolOptions {
        max: config.pool_size,
        acquire_timeout: config.acquire_timeout,
    };
    Ok(storage::connect_lazy(&config.url, options)?)
}

/// Synthetic ranges by configuration; help numbers outside production only (bankid.md section 11).
fn accepted_ids(settings: &WorkerSettings) -> Accepted {
    let named = |range: &str| settings.bankid.synthetic_ids.iter().any(|name| name == range);
    Accepted {
        synthetic: Synthetic {
            tenor: named("tenor"),
            dolly: named("dolly"),
            synt_pop: named("syntpop"),
        },
        help: !settings.profile.is_production(),
        relaxed_2032: false,
    }
}
