//! A worker that runs jobs with countable effects instead of Drop's own.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context;
use drop_common::{
    config::Environment,
    queue::{Handler, JobError, Lane, Lease, Outcome, Registry, Verdict, Wake, WorkersConfig, run_workers},
    storage::{self, PoolOptions, Tx},
};
use drop_tests::effects::{ALOUD, Effect, Way};
use sqlx::PgPool;
use tokio::signal::unix::{SignalKind, signal};

/// As many as the lane has in the service would make a fault hit few jobs.
const SLOTS: usize = 16;

/// Runs jobs until SIGTERM, then drains.
pub(crate) async fn run(environment: &Environment) -> anyhow::Result<()> {
    let url = environment.get("DATABASE_URL").context("DATABASE_URL is missing")?;
    let options = PoolOptions {
        max: 10,
        acquire_timeout: Duration::from_secs(5),
    };
    let db = storage::connect_lazy(&url.to_owned().into(), options)?;
    let config = WorkersConfig {
        slots: BTreeMap::from([(Lane::Upkeep, SLOTS)]),
        grace: Duration::from_secs(10),
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let registry = Registry::new().with::<Effect>();
    run_workers(
        config,
        registry,
        Arc::new(Effects(db.clone())),
        db,
        Wake::default(),
        async {
            terminate.recv().await;
        },
    )
    .await?;
    Ok(())
}

/// Where the effects are counted.
struct Effects(PgPool);

impl Handler<Effects> for Effect {
    async fn run(self, effects: Arc<Effects>, lease: Lease) -> Result<Verdict, JobError> {
        match self.way {
            Way::OutcomeLater => {
                let mut tx = lease.begin(&effects.0).await?;
                insert(&mut tx, &lease).await?;
                tx.commit().await?;
                return Ok(Outcome::Done.into());
            }
            Way::After(time) => tokio::time::sleep(time).await,
            Way::Blocking(time) => std::thread::sleep(time),
            Way::Abort => std::process::abort(),
            // Not `panic!`, whose message the hook would print among the results of the tests.
            Way::PanicFirst if lease.attempts_used() == 1 => std::panic::resume_unwind(Box::new("the first attempt")),
            Way::PanicAloud if lease.attempts_used() == 1 => panic!("{ALOUD}"),
            Way::PanicFirst | Way::PanicAloud | Way::Together => {}
        }
        let mut tx = lease.begin(&effects.0).await?;
        insert(&mut tx, &lease).await?;
        Ok(lease.finish(tx, Outcome::Done).await?.into())
    }
}

async fn insert(tx: &mut Tx, lease: &Lease) -> Result<(), JobError> {
    sqlx::query("INSERT INTO effects (job, attempt) VALUES ($1, $2)")
        .bind(lease.job())
        .bind(lease.attempt())
        .execute(&mut **tx)
        .await?;
    Ok(())
}
