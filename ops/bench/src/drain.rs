//! Workers that empty a full lane, every outcome durable.

use std::time::Duration;

use tokio::time::interval;

use crate::{
    Sizes,
    database::{Database, LANE},
    table::{Figure, Table, rate},
    worker::Running,
};

pub(crate) async fn measure(
    database: &Database,
    sizes: &Sizes,
    workers: usize,
    table: &mut Table,
) -> anyhow::Result<()> {
    database.empty().await?;
    database.pause(true).await?;
    database.fill(LANE, sizes.jobs, Duration::ZERO).await?;
    database.run("ANALYZE jobs").await?;
    let mut running = Vec::new();
    for _ in 0..workers {
        running.push(Running::start(database, sizes.slots).await?);
    }
    database.pause(false).await?;
    until_done(database).await?;
    let seconds: f64 = sqlx::query_scalar(
        "SELECT extract(epoch FROM max(finished_at) - min(claimed_at))::float8 FROM jobs WHERE state = 'done'",
    )
    .fetch_one(&database.pool)
    .await?;
    let mut runs = 0;
    for worker in running {
        runs += worker.end().await?.runs;
    }
    exactly_once(database, sizes.jobs, runs).await?;
    let figure = match workers {
        1 => Figure::Drain1,
        2 => Figure::Drain2,
        _ => Figure::Drain4,
    };
    table.add(figure, rate(sizes.jobs, seconds));
    Ok(())
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
async fn exactly_once(database: &Database, jobs: usize, runs: usize) -> anyhow::Result<()> {
    let done: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE state = 'done' AND attempt = 1 AND unused = 0")
        .fetch_one(&database.pool)
        .await?;
    anyhow::ensure!(
        usize::try_from(done)? == jobs && runs == jobs,
        "{jobs} jobs, {done} done at the first claim, {runs} runs"
    );
    Ok(())
}
