//! What the queue tells about itself, as metrics; and whether its claimer still goes round, for `/livez`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use drop_common::{
    clock::Clock,
    metrics::{
        CLAIM_BATCH_SIZE, CLAIM_DURATION, JOB_ATTEMPTS, JOB_DURATION, JOB_RESCUES, JOB_WAIT, JOBS_IN_FLIGHT,
        LANE_SLOTS, LAST_CLAIM, Metrics, WORKER_RESTARTS,
    },
    queue::{
        ALL_KINDS, KINDS_BY_LANE, Lane, Watch,
        processes::{Load, Loads},
    },
};
use uuid::Uuid;

/// Longer than the longest pause and the slowest claim together: past it, the claimer is stuck.
const LONGEST_ROUND: Duration = Duration::from_mins(1);
const OUTCOMES: [&str; 5] = ["done", "again", "wait", "dead", "lost"];
/// The label of every kind that this build has no handler for.
const UNKNOWN_KIND: &str = "unknown";

/// The queue of this process, watched.
pub(crate) struct QueueMetrics {
    metrics: Arc<Metrics>,
    clock: Clock,
    last_round: Mutex<Instant>,
    lanes: Vec<Lane>,
    owner: OnceLock<Uuid>,
    quiet: AtomicBool,
}

impl QueueMetrics {
    /// Touches what begins at 0, and says how many slots each lane has here.
    pub(crate) fn new(metrics: Arc<Metrics>, clock: Clock, slots: &BTreeMap<Lane, usize>, now: Instant) -> Self {
        let unknown = Lane::ALL.into_iter().map(|lane| (lane, UNKNOWN_KIND));
        for (lane, kind) in KINDS_BY_LANE.iter().copied().chain(unknown) {
            for outcome in OUTCOMES {
                metrics.touch(&JOB_ATTEMPTS, &[lane.name(), kind, outcome]);
            }
        }
        for (lane, slots) in slots {
            let slots = u32::try_from(*slots).unwrap_or(u32::MAX);
            metrics.set(&LANE_SLOTS, &[lane.name()], slots.into());
        }
        Self {
            metrics,
            clock,
            last_round: Mutex::new(now),
            lanes: slots.keys().copied().collect(),
            owner: OnceLock::new(),
            quiet: AtomicBool::new(false),
        }
    }

    /// Whose the claims of this process are; `None`: it has not begun.
    pub(crate) fn owner(&self) -> Option<Uuid> {
        self.owner.get().copied()
    }

    /// From now on the process claims nothing, or again.
    pub(crate) fn set_quiet(&self, quiet: bool) {
        self.quiet.store(quiet, Ordering::Relaxed);
    }

    /// How each lane is served here.
    pub(crate) fn loads(&self) -> Loads {
        let [slots, running, restarts] =
            [&LANE_SLOTS, &JOBS_IN_FLIGHT, &WORKER_RESTARTS].map(|spec| self.metrics.values(spec));
        let load = |lane: &Lane| {
            let of = |values: &[(Vec<String>, f64)]| {
                let found = values.iter().find(|(labels, _)| labels[0] == lane.name());
                found.map_or(0, |(_, value)| whole(*value))
            };
            let load = Load {
                slots: of(&slots),
                running: of(&running),
                restarts: of(&restarts),
            };
            (lane.name().to_owned(), load)
        };
        self.lanes.iter().map(load).collect()
    }

    /// Whether a claimer of any lane finished a round lately. One that failed is a round: a restart repairs no database. So is
    /// one that waits for a slot: a restart would end the jobs that have them.
    pub(crate) fn goes_round(&self, now: Instant) -> bool {
        let last = *self.last_round.lock().unwrap_or_else(PoisonError::into_inner);
        now.saturating_duration_since(last) <= LONGEST_ROUND
    }

    fn went_round(&self, now: Instant) {
        *self.last_round.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

/// A count as a gauge holds it.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a small count; what does not fit stays at the edge"
)]
fn whole(gauge: f64) -> i64 {
    gauge as i64
}

impl Watch for QueueMetrics {
    fn begins(&self, owner: Uuid) {
        self.owner.get_or_init(|| owner);
    }

    fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    fn restarted(&self, lane: Lane) {
        self.metrics.count(&WORKER_RESTARTS, &[lane.name()]);
    }

    fn claimed(&self, lane: Lane, jobs: usize, took: Duration) {
        self.went_round(Instant::now());
        self.metrics
            .observe(&CLAIM_DURATION, &[lane.name()], took.as_secs_f64());
        let jobs = u32::try_from(jobs).map_or(f64::INFINITY, f64::from);
        self.metrics.observe(&CLAIM_BATCH_SIZE, &[lane.name()], jobs);
        let now = self.clock.now().timestamp_micros();
        self.metrics.set(
            &LAST_CLAIM,
            &[],
            Duration::from_micros(now.unsigned_abs()).as_secs_f64(),
        );
    }

    fn claim_failed(&self, _lane: Lane) {
        self.went_round(Instant::now());
    }

    fn full(&self, _lane: Lane) {
        self.went_round(Instant::now());
    }

    fn started(&self, lane: Lane, waited: Duration) {
        self.metrics.observe(&JOB_WAIT, &[lane.name()], waited.as_secs_f64());
        self.metrics.add(&JOBS_IN_FLIGHT, &[lane.name()], 1.0);
    }

    fn finished(&self, lane: Lane, kind: &str, outcome: &'static str, took: Duration) {
        self.metrics.add(&JOBS_IN_FLIGHT, &[lane.name()], -1.0);
        self.metrics.observe(&JOB_DURATION, &[lane.name()], took.as_secs_f64());
        // The row's own text never becomes a label: it could be anything.
        let kind = if ALL_KINDS.contains(&kind) { kind } else { UNKNOWN_KIND };
        self.metrics.count(&JOB_ATTEMPTS, &[lane.name(), kind, outcome]);
    }

    fn rescued(&self, lane: Lane) {
        self.metrics.count(&JOB_RESCUES, &[lane.name()]);
    }
}

#[cfg(test)]
mod tests {
    use drop_common::metrics::Process;

    use super::*;

    fn watched() -> (QueueMetrics, Arc<Metrics>, Instant) {
        let metrics = Arc::new(Metrics::new(Process::Worker, "0.1.0", "unknown").unwrap());
        let started = Instant::now();
        let slots = BTreeMap::from([(Lane::Login, 64)]);
        let queue = QueueMetrics::new(Arc::clone(&metrics), Clock::real(), &slots, started);
        (queue, metrics, started)
    }

    #[test]
    fn a_claimer_that_stops_is_not_alive_after_a_minute_and_a_round_that_failed_or_found_no_slot_is_one() {
        let (queue, metrics, started) = watched();
        assert!(queue.goes_round(started + LONGEST_ROUND), "it has just begun");
        assert!(!queue.goes_round(started + Duration::from_secs(61)));
        queue.claim_failed(Lane::Login);
        let after_failure = *queue.last_round.lock().unwrap();
        assert!(after_failure >= started);
        assert!(queue.goes_round(after_failure + LONGEST_ROUND));
        queue.full(Lane::Login);
        assert!(*queue.last_round.lock().unwrap() > after_failure, "no slot is free");
        assert_eq!(metrics.value(&LAST_CLAIM, &[]), Some(0.0), "nothing was claimed yet");
        queue.claimed(Lane::Login, 0, Duration::from_millis(1));
        assert!(metrics.value(&LAST_CLAIM, &[]).unwrap() > 1_700_000_000.0);
    }

    #[test]
    fn an_attempt_is_counted_once_and_leaves_nothing_in_flight() {
        let (queue, metrics, _) = watched();
        let attempts = |kind| metrics.value(&JOB_ATTEMPTS, &["login", kind, "done"]);
        assert_eq!((attempts("check-login"), attempts("unknown")), (Some(0.0), Some(0.0)));
        for kind in ["check-login", "anna@example.com"] {
            queue.started(Lane::Login, Duration::ZERO);
            assert_eq!(metrics.value(&JOBS_IN_FLIGHT, &["login"]), Some(1.0));
            queue.finished(Lane::Login, kind, "done", Duration::from_millis(3));
        }
        assert_eq!((attempts("check-login"), attempts("unknown")), (Some(1.0), Some(1.0)));
        assert_eq!(metrics.value(&JOBS_IN_FLIGHT, &["login"]), Some(0.0));
        assert_eq!(metrics.value(&LANE_SLOTS, &["login"]), Some(64.0));
        queue.rescued(Lane::Login);
        assert_eq!(metrics.value(&JOB_RESCUES, &["login"]), Some(1.0));
    }
}
