//! Gauges about consents and balances: read once a minute, on a connection of their own, for they go through every account
//! there is. However slow that gets, the other gauges are read every ten seconds.

use std::time::{Duration, Instant};

use drop_common::{
    alerts::{self, Quiet},
    metrics::{BALANCE_STALENESS_HOURS, BALANCE_SYNC_LAG, BALANCE_WINDOW_USED, CONSENTS, MetricSpec, Metrics},
    storage::{
        StorageError,
        balance_gauges::{Reading, read},
    },
};
use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::gauges::{QUIET, number};

const READ_EVERY: Duration = Duration::from_mins(1);
/// For connecting and reading. The statement itself is given a little less.
const PATIENCE: Duration = Duration::from_secs(25);
const STATEMENT_TIMEOUT: &str = "20s";
/// How long values are shown that could not be read again: two readings may fail.
const BELIEVED_FOR: Duration = Duration::from_mins(3);

/// Hours after which people hear of an old balance (contract 7).
const TOO_OLD: f64 = 12.0;

const FROM_DATABASE: [&MetricSpec; 4] = [
    &BALANCE_STALENESS_HOURS,
    &BALANCE_WINDOW_USED,
    &BALANCE_SYNC_LAG,
    &CONSENTS,
];

/// Keeps them current until `stop`, whatever becomes of the database.
pub(crate) async fn keep_current(database: &PgConnectOptions, metrics: &Metrics, stop: &CancellationToken) {
    let options = database.clone().options([("statement_timeout", STATEMENT_TIMEOUT)]);
    let (mut connection, mut read_at, raised) = (None, Instant::now(), Quiet::new(QUIET));
    let mut minute = interval(READ_EVERY);
    minute.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = minute.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            reading = timeout(PATIENCE, read_by(&options, &mut connection)) => match reading {
                Ok(Ok(reading)) => {
                    show(metrics, &reading);
                    if reading.staleness_hours > TOO_OLD {
                        let about = format!("the oldest is of {:.0} hours ago", reading.staleness_hours);
                        raised.raise(&alerts::BALANCE_STALE, "the oldest", about);
                    }
                    read_at = Instant::now();
                }
                Ok(Err(error)) => tracing::warn!(%error, "the gauges about balances could not be read"),
                Err(_) => tracing::warn!("the database did not answer in time with the gauges about balances"),
            },
        }
        withdraw_if_old(metrics, read_at.elapsed());
    }
}

/// The connection is taken out for the time of the read: one that failed or was cut short is not used again.
async fn read_by(options: &PgConnectOptions, connection: &mut Option<PgConnection>) -> Result<Reading, StorageError> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => options.connect().await?,
    };
    let reading = read(&mut open).await?;
    *connection = Some(open);
    Ok(reading)
}

fn show(metrics: &Metrics, reading: &Reading) {
    metrics.set(&BALANCE_STALENESS_HOURS, &[], reading.staleness_hours);
    metrics.set(&BALANCE_WINDOW_USED, &[], number(reading.window_used));
    metrics.set(&BALANCE_SYNC_LAG, &[], reading.sync_lag);
    for state in CONSENTS.series() {
        let counted = reading.consent_states.iter().zip(&reading.consent_counts);
        let count = counted
            .filter(|(counted, _)| *counted == state[0])
            .map(|(_, count)| *count);
        metrics.set(&CONSENTS, &state, number(count.sum()));
    }
}

fn withdraw_if_old(metrics: &Metrics, age: Duration) {
    if age > BELIEVED_FOR {
        tracing::error!("the gauges about balances are taken out: none could be read for some minutes");
        for spec in FROM_DATABASE {
            metrics.withdraw(spec);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use drop_common::metrics::Process;

    use super::*;

    fn reading() -> Reading {
        Reading {
            staleness_hours: 13.5,
            window_used: 4,
            sync_lag: 90.0,
            consent_states: vec!["valid".to_owned(), "deleted".to_owned()],
            consent_counts: vec![5, 2],
        }
    }

    #[test]
    fn what_was_read_is_shown_and_after_three_minutes_without_a_read_taken_out() {
        let metrics = Metrics::new(Process::Worker, "0.1.0", "unknown").unwrap();
        let value = |spec, labels: &[&str]| metrics.value(spec, labels);
        show(&metrics, &reading());
        withdraw_if_old(&metrics, Duration::from_mins(3));
        assert_eq!(value(&BALANCE_STALENESS_HOURS, &[]), Some(13.5));
        assert_eq!(value(&BALANCE_WINDOW_USED, &[]), Some(4.0));
        assert_eq!(value(&BALANCE_SYNC_LAG, &[]), Some(90.0));
        assert_eq!(value(&CONSENTS, &["valid"]), Some(5.0));
        assert_eq!(value(&CONSENTS, &["received"]), Some(0.0), "none is a number too");
        withdraw_if_old(&metrics, Duration::from_secs(181));
        for spec in FROM_DATABASE {
            assert_eq!(value(spec, &spec.series()[0].clone()), None, "{}", spec.name);
        }
    }

    #[tokio::test]
    async fn an_unreachable_database_ends_nothing_but_the_stop_does() {
        let metrics = Arc::new(Metrics::new(Process::Worker, "0.1.0", "unknown").unwrap());
        let nowhere: PgConnectOptions = "postgres://nobody@127.0.0.1:1/none".parse().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let (metrics, stop) = (Arc::clone(&metrics), stop.clone());
            async move { keep_current(&nowhere, &metrics, &stop).await }
        });
        tokio::task::yield_now().await;
        assert!(!task.is_finished());
        stop.cancel();
        timeout(Duration::from_secs(10), task).await.unwrap().unwrap();
    }
}
