//! What runs jobs and what stops them: lanes, processes, circuits and schedules.

use drop_common::{
    queue::{
        gauges::LaneReading,
        look::LaneStanding,
        processes::{Load, Process},
    },
    resilience::breaker_hand::{Standing, Transition},
};

use super::{rows, text, time, yes};
use crate::schedule;

pub(in crate::operator) fn stats(lanes: &[LaneReading], json: bool) -> anyhow::Result<()> {
    let head = [
        "lane",
        "ready",
        "scheduled",
        "running",
        "dead",
        "untold",
        "oldest ready",
        "blocked",
    ];
    rows(lanes, json, head, |lane| {
        [
            lane.lane.name().to_owned(),
            lane.ready.to_string(),
            lane.scheduled.to_string(),
            lane.running.to_string(),
            lane.dead.to_string(),
            lane.untold.to_string(),
            format!("{:.1} s", lane.oldest_ready_age),
            yes(lane.blocked),
        ]
    })
}

pub(in crate::operator) fn lanes(lanes: &[LaneStanding], json: bool) -> anyhow::Result<()> {
    let head = ["lane", "state", "until", "circuit", "by", "because"];
    rows(lanes, json, head, |lane| {
        let state = match lane {
            lane if lane.paused => "paused",
            lane if lane.circuit_open => "circuit open",
            lane if lane.throttled_until.is_some() => "throttled",
            _ => "open",
        };
        [
            lane.lane.name().to_owned(),
            state.to_owned(),
            time(lane.paused_until.or(lane.throttled_until)),
            text(lane.breaker.as_ref()),
            text(lane.paused_by.as_ref()),
            text(lane.paused_because.as_ref()),
        ]
    })
}

pub(in crate::operator) fn processes(processes: &[Process], json: bool) -> anyhow::Result<()> {
    let head = [
        "worker",
        "state",
        "started",
        "heard of",
        "leases",
        "first ends",
        "slots",
        "restarts",
        "by",
        "because",
    ];
    rows(processes, json, head, |process| {
        let state = match process {
            process if process.is_missing => "not heard of",
            process if process.quiet_since.is_some() && process.is_quiet => "quiet",
            process if process.quiet_since.is_some() => "will be quiet",
            process if process.is_quiet => "will go on",
            _ => "claims",
        };
        let sum = |of: fn(&Load) -> i64| process.lanes.values().map(of).sum::<i64>();
        [
            process.owner.to_string(),
            state.to_owned(),
            time(process.started_at),
            time(process.seen_at),
            process.leases.to_string(),
            time(process.lease_until),
            format!("{}/{}", sum(|load| load.running), sum(|load| load.slots)),
            sum(|load| load.restarts).to_string(),
            text(process.quiet_by.as_ref()),
            text(process.quiet_because.as_ref()),
        ]
    })
}

pub(in crate::operator) fn circuits(circuits: &[Standing], json: bool) -> anyhow::Result<()> {
    let head = ["circuit", "state", "since", "next probe", "failures"];
    rows(circuits, json, head, |circuit| {
        [
            circuit.key.clone(),
            if circuit.open { "open" } else { "closed" }.to_owned(),
            time(circuit.opened_at.or(circuit.closed_at)),
            time(circuit.retry_at),
            format!("{}/{}", circuit.failures, circuit.threshold),
        ]
    })
}

pub(in crate::operator) fn transitions(transitions: &[Transition], json: bool) -> anyhow::Result<()> {
    let head = ["at", "circuit", "became"];
    rows(transitions, json, head, |one| {
        [time(Some(one.at)), one.key.clone(), one.became.clone()]
    })
}

pub(in crate::operator) fn schedules(schedules: &[schedule::Standing], json: bool) -> anyhow::Result<()> {
    let head = ["name", "cron", "last", "next", "taken in 24 h", "skipped"];
    rows(schedules, json, head, |schedule| {
        [
            schedule.name.clone(),
            schedule.cron.clone(),
            time(schedule.last),
            time(Some(schedule.next)),
            schedule.taken.to_string(),
            schedule.skipped.to_string(),
        ]
    })
}
