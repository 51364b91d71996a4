//! Lanes, processes, circuits and schedules.

use std::time::{Duration, Instant};

use drop_common::{
    queue::{
        Lane,
        gauges::LaneReading,
        look::{self, LaneStanding},
        processes::{self, Process},
    },
    resilience::breaker_hand::{self, Standing, Transition},
    storage::schedule,
};
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
    payload::Json,
};
use uuid::Uuid;

use super::{
    Because, Changed, Chapter, Shown,
    caller::{Operator, Viewer},
    fifty,
    problem::Refused,
};
use crate::{
    operator::actions,
    schedule::{self as schedules, Standing as ScheduleStanding},
};

/// The operations.
pub(super) struct Queue;

/// For how long a lane is paused, and why.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
struct Pause {
    /// Minutes after which a worker lets it go on by itself. Either these or `until_resumed`.
    #[oai(validator(minimum(value = "1"), maximum(value = "10080")))]
    minutes: Option<u64>,
    /// Until somebody resumes it.
    #[oai(default)]
    until_resumed: bool,
    /// Why; names no person.
    reason: String,
}

/// Which circuit, and why.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
struct ThisCircuit {
    /// Which, such as `neonomics/pisp`.
    key: String,
    /// Why; names no person.
    reason: String,
}

#[OpenApi(prefix_path = "/operator/api", tag = "Chapter::Ops")]
impl Queue {
    /// Count what waits, runs and is dead in each lane.
    ///
    /// And how long the oldest has waited that could run. As the worker that answers last read it, every ten seconds.
    #[expect(clippy::unused_async, reason = "the framework's operations are async")]
    #[oai(path = "/stats", method = "get", operation_id = "countJobs")]
    async fn stats(&self, viewer: Viewer) -> Result<Shown<Vec<LaneReading>>, Refused> {
        let reading = viewer.readings.believed(Instant::now()).ok_or_else(Refused::not_read)?;
        Ok(Shown(reading.lanes.clone()))
    }

    /// List the processes that run jobs.
    ///
    /// With their leases, slots and restarts, those that are idle or quiet among them.
    #[oai(path = "/workers", method = "get", operation_id = "listWorkers")]
    async fn workers(&self, viewer: Viewer) -> Result<Shown<Vec<Process>>, Refused> {
        Ok(Shown(processes::all(&viewer.context.db).await?))
    }

    /// Keep a process from claiming.
    ///
    /// It hears of that within seconds; what it runs goes on.
    #[oai(path = "/workers/:owner/quiet", method = "post", operation_id = "quietWorker")]
    async fn quiet_worker(
        &self,
        operator: Operator,
        /// Its id, as the list has it.
        owner: Path<Uuid>,
        because: Json<Because>,
    ) -> Result<Shown<Changed>, Refused> {
        let by = operator.because(&because.reason)?;
        actions::workers::set_quiet(&operator.context.db, owner.0, true, &by).await?;
        Ok(operator.done("worker.quieted", 1))
    }

    /// Let a process claim again.
    ///
    /// It hears of that within seconds.
    #[oai(path = "/workers/:owner/resume", method = "post", operation_id = "resumeWorker")]
    async fn resume_worker(
        &self,
        operator: Operator,
        /// Its id, as the list has it.
        owner: Path<Uuid>,
        because: Json<Because>,
    ) -> Result<Shown<Changed>, Refused> {
        let by = operator.because(&because.reason)?;
        actions::workers::set_quiet(&operator.context.db, owner.0, false, &by).await?;
        Ok(operator.done("worker.resumed", 1))
    }

    /// List the lanes.
    ///
    /// With what stops claims from them.
    #[oai(path = "/lanes", method = "get", operation_id = "listLanes")]
    async fn lanes(&self, viewer: Viewer) -> Result<Shown<Vec<LaneStanding>>, Refused> {
        Ok(Shown(look::lanes(&viewer.context.db).await?))
    }

    /// Claim nothing more from a lane.
    ///
    /// What runs goes on; what waits, waits.
    #[oai(path = "/lanes/:lane/pause", method = "post", operation_id = "pauseLane")]
    async fn pause(
        &self,
        operator: Operator,
        /// The lane's name.
        lane: Path<Lane>,
        pause: Json<Pause>,
    ) -> Result<Shown<Changed>, Refused> {
        let by = operator.because(&pause.reason)?;
        if pause.minutes.is_some() == pause.until_resumed {
            return Err(Refused::unusable("Either minutes or until_resumed is needed."));
        }
        let lasting = pause.minutes.map(Duration::from_mins);
        actions::lanes::pause(&operator.context.db, lane.0, lasting, &by).await?;
        Ok(operator.done("lane.paused", 1))
    }

    /// Let claims from a lane go on.
    ///
    /// One that is closed since a restore stays so.
    #[oai(path = "/lanes/:lane/resume", method = "post", operation_id = "resumeLane")]
    async fn resume(
        &self,
        operator: Operator,
        /// The lane's name.
        lane: Path<Lane>,
        because: Json<Because>,
    ) -> Result<Shown<Changed>, Refused> {
        let by = operator.because(&because.reason)?;
        actions::lanes::resume(&operator.context.db, lane.0, &by).await?;
        operator.context.wake.signal(lane.0);
        Ok(operator.done("lane.resumed", 1))
    }

    /// List the circuit breakers.
    ///
    /// With how they stand, banks' own among them.
    #[oai(path = "/circuits", method = "get", operation_id = "listCircuits")]
    async fn circuits(&self, viewer: Viewer) -> Result<Shown<Vec<Standing>>, Refused> {
        Ok(Shown(breaker_hand::standings(&viewer.context.db).await?))
    }

    /// List openings and closings of circuits.
    ///
    /// Newest first, of the last 90 days.
    #[oai(path = "/circuits/history", method = "get", operation_id = "listCircuitTransitions")]
    async fn history(
        &self,
        viewer: Viewer,
        /// Only of this one, such as `neonomics/pisp`.
        key: Query<Option<String>>,
        /// At most so many.
        #[oai(default = "fifty", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
    ) -> Result<Shown<Vec<Transition>>, Refused> {
        let transitions = breaker_hand::transitions(&viewer.context.db, key.0.as_deref(), limit.0.into()).await?;
        Ok(Shown(transitions))
    }

    /// Open a circuit.
    ///
    /// Nothing is sent there but a probe, which closes it when it is answered.
    #[oai(path = "/circuits/open", method = "post", operation_id = "openCircuit")]
    async fn open(&self, operator: Operator, this: Json<ThisCircuit>) -> Result<Shown<Changed>, Refused> {
        let by = operator.because(&this.reason)?;
        actions::breakers::set(&operator.context.db, &this.key, true, &by).await?;
        Ok(operator.done("breaker.opened", 1))
    }

    /// Close a circuit.
    ///
    /// It also forgets its failures.
    #[oai(path = "/circuits/reset", method = "post", operation_id = "resetCircuit")]
    async fn reset(&self, operator: Operator, this: Json<ThisCircuit>) -> Result<Shown<Changed>, Refused> {
        let by = operator.because(&this.reason)?;
        actions::breakers::set(&operator.context.db, &this.key, false, &by).await?;
        Ok(operator.done("breaker.reset", 1))
    }

    /// List the schedules.
    ///
    /// With their last and next slots.
    #[oai(path = "/cron", method = "get", operation_id = "listSchedules")]
    async fn schedules(&self, viewer: Viewer) -> Result<Shown<Vec<ScheduleStanding>>, Refused> {
        let db = &viewer.context.db;
        let now = schedule::now(db).await?;
        Ok(Shown(schedules::standings(db, now).await?))
    }

    /// Run a schedule's job now.
    ///
    /// Its next slot comes as it would have.
    #[oai(path = "/cron/:name/run", method = "post", operation_id = "runSchedule")]
    async fn run(
        &self,
        operator: Operator,
        /// The schedule's name.
        name: Path<String>,
        because: Json<Because>,
    ) -> Result<Shown<Changed>, Refused> {
        let by = operator.because(&because.reason)?;
        let lane = actions::cron::run_now(&operator.context.db, &name, &by).await?;
        operator.context.wake.signal(lane);
        Ok(operator.done("cron.run", 1))
    }
}
