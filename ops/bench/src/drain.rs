//! Workers that empty a full lane, every outcome durable.

use std::time::Duration;

use tokio::time::interval;

use crate::{
    database::{Database, LANE},
    table::rate,
    worker::Running,
};

/// How it went.
pub(crate) struct Drained {
    /// Jobs a second.
    pub(crate) rate: f64,
    /// On average.
    pub(crate) jobs_a_claim: f64,
}

pub(crate) async fn measure(database: &Database, jobs: usize, workers: usize, slots: usize) -> anyhow::Result<Drained> {
    database.empty().await?;
    database.pause(true).await?;
    database.fill(LANE, jobs, Duration::ZERO).await?;
    database.run("ANALYZE jobs").await?;
    let mut running = Vec::new();
    for _ in 0..workers {
        running.push(Running::start(database, slots).await?);
    }
    database.pause(false).await?;
    until_done(database).await?;
    let seconds: f64 = sqlx::query_scalar(
        "SELECT extract(epoch FROM max(finished_at) - min(claimed_at))::float8 FROM jobs WHERE state = 'done'",
    )
    .fetch_one(&database.pool)
    .await?;
    let (mut runs, mut claims) = (0, 0.0);
    for worker in running {
        let report = worker.end().await?;
        runs += report.runs;
        claims += report.claims();
    }
    exactly_once(database, jobs, runs).await?;
    Ok(Drained {
        rate: rate(jobs, seconds),
        jobs_a_claim: rate(jobs, claims),
    })
}

/// Waits until nothing is ready or running.
pub(crate) async fn until_done(database: &Database) -> anyhow::Result<()> {
    let mut ticks = interval(Duration::from_millis(50));
    loop {
        ticks.tick().await;
        let busy: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM jobs WHERE lane = $1 AND state = 'ready' AND run_at <= now())
                 OR EXISTS (SELECT 1 FROM jobs WHERE lane = $1 AND state = 'running')",
        )
        .bind(LANE.id())
        .fetch_one(&database.pool)
        .await?;
        if !busy {
            return Ok(());
        }
    }
}

/// Every job ran, and none twice: by the rows, and by the handlers' own count.
pub(crate) async fn exactly_once(database: &Database, jobs: usize, runs: usize) -> anyhow::Result<()> {
    let done: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE state = 'done' AND attempt = 1 AND unused = 0")
        .fetch_one(&database.pool)
        .await?;
    anyhow::ensure!(
        usize::try_from(done)? == jobs && runs == jobs,
        "{jobs} jobs, {done} done at the first claim, {runs} runs"
    );
    Ok(())
}
