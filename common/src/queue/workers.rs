//! Runs the workers of a process: one apalis worker per lane, and the tasks around them.

use std::{collections::BTreeMap, future::Future, pin::pin, sync::Arc, time::Duration};

use apalis::prelude::{Data, Monitor, ParallelizeExt, WorkerBuilder};
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Lane, Registry, Wake,
    acker::Acker,
    backend::LaneBackend,
    claim::{Claim, Claimer},
    feeder::Feeder,
    record::DeadHooks,
    registry::Hooks,
    renewer::{self, Leases},
    rescuer::rescue_forever,
    runner::Engine,
    supervise::supervise,
};
use crate::{failpoint, resilience::breaker::Breaker};

/// Runs jobs until `signal`, then drains: no more claims, unstarted claims go back, running jobs finish within the
/// grace time. Leaves nothing claimed if it returns `Ok`.
///
/// `wake` is started here; the context may hold a clone, to signal after its commits.
pub async fn run_workers<C: Send + Sync + 'static>(
    config: WorkersConfig,
    registry: Registry<C>,
    context: Arc<C>,
    db: PgPool,
    wake: Wake,
    signal: impl Future<Output = ()>,
) -> Result<(), WorkersError> {
    let around = CancellationToken::new(); // the tasks around the workers; they stop after them
    let _stop_around = around.clone().drop_guard();
    let stopping = CancellationToken::new();
    let _stop_feeders = stopping.clone().drop_guard();
    let (engine, acker) = engine(registry, context, &db, &around);
    engine.claimer.watch.begins(engine.claimer.owner);
    let renewing = CancellationToken::new();
    let _stop_renewing = renewing.clone().drop_guard();
    renewer::start(
        (*db.connect_options()).clone(),
        engine.claimer.leases.clone(),
        renewing.clone(),
    )
    .map_err(WorkersError::Renewer)?;
    let mut tasks = wake.start(&db, true, &around);
    let claimer = engine.claimer.clone();
    tasks.push(supervise("rescuer", around.clone(), move || {
        rescue_forever(claimer.clone())
    }));
    tasks.push(acker);

    let monitor = config.slots.iter().fold(monitor(), |monitor, (&lane, &slots)| {
        let feeder = Feeder {
            lane,
            slots: Arc::new(Semaphore::new(slots)),
            capacity: slots,
            claimer: engine.claimer.clone(),
            breaker: engine.breaker.clone(),
            wake: wake.clone(),
        };
        register(monitor, Arc::clone(&engine), feeder, stopping.clone())
    });
    let ended = run(monitor, &stopping, signal, config.grace).await;
    around.cancel();
    for task in tasks {
        if task.await.is_err() {
            tracing::error!("one of the queue's tasks panicked while stopping");
        }
    }
    renewing.cancel(); // last: until here a running job must keep its lease
    ended
}

/// How many jobs of which lanes a process runs.
#[derive(Debug, Clone)]
pub struct WorkersConfig {
    /// Slots of each lane this process serves; a lane left out is served by others.
    pub slots: BTreeMap<Lane, usize>,
    /// How long running jobs may take after the signal.
    pub grace: Duration,
}

impl Default for WorkersConfig {
    /// Every lane with its default slots, and 40 s: longer than the slowest provider call.
    fn default() -> Self {
        let slots = Lane::ALL.into_iter().map(|lane| (lane, lane.default_slots())).collect();
        Self {
            slots,
            grace: Duration::from_secs(40),
        }
    }
}

/// Why the workers ended. The process exits with an error, and its supervisor starts it again.
#[derive(Debug, thiserror::Error)]
pub enum WorkersError {
    /// They ended by themselves.
    #[error("the workers ended without a signal: {0}")]
    Ended(String),
    /// Jobs ran on after the grace time; their leases end by themselves.
    #[error("jobs were still running after {0:?}")]
    Grace(Duration),
    /// No thread could be started to keep the leases.
    #[error("the lease renewer could not be started")]
    Renewer(#[source] std::io::Error),
}

pub(super) fn engine<C: Send + Sync + 'static>(
    registry: Registry<C>,
    context: Arc<C>,
    db: &PgPool,
    stop: &CancellationToken,
) -> (Arc<Engine<C>>, tokio::task::JoinHandle<()>) {
    let registry = Arc::new(registry);
    let hooks: Arc<dyn DeadHooks> = Arc::new(Hooks {
        registry: Arc::clone(&registry),
        context: Arc::clone(&context),
    });
    let (acker, task) = Acker::start(db.clone(), Arc::clone(&hooks), stop.clone());
    let claimer = Claimer {
        db: db.clone(),
        owner: Uuid::new_v4(),
        hooks,
        watch: Arc::clone(&registry.watch),
        leases: Leases::default(),
    };
    let breaker = Breaker::new(db.clone());
    (
        Arc::new(Engine {
            registry,
            context,
            claimer,
            breaker,
            acker,
        }),
        task,
    )
}

fn monitor() -> Monitor {
    Monitor::new().should_restart(|worker, error| {
        tracing::error!(worker = worker.name(), %error, "a lane's worker ended and is started again");
        true
    })
}

fn register<C: Send + Sync + 'static>(
    monitor: Monitor,
    engine: Arc<Engine<C>>,
    feeder: Feeder,
    stopping: CancellationToken,
) -> Monitor {
    monitor.register(move |restarts| {
        if restarts > 0 {
            engine.claimer.watch.restarted(feeder.lane);
        }
        // Unique per process and restart.
        let name = format!("{}-{}-{restarts}", feeder.lane.name(), engine.claimer.owner.simple());
        WorkerBuilder::new(name)
            .backend(LaneBackend::start(feeder.clone(), &stopping))
            .data(Arc::clone(&engine))
            .parallelize(tokio::spawn)
            .build(execute::<C>)
    })
}

/// The runtime always sees success: outcomes are rows, and it never retries.
async fn execute<C: Send + Sync + 'static>(claim: Claim, engine: Data<Arc<Engine<C>>>) {
    engine.run(claim).await;
}

async fn run(
    monitor: Monitor,
    stopping: &CancellationToken,
    signal: impl Future<Output = ()>,
    grace: Duration,
) -> Result<(), WorkersError> {
    let ended = |result: Result<(), apalis::prelude::MonitorError>| match result {
        Ok(()) => "no worker is left".to_owned(),
        Err(error) => error.to_string(),
    };
    let runtime = monitor.context();
    let mut workers = pin!(monitor.run());
    tokio::select! {
        result = &mut workers => return Err(WorkersError::Ended(ended(result))),
        () = signal => {}
    }
    stopping.cancel(); // feeders first: from here on nothing is claimed
    failpoint!("queue.draining");
    runtime
        .shutdown()
        .map_err(|error| WorkersError::Ended(error.to_string()))?;
    match tokio::time::timeout(grace, workers).await {
        Ok(Ok(())) => Ok(()),
        Ok(failed @ Err(_)) => Err(WorkersError::Ended(ended(failed))),
        Err(_) => Err(WorkersError::Grace(grace)),
    }
}
