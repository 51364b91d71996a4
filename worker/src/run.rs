//! Starts the worker from the environment and runs jobs until told to end.

use std::{
    io,
    pin::pin,
    process,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use drop_common::{
    alerts,
    clock::Clock,
    config::{DatabaseConfig, Environment, WorkerSettings},
    database_metrics,
    metrics::{Metrics, Process, REVISION},
    probes::{self, Readiness},
    providers::{ProviderMetrics, bankid},
    queue::{Lane, Wake, WorkersConfig, run_workers},
    storage::{self, PoolOptions},
    telemetry,
};
use poem::{Server, listener::TcpAcceptor};
use sqlx::PgPool;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    certificate,
    context::Context,
    gauges::{self, Readings},
    idle_probe,
    operator::page,
    presence,
    queue_metrics::QueueMetrics,
    registry::registry,
    schedule::Ticker,
};

/// What is left to do after the jobs' grace time: the last outcomes, the internal listener, the last alerts.
const REST: Duration = Duration::from_secs(8);
/// How long a client of the internal listener may take to end its request.
const LAST_REQUEST: Duration = Duration::from_secs(2);

/// Reads the configuration, connects, and runs jobs until SIGTERM or SIGINT; then drains. A second signal ends it at once,
/// and so does the end of the grace time.
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
    run_on(settings, internal).await
}

/// The same on a listener that is bound already.
pub async fn run_on(settings: WorkerSettings, internal: TcpListener) -> anyhow::Result<()> {
    let end = CancellationToken::new();
    listen_to_signals(end.clone(), settings.worker.drain + REST)?;
    let ended = work(settings, Clock::real(), internal, end.cancelled_owned()).await;
    if let Err(error) = ended {
        tracing::error!("the worker failed: {}", telemetry::causes(error.as_ref()));
        telemetry::send_last_reports();
        process::exit(1) // returning would wait for whatever still runs
    }
    Ok(())
}

/// The first signal cancels `end`; the second one, or this long after the first, ends the process. On a thread of its own:
/// a handler that blocks the runtime's threads holds up its timers and signals too.
fn listen_to_signals(end: CancellationToken, longest: Duration) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listening = move || {
        let why = match runtime.block_on(told_twice(&end, longest)) {
            Ok(why) => why.to_owned(),
            Err(error) => format!("signals cannot be heard: {error}"),
        };
        tracing::error!("ending at once: {why}; other workers take over when the leases end");
        telemetry::send_last_reports();
        process::exit(1)
    };
    thread::Builder::new().name("signals".to_owned()).spawn(listening)?;
    Ok(())
}

async fn told_twice(end: &CancellationToken, longest: Duration) -> io::Result<&'static str> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut told = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    told().await;
    end.cancel();
    Ok(match timeout(longest, told()).await {
        Ok(()) => "told a second time",
        Err(_) => "the grace time is over, and something still runs",
    })
}

/// The same by the given clock, until `end`.
pub async fn work(
    settings: WorkerSettings,
    clock: Clock,
    internal: TcpListener,
    end: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let db = pool(&settings.database)?;
    telemetry::telling_alerts(Some(db.clone()), work_over(db, settings, clock, internal, end)).await
}

async fn work_over(
    db: PgPool,
    mut settings: WorkerSettings,
    clock: Clock,
    internal: TcpListener,
    end: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::new(Process::Worker, env!("CARGO_PKG_VERSION"), REVISION)?);
    let mut end = pin!(end);
    // Whoever checks no logins asks BankID nothing: an issuer that is away holds up no payment.
    if settings.worker.lanes.contains_key(&Lane::Login) {
        let calls = Arc::new(ProviderMetrics(Arc::clone(&metrics)));
        settings.bankid = tokio::select! {
            found = bankid::discovered(settings.bankid, calls) => found?,
            () = &mut end => return Ok(()),
        };
    }
    let workers = WorkersConfig {
        slots: settings.worker.lanes.clone(),
        grace: settings.worker.drain,
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
    let wake = Wake::default();
    let context = Arc::new(Context::new(
        settings,
        db.clone(),
        clock,
        Arc::clone(&metrics),
        wake.clone(),
    )?);

    if !context.settings.aisp.circuit_per_bank
        && let Err(error) = context.breaker.forget_banks().await
    {
        tracing::warn!(%error, "the circuits of single banks, which are not used, were not forgotten");
    }

    let served = CancellationToken::new();
    let _stop_around = served.clone().drop_guard();
    let readings = Arc::new(Readings::default());
    let beside = run_beside(&context, &queue, &readings, &served);
    let probing = tokio::spawn(
        Server::new_with_acceptor(TcpAcceptor::from_tokio(internal)?)
            .name("internal")
            .run_with_graceful_shutdown(
                page::beside(probes::routes(&readiness), &context, &readings),
                served.clone().cancelled_owned(),
                Some(LAST_REQUEST),
            ),
    );
    let ticker = Ticker::start(db.clone(), wake.clone(), Arc::clone(&metrics)).await?;
    readiness.started();
    tracing::info!("the worker is up");
    let registry = registry().watched_by(queue);
    let ended = run_workers(workers, registry, context, db, wake, async {
        end.await;
        readiness.drain();
        ticker.stop().await;
        tracing::info!("draining: no new jobs are claimed");
    })
    .await;
    served.cancel();
    for (what, task) in beside {
        if task.await.is_err() {
            tracing::error!("the task that {what} panicked");
        }
    }
    probing
        .await
        .context("the internal listener panicked")?
        .context("the internal listener failed")?;
    Ok(ended?)
}

/// What goes on beside the jobs until `stop`; the tasks that are waited for, each with what it does.
fn run_beside(
    context: &Arc<Context>,
    queue: &Arc<QueueMetrics>,
    readings: &Arc<Readings>,
    stop: &CancellationToken,
) -> Vec<(&'static str, JoinHandle<()>)> {
    tokio::spawn({
        let (context, stop) = (Arc::clone(context), stop.clone());
        async move { database_metrics::keep_current(&context.db, &context.metrics, &stop).await }
    });
    tokio::spawn({
        let (context, stop) = (Arc::clone(context), stop.clone());
        async move { alerts::keep_counted(&context.metrics, &stop).await }
    });
    let gauges = {
        let (context, readings, stop) = (Arc::clone(context), Arc::clone(readings), stop.clone());
        async move {
            let (database, metrics) = (context.db.connect_options(), Arc::clone(&context.metrics));
            gauges::keep_current(&database, metrics, readings, stop).await;
        }
    };
    let presence = presence::keep_telling(context.db.clone(), Arc::clone(queue), stop.clone());
    let idle_probes = idle_probe::keep_probing(Arc::clone(context), stop.clone());
    let certificates = certificate::keep_current(Arc::clone(context), stop.clone());
    vec![
        ("reads the gauges", tokio::spawn(gauges)),
        ("tells that this worker is there", tokio::spawn(presence)),
        ("probes idle circuits", tokio::spawn(idle_probes)),
        ("keeps the client certificate current", tokio::spawn(certificates)),
    ]
}

/// Applies the missing migrations.
pub async fn migrate(environment: &Environment) -> anyhow::Result<()> {
    let db = pool(&DatabaseConfig::alone(environment)?)?;
    telemetry::telling_alerts(None, storage::migrate(&db)).await?;
    tracing::info!("the schema is up to date");
    Ok(())
}

pub(crate) fn pool(config: &DatabaseConfig) -> anyhow::Result<PgPool> {
    let options = PoolOptions {
        max: config.pool_size,
        acquire_timeout: config.acquire_timeout,
    };
    Ok(storage::connect_lazy(&config.url, options)?)
}
