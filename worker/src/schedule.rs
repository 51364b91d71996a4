//! The cron table. Every worker ticks; one row per schedule and slot decides which of them enqueues the job.

use std::{
    collections::BTreeMap,
    str::FromStr,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use croner::Cron;
use drop_common::{
    metrics::{CRON_SLOTS, Metrics},
    queue::{
        Enqueued, Job as _, Lane, Wake, enqueue, operate,
        payloads::{PlanBalanceSyncs, PruneJobs, ReconcileKyc, ReconcilePayments, SweepOutbox},
    },
    storage::{
        self, StorageError, Tx,
        audit::{self, Actor, Entry},
        patiently, schedule,
    },
};
use poem_openapi::Object;
use serde::Serialize;
use serde_json::json;
use sqlx::PgPool;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

/// What is done at which times.
pub(crate) const SCHEDULES: [Schedule; 5] = [
    Schedule {
        name: "plan-balance-syncs",
        cron: "*/5 * * * *",
        job: Scheduled::PlanBalanceSyncs,
        catch_up: CatchUp::Latest,
    },
    Schedule {
        name: "reconcile-payments",
        cron: "* * * * *",
        job: Scheduled::ReconcilePayments,
        catch_up: CatchUp::Skip {
            stale_after: Duration::from_mins(2),
        },
    },
    Schedule {
        name: "reconcile-kyc",
        cron: "17 * * * *",
        job: Scheduled::ReconcileKyc,
        catch_up: CatchUp::Latest,
    },
    Schedule {
        name: "sweep-outbox",
        cron: "4-59/10 * * * *",
        job: Scheduled::SweepOutbox,
        catch_up: CatchUp::Skip {
            stale_after: Duration::from_mins(5),
        },
    },
    Schedule {
        name: "prune",
        // Often: a login that nobody finished holds sealed secrets until then.
        cron: "2-59/5 * * * *",
        job: Scheduled::PruneJobs,
        catch_up: CatchUp::Skip {
            stale_after: Duration::from_mins(2),
        },
    },
];

/// One line of the table.
pub(crate) struct Schedule {
    /// Its name in `cron_slots`.
    pub(crate) name: &'static str,
    /// Minute, hour, day, month, weekday, in UTC: a time zone's changes would skip slots or repeat them.
    pub(crate) cron: &'static str,
    pub(crate) job: Scheduled,
    catch_up: CatchUp,
}

/// The job of a schedule.
#[derive(Clone, Copy)]
pub(crate) enum Scheduled {
    PlanBalanceSyncs,
    ReconcilePayments,
    ReconcileKyc,
    SweepOutbox,
    PruneJobs,
}

/// What becomes of slots in which no worker was up. There is never more than one to catch up with: the last.
#[derive(Clone, Copy)]
enum CatchUp {
    /// It is taken, however old.
    Latest,
    /// It is taken unless it is older than this; the next one does as well.
    Skip { stale_after: Duration },
}

impl Scheduled {
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::PlanBalanceSyncs => PlanBalanceSyncs::KIND,
            Self::ReconcilePayments => ReconcilePayments::KIND,
            Self::ReconcileKyc => ReconcileKyc::KIND,
            Self::SweepOutbox => SweepOutbox::KIND,
            Self::PruneJobs => PruneJobs::KIND,
        }
    }

    pub(crate) const fn lane(self) -> Lane {
        match self {
            Self::PlanBalanceSyncs => PlanBalanceSyncs::LANE,
            Self::ReconcilePayments => ReconcilePayments::LANE,
            Self::ReconcileKyc => ReconcileKyc::LANE,
            Self::SweepOutbox => SweepOutbox::LANE,
            Self::PruneJobs => PruneJobs::LANE,
        }
    }

    pub(crate) async fn enqueue(self, tx: &mut Tx, slot: DateTime<Utc>) -> Result<Enqueued, StorageError> {
        match self {
            Self::PlanBalanceSyncs => enqueue(tx, &PlanBalanceSyncs { slot }).await,
            Self::ReconcilePayments => enqueue(tx, &ReconcilePayments {}).await,
            Self::ReconcileKyc => enqueue(tx, &ReconcileKyc { slot }).await,
            Self::SweepOutbox => enqueue(tx, &SweepOutbox {}).await,
            Self::PruneJobs => enqueue(tx, &PruneJobs {}).await,
        }
    }
}

/// Ticks until it is stopped or dropped.
pub struct Ticker {
    scheduler: JobScheduler,
    stop: DropGuard,
}

impl Ticker {
    /// Ticks at once, which catches up, and then every ten seconds: the process's own clock may be wrong, so it only
    /// says when to look at the database's. Set back, it says so late: the scheduler waits for a time of day.
    pub async fn start(db: PgPool, wake: Wake, metrics: Arc<Metrics>) -> Result<Self, JobSchedulerError> {
        let stop = CancellationToken::new();
        let ticks = Arc::new(Ticks::new(db, wake, metrics));
        let tick = move |stop: CancellationToken| {
            let ticks = Arc::clone(&ticks);
            async move {
                let _stopped = stop.run_until_cancelled(ticks.tick()).await;
            }
        };
        let (guard, stopping) = (stop.clone().drop_guard(), stop);
        tokio::spawn(tick(stopping.clone()));
        let scheduler = JobScheduler::new().await?;
        let job = Job::new_async("*/10 * * * * *", move |_, _| Box::pin(tick(stopping.clone())))?;
        scheduler.add(job).await?;
        scheduler.start().await?;
        Ok(Self { scheduler, stop: guard })
    }

    /// Takes no slot any more.
    pub async fn stop(mut self) {
        drop(self.stop);
        if let Err(error) = self.scheduler.shutdown().await {
            warn!(%error, "the cron ticker did not stop by itself; it takes no slots");
        }
    }
}

/// Takes slots, and counts what became of each.
pub struct Ticks {
    db: PgPool,
    wake: Wake,
    metrics: Arc<Metrics>,
    /// The slot of each schedule that was counted last: a tick finds most of them as the one before it did.
    counted: Mutex<BTreeMap<&'static str, DateTime<Utc>>>,
}

/// What became of a slot; the label of `drop_cron_slots_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Took {
    Taken,
    /// Another worker has it.
    Duplicate,
    /// It is too old, and the next does as well.
    Skipped,
}

impl Ticks {
    /// That has counted nothing yet.
    pub fn new(db: PgPool, wake: Wake, metrics: Arc<Metrics>) -> Self {
        Self {
            db,
            wake,
            metrics,
            counted: Mutex::default(),
        }
    }

    /// Takes the present slot of every schedule, and ends the pauses of lanes that have had their time. What the database
    /// refuses now, the next tick does.
    pub async fn tick(&self) {
        match self.resume_lanes().await {
            Ok(resumed) => resumed.into_iter().for_each(|lane| self.wake.signal(lane)),
            Err(error) => warn!(%error, "the pauses that are over were not ended yet"),
        }
        for schedule in &SCHEDULES {
            let name = schedule.name;
            match Box::pin(patiently(self.take(schedule))).await {
                Ok((slot, took)) => {
                    if took == Took::Taken {
                        self.wake.signal(schedule.job.lane());
                        info!(schedule = name, "took the slot of {name}");
                    }
                    if self.is_news(name, slot) {
                        self.metrics.count(&CRON_SLOTS, &[name, took.as_str()]);
                    }
                }
                Err(error) => warn!(%error, schedule = name, "the slot of {name} was not taken yet"),
            }
        }
    }

    async fn resume_lanes(&self) -> Result<Vec<Lane>, StorageError> {
        let mut tx = storage::begin(&self.db).await?;
        let resumed = operate::resume_ended(&mut tx).await?;
        for lane in &resumed {
            let entry = Entry {
                actor: Actor::Worker,
                user: None,
                action: "lane.resumed",
                object: lane.name().to_owned(),
                detail: json!({ "because": "the pause had its time" }),
                request_id: None,
            };
            audit::record(&mut tx, entry).await?;
            info!(lane = lane.name(), "the pause of {} is over", lane.name());
        }
        tx.commit().await?;
        Ok(resumed)
    }

    async fn take(&self, schedule: &Schedule) -> Result<(DateTime<Utc>, Took), StorageError> {
        let now = schedule::now(&self.db).await?;
        let slot = schedule.last_slot(now);
        if schedule.leaves_out(slot, now) {
            let is_taken = schedule::is_taken(&self.db, schedule.name, slot).await?;
            return Ok((slot, if is_taken { Took::Duplicate } else { Took::Skipped }));
        }
        let mut tx = storage::begin(&self.db).await?;
        if !schedule::take_slot(&mut tx, schedule.name, slot).await? {
            return Ok((slot, Took::Duplicate));
        }
        schedule.job.enqueue(&mut tx, slot).await?;
        tx.commit().await?;
        Ok((slot, Took::Taken))
    }

    fn is_news(&self, schedule: &'static str, slot: DateTime<Utc>) -> bool {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.insert(schedule, slot) != Some(slot)
    }
}

impl Took {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Duplicate => "duplicate",
            Self::Skipped => "skipped",
        }
    }
}

/// A schedule as people see it.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Schedule")]
pub(crate) struct Standing {
    /// Its name.
    pub(crate) name: String,
    /// Minute, hour, day, month, weekday, in UTC.
    pub(crate) cron: String,
    /// The job that it enqueues.
    pub(crate) kind: String,
    /// Its last slot that a worker took.
    pub(crate) last: Option<DateTime<Utc>>,
    /// How many seconds after its time that was.
    pub(crate) late_seconds: Option<f64>,
    /// Its next slot.
    pub(crate) next: DateTime<Utc>,
    /// Slots of the last 24 hours that a worker took.
    pub(crate) taken: i64,
    /// Slots of the last 24 hours that nobody took: no worker was up, or the next one did as well.
    pub(crate) skipped: i64,
}

/// Every schedule as it stands now, by the database's clock.
pub(crate) async fn standings(db: &PgPool, now: DateTime<Utc>) -> Result<Vec<Standing>, StorageError> {
    let names = SCHEDULES.each_ref().map(|schedule| schedule.name);
    let slots = schedule::slots(db, &names).await?;
    let standing = |schedule: &Schedule| {
        let slots = slots.iter().find(|slots| slots.name == schedule.name);
        let taken = slots.map_or(0, |slots| slots.taken);
        Standing {
            name: schedule.name.to_owned(),
            cron: schedule.cron.to_owned(),
            kind: schedule.job.kind().to_owned(),
            last: slots.and_then(|slots| slots.last),
            late_seconds: slots.and_then(|slots| slots.late_seconds),
            next: schedule.next_slot(now),
            taken,
            skipped: (slots_of_a_day(schedule.name) - taken).max(0),
        }
    };
    Ok(SCHEDULES.iter().map(standing).collect())
}

/// How many slots a schedule has in any 24 hours: all of them come every day alike. Counted once, for it takes its time.
fn slots_of_a_day(name: &str) -> i64 {
    static COUNTED: LazyLock<BTreeMap<&str, i64>> = LazyLock::new(|| {
        let counted = SCHEDULES.iter().map(|schedule| {
            let day = TimeDelta::days(1);
            let slots = schedule.parsed().iter_after(DateTime::UNIX_EPOCH + day);
            let slots = slots.take_while(|slot| *slot <= DateTime::UNIX_EPOCH + day * 2).count();
            (schedule.name, i64::try_from(slots).unwrap_or(i64::MAX))
        });
        counted.collect()
    });
    COUNTED.get(name).copied().unwrap_or_default()
}

impl Schedule {
    /// The schedule of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        static TABLE: [Schedule; 5] = SCHEDULES;
        TABLE.iter().find(|schedule| schedule.name == name)
    }

    /// The next slot after `now`.
    fn next_slot(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        // Croner keeps the fraction of a second.
        self.parsed()
            .find_next_occurrence(&now.trunc_subsecs(0), false)
            .expect("each of the table's expressions will match again")
    }

    fn parsed(&self) -> Cron {
        Cron::from_str(self.cron).expect("the table holds valid expressions")
    }

    /// The last slot at or before `now`, the same on every worker.
    fn last_slot(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let cron = self.parsed();
        // Inside the matching second croner would keep the fraction, and every worker would see another slot.
        cron.find_previous_occurrence(&now.trunc_subsecs(0), true)
            .expect("each of the table's expressions has matched before")
    }

    /// Whether the policy leaves this slot out.
    fn leaves_out(&self, slot: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        match self.catch_up {
            CatchUp::Latest => false,
            CatchUp::Skip { stale_after } => (now - slot).to_std().unwrap_or_default() > stale_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use drop_common::metrics::CRON_LAST_SLOT;

    use super::*;

    fn slot(name: &str, now: &str) -> Option<String> {
        let schedule = SCHEDULES.iter().find(|schedule| schedule.name == name).unwrap();
        let now = now.parse().unwrap();
        let slot = schedule.last_slot(now);
        (!schedule.leaves_out(slot, now)).then(|| slot.format("%H:%M:%S%.f").to_string())
    }

    #[test]
    fn every_schedule_is_a_label_of_its_metric() {
        let names: Vec<_> = SCHEDULES.iter().map(|schedule| vec![schedule.name]).collect();
        assert_eq!(CRON_LAST_SLOT.series(), names);
    }

    #[test]
    fn every_schedule_comes_every_day_alike() {
        for schedule in &SCHEDULES {
            assert!(schedule.cron.ends_with(" * * *"), "{}", schedule.name);
        }
        let counted = ["reconcile-payments", "reconcile-kyc", "prune"].map(slots_of_a_day);
        assert_eq!(counted, [1_440, 24, 288]);
    }

    #[test]
    fn a_slot_is_a_whole_second_also_within_its_own() {
        let planned = |now| slot("plan-balance-syncs", now).unwrap();
        assert_eq!(planned("2026-02-23T10:05:00.654321Z"), "10:05:00");
        assert_eq!(planned("2026-02-23T10:09:59.999999Z"), "10:05:00");
    }

    #[test]
    fn an_old_slot_is_left_out_where_the_next_does_as_well() {
        assert_eq!(slot("prune", "2026-02-23T10:19:00Z").as_deref(), Some("10:17:00"));
        assert_eq!(slot("prune", "2026-02-23T10:20:00Z"), None);
    }
}
