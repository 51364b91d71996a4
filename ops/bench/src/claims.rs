//! How long a claim takes, by what else waits; and the memory of a worker before such a backlog.

use std::time::Duration;

use drop_common::queue::Lane;

use crate::{
    Sizes,
    database::{Database, LANE},
    drain::{exactly_once, until_done},
    latency::milliseconds,
    table::{Figure, Table, percentile, rate},
    worker::Running,
};

/// Ready jobs of every case.
const READY: usize = 8_000;
/// Slots, and so the most of a claim.
const SLOTS: usize = 10;
/// How long a worker works on a backlog that it cannot finish.
const WHILE: Duration = Duration::from_secs(3);
const HOUR: Duration = Duration::from_hours(1);

pub(crate) async fn measure(database: &Database, sizes: &Sizes, table: &mut Table) -> anyhow::Result<()> {
    let few = case(database, None, true).await?;
    table.add_with_claims(Figure::ClaimFew, few.p50, few.jobs_a_claim);
    table.add(Figure::MemoryFew, few.memory_mib);
    let ready = case(database, Some((LANE, sizes.waiting, Duration::ZERO)), false).await?;
    table.add_with_claims(Figure::ClaimManyReady, ready.p50, ready.jobs_a_claim);
    table.add(Figure::MemoryMany, ready.memory_mib);
    let later = case(database, Some((LANE, sizes.waiting, HOUR)), true).await?;
    table.add_with_claims(Figure::ClaimManyLater, later.p50, later.jobs_a_claim);
    open_circuit(database, true).await?;
    let blocked = case(database, Some((Lane::PaymentSend, sizes.waiting, Duration::ZERO)), true).await;
    open_circuit(database, false).await?;
    let blocked = blocked?;
    table.add_with_claims(Figure::ClaimManyBlocked, blocked.p50, blocked.jobs_a_claim);
    Ok(())
}

struct Reading {
    p50: f64,
    jobs_a_claim: f64,
    memory_mib: f64,
}

/// Claims `READY` jobs, or as many as it can for a while, beside others that wait.
async fn case(
    database: &Database,
    others: Option<(Lane, usize, Duration)>,
    to_the_end: bool,
) -> anyhow::Result<Reading> {
    database.empty().await?;
    database.pause(true).await?;
    if let Some((lane, jobs, delay)) = others {
        database.fill(lane, jobs, delay).await?;
    }
    database.fill(LANE, READY, Duration::ZERO).await?;
    database.run("VACUUM ANALYZE jobs").await?;
    let worker = Running::start(database, SLOTS).await?;
    database.pause(false).await?;
    if to_the_end {
        until_done(database).await?;
    } else {
        tokio::time::timeout(WHILE, until_done(database)).await.ok();
    }
    let report = worker.end().await?;
    if to_the_end {
        exactly_once(database, READY, report.runs).await?;
    }
    let jobs_a_claim = rate(report.runs, report.claims());
    let claims: Vec<f64> = report.claims_us.into_iter().map(milliseconds).collect();
    anyhow::ensure!(claims.len() > 50, "too few claims to say anything: {}", claims.len());
    Ok(Reading {
        p50: percentile(&claims, 0.5),
        jobs_a_claim,
        memory_mib: report.memory_mib,
    })
}

/// Opens the circuit of payments, for long, or closes it.
async fn open_circuit(database: &Database, open: bool) -> anyhow::Result<()> {
    let change = if open {
        "UPDATE breaker SET open = true, opened_at = now(), retry_at = now() + interval '1 day' WHERE key = 'neonomics/pisp'"
    } else {
        "UPDATE breaker SET open = false, opened_at = NULL, retry_at = NULL WHERE key = 'neonomics/pisp'"
    };
    database.run(change).await
}
