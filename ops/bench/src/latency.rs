//! From the enqueue to the first line of the handler.

use std::time::{Duration, Instant};

use drop_common::queue::{self, EnqueueOptions, Wake};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::{
    database::{Database, LANE},
    drain::{exactly_once, until_done},
    table::{Figure, Table, percentile, rate},
    worker::{Bench, Running, now_us},
};

const SAMPLES: u32 = 300;
/// Between two samples: no multiple of any pause of the worker.
const EVERY: Duration = Duration::from_millis(23);
/// Background jobs come in batches this often.
const TICKS_PER_SECOND: u32 = 50;

pub(crate) async fn measure(database: &Database, slots: usize, table: &mut Table) -> anyhow::Result<()> {
    let (idle, _) = sample(database, slots, SAMPLES, Signal::Sent, 0).await?;
    table.add(Figure::StartIdleP50, percentile(&idle, 0.5));
    table.add(Figure::StartIdleP99, percentile(&idle, 0.99));

    let half = table.last(Figure::Drain1).unwrap_or(2_000.0) / 2.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate of some thousands"
    )]
    let (busy, load) = sample(database, slots, SAMPLES, Signal::Sent, half as u32).await?;
    table.add(Figure::StartBusyP50, percentile(&busy, 0.5));
    table.add(Figure::StartBusyP99, percentile(&busy, 0.99));
    table.add(Figure::StartBusyLoad, load);

    let (polled, _) = sample(database, slots, SAMPLES / 3, Signal::Lost, 0).await?;
    table.add(Figure::StartWithoutWakeP50, percentile(&polled, 0.5));
    table.add(Figure::StartWithoutWakeMax, percentile(&polled, 1.0));
    Ok(())
}

/// Whether the worker is told of new jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Sent,
    Lost,
}

/// Milliseconds from enqueue to start of each sample, and how many other jobs a second came meanwhile; `load` were to.
async fn sample(
    database: &Database,
    slots: usize,
    samples: u32,
    signal: Signal,
    load: u32,
) -> anyhow::Result<(Vec<f64>, f64)> {
    database.empty().await?;
    let worker = Running::start(database, slots).await?;
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let wake = Wake::default();
    wake.start(&database.pool, false, &stop);
    let asked = CancellationToken::new();
    let asking = async {
        let mut connection = database.pool.acquire().await?;
        let mut ticks = interval(EVERY);
        for _ in 0..samples {
            ticks.tick().await;
            let job = Bench { sent_at_us: now_us() };
            queue::enqueue_alone(&mut *connection, &job, EnqueueOptions::default()).await?;
            if signal == Signal::Sent {
                wake.signal(LANE);
            }
        }
        asked.cancel();
        anyhow::Ok(())
    };
    let began = Instant::now();
    let ((), others) = tokio::try_join!(asking, others(database, &wake, load, &asked))?;
    let achieved = rate(others, began.elapsed().as_secs_f64());
    until_done(database).await?;
    let report = worker.end().await?;
    exactly_once(database, usize::try_from(samples)? + others, report.runs).await?;
    let waited = report.waited_us;
    anyhow::ensure!(waited.len() == usize::try_from(samples)?, "a sample is missing");
    Ok((waited.into_iter().map(milliseconds).collect(), achieved))
}

/// Enqueues so many other jobs a second, a statement a tick, until it is stopped. Returns how many they were.
async fn others(database: &Database, wake: &Wake, a_second: u32, stop: &CancellationToken) -> anyhow::Result<usize> {
    let a_tick = usize::try_from(a_second / TICKS_PER_SECOND)?;
    let mut ticks = interval(Duration::from_secs(1) / TICKS_PER_SECOND);
    let mut enqueued = 0;
    while a_tick > 0 && !stop.is_cancelled() {
        ticks.tick().await;
        database.fill(LANE, a_tick, Duration::ZERO).await?;
        wake.signal(LANE);
        enqueued += a_tick;
    }
    Ok(enqueued)
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a second or two")]
pub(crate) fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1_000.0
}
