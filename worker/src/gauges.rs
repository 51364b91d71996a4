//! Gauges that are read from the database: every ten seconds, on a connection of their own, never by a scrape.
//!
//! Every worker shows the same values, so they are aggregated with `max`. What could not be read for a minute is taken
//! out of the answer: an old value would lie.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use drop_common::{
    alerts::{self, Quiet},
    metrics::{
        AML_CASES_OPEN, CIRCUIT_OPEN_SECONDS, CIRCUIT_STATE, CRON_LAST_SLOT, DB_OLDEST_SNAPSHOT_AGE,
        ERASED_LIST_LAST_SUCCESS, ERASURES_OLDEST_AGE, JOBS, JOBS_OLDEST_READY_AGE, KYC_APPROVAL_RATE,
        KYC_PENDING_OLDEST_AGE, KYC_REVIEWS_LAST_HOUR, LANE_BLOCKED, LANE_READY_AGE_LIMIT, MetricSpec, Metrics,
        NOTIFICATIONS_OLDEST_AGE, PAYMENTS_NEEDS_REVIEW, PAYMENTS_OLDEST_OPEN_AGE, PAYMENTS_OPEN, PISP_CIRCUIT_OPEN,
        QUEUE_GAUGES_AGE, RETENTION_LAST_SUCCESS, WEBHOOK_INBOX_OLDEST_AGE, WEBHOOKS_LEFT_OVER,
    },
    queue::gauges::{self as queue, LaneReading},
    resilience::breaker::{self, BreakerKey},
    storage::{StorageError, gauges as domain, schedule},
};
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::{balance_gauges, schedule::SCHEDULES};

/// Seconds, and ticks, between two reads.
const READ_EVERY: u32 = 10;
/// For connecting and reading: a network that swallows packets must not stop the age from growing.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long values are shown that could not be read again.
const BELIEVED_FOR: Duration = Duration::from_mins(1);

/// How long a circuit may be open before people hear of it (contract 3.2).
const TOO_LONG: Duration = Duration::from_mins(5);
/// How long a process does not say again what goes on. Shorter than people's quiet period, which thus decides alone when they hear
/// of it again.
pub(crate) const QUIET: Duration = Duration::from_mins(1);

const FROM_DATABASE: [&MetricSpec; 22] = [
    &JOBS,
    &JOBS_OLDEST_READY_AGE,
    &LANE_READY_AGE_LIMIT,
    &LANE_BLOCKED,
    &CIRCUIT_STATE,
    &CIRCUIT_OPEN_SECONDS,
    &PISP_CIRCUIT_OPEN,
    &KYC_APPROVAL_RATE,
    &KYC_REVIEWS_LAST_HOUR,
    &PAYMENTS_OPEN,
    &PAYMENTS_OLDEST_OPEN_AGE,
    &PAYMENTS_NEEDS_REVIEW,
    &WEBHOOK_INBOX_OLDEST_AGE,
    &WEBHOOKS_LEFT_OVER,
    &KYC_PENDING_OLDEST_AGE,
    &AML_CASES_OPEN,
    &NOTIFICATIONS_OLDEST_AGE,
    &RETENTION_LAST_SUCCESS,
    &ERASED_LIST_LAST_SUCCESS,
    &ERASURES_OLDEST_AGE,
    &DB_OLDEST_SNAPSHOT_AGE,
    &CRON_LAST_SLOT,
];

/// Keeps the gauges current until `stop`, whatever becomes of the database.
pub(crate) async fn keep_current(
    database: &PgConnectOptions,
    metrics: Arc<Metrics>,
    readings: Arc<Readings>,
    stop: CancellationToken,
) {
    tokio::join!(
        balance_gauges::keep_current(database, &metrics, &stop),
        keep_rest_current(database, Arc::clone(&metrics), &readings, stop.clone()),
    );
}

async fn keep_rest_current(
    database: &PgConnectOptions,
    metrics: Arc<Metrics>,
    readings: &Readings,
    stop: CancellationToken,
) {
    let mut source = Source {
        options: database.clone().options([("statement_timeout", "2s")]),
        connection: None,
    };
    let mut board = Board::new(metrics, Instant::now());
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks = 0_u32;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = second.tick() => {}
        }
        if ticks.is_multiple_of(READ_EVERY) {
            tokio::select! {
                () = stop.cancelled() => return,
                read = timeout(PATIENCE, source.read()) => match read {
                    Ok(Ok(reading)) => {
                        board.show(&reading, Instant::now());
                        readings.keep(reading, Instant::now());
                    }
                    Ok(Err(error)) => tracing::warn!(%error, "the gauges could not be read from the database"),
                    Err(_) => tracing::warn!("the database did not answer in time with the gauges"),
                },
            }
        }
        ticks = ticks.wrapping_add(1);
        board.grow_older(Instant::now());
    }
}

/// The database as one reading sees it.
pub(crate) struct Reading {
    pub(crate) lanes: Vec<LaneReading>,
    pub(crate) circuits: Vec<breaker::Reading>,
    pub(crate) domain: domain::Reading,
    pub(crate) oldest_snapshot_age: f64,
    /// Of each schedule, as a Unix time.
    last_slots: Vec<(String, f64)>,
}

/// The readings of the last hour, for people: whoever looks costs the database nothing.
#[derive(Default)]
pub(crate) struct Readings(Mutex<VecDeque<(Instant, Arc<Reading>)>>);

/// One hour of them.
const KEPT: usize = 3_600 / READ_EVERY as usize;

impl Readings {
    fn keep(&self, reading: Reading, now: Instant) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((now, Arc::new(reading)));
    }

    /// The newest, unless it is so old that it would lie.
    pub(crate) fn believed(&self, now: Instant) -> Option<Arc<Reading>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, reading) = kept.back()?;
        (now.saturating_duration_since(*at) <= BELIEVED_FOR).then(|| Arc::clone(reading))
    }

    /// With when each was read, oldest first.
    pub(crate) fn all(&self) -> Vec<(Instant, Arc<Reading>)> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().cloned().collect()
    }
}

struct Source {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
}

impl Source {
    /// In one snapshot, so that numbers shown together belong together. The connection is taken out for the time of the read:
    /// one that failed or was cut short is not used again.
    async fn read(&mut self) -> Result<Reading, StorageError> {
        let mut connection = match self.connection.take() {
            Some(open) => open,
            None => self.options.connect().await?,
        };
        let mut tx = connection
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            .await?;
        let reading = Reading {
            lanes: queue::lanes(&mut *tx).await?,
            circuits: breaker::readings(&mut *tx).await?,
            domain: domain::read(&mut *tx).await?,
            oldest_snapshot_age: queue::oldest_snapshot_age(&mut *tx).await?,
            last_slots: schedule::last_slots(&mut *tx, &SCHEDULES.each_ref().map(|schedule| schedule.name)).await?,
        };
        tx.commit().await?;
        self.connection = Some(connection);
        Ok(reading)
    }
}

/// The gauges as they are shown.
struct Board {
    metrics: Arc<Metrics>,
    raised: Quiet,
    read_at: Instant,
    withdrawn: bool,
}

impl Board {
    fn new(metrics: Arc<Metrics>, now: Instant) -> Self {
        Self {
            metrics,
            raised: Quiet::new(QUIET),
            read_at: now,
            withdrawn: false,
        }
    }

    fn show(&mut self, reading: &Reading, now: Instant) {
        for lane in &reading.lanes {
            self.show_lane(lane);
        }
        for circuit in &reading.circuits {
            self.show_circuit(circuit);
        }
        self.show_domain(&reading.domain);
        self.metrics
            .set(&DB_OLDEST_SNAPSHOT_AGE, &[], reading.oldest_snapshot_age);
        for (schedule, slot) in &reading.last_slots {
            self.metrics.set(&CRON_LAST_SLOT, &[schedule], *slot);
        }
        self.read_at = now;
        self.withdrawn = false;
    }

    /// Tells how old the values are, and takes out those that nobody should believe any more.
    fn grow_older(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.read_at);
        self.metrics.set(&QUEUE_GAUGES_AGE, &[], age.as_secs_f64());
        if age > BELIEVED_FOR && !self.withdrawn {
            tracing::error!("the gauges read from the database are taken out: none could be read for a minute");
            for spec in FROM_DATABASE {
                self.metrics.withdraw(spec);
            }
            self.withdrawn = true;
        }
    }

    fn show_lane(&self, lane: &LaneReading) {
        let name = lane.lane.name();
        for (state, jobs) in [
            ("ready", lane.ready),
            ("scheduled", lane.scheduled),
            ("running", lane.running),
            ("dead", lane.dead),
            ("untold", lane.untold),
        ] {
            self.metrics.set(&JOBS, &[name, state], number(jobs));
        }
        self.metrics.set(&JOBS_OLDEST_READY_AGE, &[name], lane.oldest_ready_age);
        let limit = lane.ready_age_limit.unwrap_or(f64::NAN);
        self.metrics.set(&LANE_READY_AGE_LIMIT, &[name], limit);
        self.metrics.set(&LANE_BLOCKED, &[name], truth(lane.blocked));
    }

    fn show_circuit(&self, circuit: &breaker::Reading) {
        let state = match (circuit.open, circuit.half_open) {
            (false, _) => 0.0,
            (true, true) => 1.0,
            (true, false) => 2.0,
        };
        let key = [circuit.key.as_str()];
        self.metrics.set(&CIRCUIT_STATE, &key, state);
        self.metrics.set(&CIRCUIT_OPEN_SECONDS, &key, circuit.open_seconds);
        if circuit.key == BreakerKey::NeonomicsPisp {
            self.metrics.set(&PISP_CIRCUIT_OPEN, &[], truth(circuit.open));
        }
        self.raise_about(circuit);
    }

    /// The contract wants both in Sentry, whose people may not be Prometheus'.
    fn raise_about(&self, circuit: &breaker::Reading) {
        let Some(opened_at) = circuit.opened_at else { return };
        // When it opens the next time, it is for another cause.
        let cause = format!("{}, open since {}", circuit.key.as_str(), opened_at.format("%FT%TZ"));
        for (alert, holds) in [
            (&alerts::PISP_CIRCUIT_OPEN, circuit.key == BreakerKey::NeonomicsPisp),
            (
                &alerts::CIRCUIT_OPEN_LONG,
                circuit.open_seconds > TOO_LONG.as_secs_f64(),
            ),
        ] {
            if holds {
                self.raised.raise(alert, &cause, &cause);
            }
        }
    }

    fn show_domain(&self, domain: &domain::Reading) {
        let set = |spec, value| self.metrics.set(spec, &[], value);
        // 0 of 0 is NaN, which is what "nothing was decided" is shown as.
        set(
            &KYC_APPROVAL_RATE,
            number(domain.kyc_approved) / number(domain.kyc_decided),
        );
        set(&KYC_REVIEWS_LAST_HOUR, number(domain.kyc_decided));
        set(&PAYMENTS_OPEN, number(domain.payments_open));
        set(&PAYMENTS_OLDEST_OPEN_AGE, domain.payments_oldest_open_age);
        set(&PAYMENTS_NEEDS_REVIEW, number(domain.payments_needing_review));
        set(&WEBHOOK_INBOX_OLDEST_AGE, domain.webhook_inbox_oldest_age);
        set(&KYC_PENDING_OLDEST_AGE, domain.kyc_pending_oldest_age);
        set(&AML_CASES_OPEN, number(domain.aml_cases_open));
        set(&NOTIFICATIONS_OLDEST_AGE, domain.notifications_oldest_age);
        set(&RETENTION_LAST_SUCCESS, domain.retention_last_success);
        set(&ERASED_LIST_LAST_SUCCESS, domain.erased_listed);
        set(&ERASURES_OLDEST_AGE, domain.erasures_oldest_age);
        for (state, events) in [
            ("unmatched", domain.webhooks_unmatched),
            ("quarantined", domain.webhooks_quarantined),
        ] {
            self.metrics.set(&WEBHOOKS_LEFT_OVER, &[state], number(events));
        }
    }
}

fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

/// A count; more than four thousand million of anything stays at that.
pub(crate) fn number(count: i64) -> f64 {
    u32::try_from(count.max(0)).unwrap_or(u32::MAX).into()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use drop_common::{metrics::Process, queue::Lane};

    use super::*;

    fn reading() -> Reading {
        let lane = LaneReading {
            lane: Lane::KycApply,
            blocked: true,
            ready_age_limit: None,
            ready: 3,
            scheduled: 0,
            running: 0,
            dead: 1,
            untold: 0,
            oldest_ready_age: 7.5,
        };
        let circuit = breaker::Reading {
            key: BreakerKey::NeonomicsPisp,
            open: true,
            half_open: true,
            open_seconds: 61.0,
            opened_at: Some(DateTime::UNIX_EPOCH),
        };
        let domain = domain::Reading {
            kyc_approved: 3,
            kyc_decided: 4,
            payments_open: 2,
            payments_oldest_open_age: 30.0,
            payments_needing_review: 0,
            webhook_inbox_oldest_age: 0.0,
            webhooks_unmatched: 0,
            webhooks_quarantined: 2,
            kyc_pending_oldest_age: 0.0,
            aml_cases_open: 0,
            notifications_oldest_age: 0.0,
            retention_last_success: 1_771_840_980.0,
            erased_listed: 1_771_840_980.0,
            erasures_oldest_age: 0.0,
        };
        Reading {
            lanes: vec![lane],
            circuits: vec![circuit],
            domain,
            oldest_snapshot_age: 2.5,
            last_slots: vec![("prune".to_owned(), 1_771_840_920.0)],
        }
    }

    #[test]
    fn what_was_read_is_shown_and_after_a_minute_without_a_read_taken_out() {
        let metrics = Arc::new(Metrics::new(Process::Worker, "0.1.0", "unknown").unwrap());
        let value = |spec, labels: &[&str]| metrics.value(spec, labels);
        let started = Instant::now();
        let after = |seconds| started + Duration::from_secs(seconds);
        let mut board = Board::new(Arc::clone(&metrics), started);

        board.show(&reading(), after(5));
        board.grow_older(after(65));
        assert_eq!(value(&QUEUE_GAUGES_AGE, &[]), Some(60.0));
        assert_eq!(value(&PISP_CIRCUIT_OPEN, &[]), Some(1.0), "half-open is open");
        assert_eq!(value(&CIRCUIT_STATE, &["neonomics/pisp"]), Some(1.0));
        assert_eq!(value(&KYC_APPROVAL_RATE, &[]), Some(0.75));
        assert_eq!(value(&DB_OLDEST_SNAPSHOT_AGE, &[]), Some(2.5));
        assert_eq!(value(&JOBS, &["kyc.apply", "dead"]), Some(1.0));
        assert_eq!(value(&CRON_LAST_SLOT, &["prune"]), Some(1_771_840_920.0));
        assert_eq!(value(&WEBHOOKS_LEFT_OVER, &["quarantined"]), Some(2.0));
        assert!(value(&LANE_READY_AGE_LIMIT, &["kyc.apply"]).unwrap().is_nan());

        board.grow_older(after(66));
        for spec in FROM_DATABASE {
            let first: Vec<&str> = spec.series()[0].clone();
            assert_eq!(value(spec, &first), None, "{}", spec.name);
        }
        board.grow_older(after(3_605));
        assert_eq!(value(&QUEUE_GAUGES_AGE, &[]), Some(3_600.0));

        let nothing_decided = domain::Reading {
            kyc_approved: 0,
            kyc_decided: 0,
            ..reading().domain
        };
        let reading = Reading {
            domain: nothing_decided,
            ..reading()
        };
        board.show(&reading, after(3_606));
        board.grow_older(after(3_606));
        assert_eq!(value(&QUEUE_GAUGES_AGE, &[]), Some(0.0));
        assert!(value(&KYC_APPROVAL_RATE, &[]).unwrap().is_nan());
        assert_eq!(value(&PAYMENTS_OPEN, &[]), Some(2.0));
    }

    #[tokio::test]
    async fn an_unreachable_database_ends_nothing_but_the_stop_does() {
        let metrics = Arc::new(Metrics::new(Process::Worker, "0.1.0", "unknown").unwrap());
        let nowhere: PgConnectOptions = "postgres://nobody@127.0.0.1:1/none".parse().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let (metrics, stop) = (Arc::clone(&metrics), stop.clone());
            async move { keep_current(&nowhere, metrics, Arc::default(), stop).await }
        });
        let older = async {
            while metrics.value(&QUEUE_GAUGES_AGE, &[]) < Some(1.0) {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), older)
            .await
            .expect("the age grows without a database");
        stop.cancel();
        timeout(Duration::from_secs(10), task).await.unwrap().unwrap();
    }
}
