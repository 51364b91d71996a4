//! Results as tables for people or JSON for programs.
#![expect(clippy::print_stdout, reason = "these commands are run to be read")]

use std::fmt::Display;

use chrono::{DateTime, SecondsFormat, Utc};
use drop_common::{
    domain::ids::{AmlCaseId, UserId},
    queue::{
        gauges::LaneReading,
        look::LaneStanding,
        operate::{JobDetail, JobSummary},
        processes::{Load, Process},
    },
    resilience::breaker_hand::{Standing, Transition},
    storage::{
        aml_cases::Case,
        audit::Done,
        erasure::Erased,
        inbox::{Detail, Summary},
        payments::{InReview, Listed, Moment},
        retention::Kept,
    },
};
use serde::Serialize;

use super::answers::{DeadJobs, LoginStory, PaymentStory, PersonStory, WhatItIs};
use crate::schedule;

pub(super) fn list(jobs: &[JobSummary], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&jobs);
    }
    summaries(jobs);
    Ok(())
}

fn summaries(jobs: &[JobSummary]) {
    let rows = jobs.iter().map(|job| {
        [
            job.id.to_string(),
            job.kind.clone(),
            job.lane.clone(),
            job.state.clone(),
            format!("{}/{}", job.attempts, job.max_attempts),
            time(Some(job.finished_at.unwrap_or(job.run_at))),
            job.last_error.clone().unwrap_or_default(),
        ]
    });
    table(["id", "kind", "lane", "state", "attempts", "at", "last error"], rows);
}

pub(super) fn dead(groups: &[DeadJobs], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&groups);
    }
    let rows = groups.iter().map(|dead| {
        let group = &dead.group;
        [
            group.jobs.to_string(),
            group.kind.clone(),
            group.lane.clone(),
            time(Some(group.first)),
            // Whole, since it is given back to say which were seen.
            group.latest.to_rfc3339_opts(SecondsFormat::Micros, true),
            group.newest.to_string(),
            group.oldest.to_string(),
            dead.followed.clone(),
            group.error.clone(),
        ]
    });
    table(
        [
            "jobs",
            "kind",
            "lane",
            "first",
            "latest",
            "newest",
            "oldest",
            "what followed",
            "error",
        ],
        rows,
    );
    Ok(())
}

pub(super) fn lanes(lanes: &[LaneStanding], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&lanes);
    }
    let rows = lanes.iter().map(|lane| {
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
    });
    table(["lane", "state", "until", "circuit", "by", "because"], rows);
    Ok(())
}

pub(super) fn processes(processes: &[Process], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&processes);
    }
    let rows = processes.iter().map(|process| {
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
    });
    table(
        [
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
        ],
        rows,
    );
    Ok(())
}

pub(super) fn audit(done: &[Done], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&done);
    }
    let rows = done.iter().map(|row| {
        [
            row.id.to_string(),
            time(Some(row.at)),
            row.action.clone(),
            row.object.clone(),
            row.detail.to_string(),
        ]
    });
    table(["row", "at", "what", "on", "who, why, and what changed"], rows);
    Ok(())
}

pub(super) fn found(what: &WhatItIs, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(what);
    }
    match &what.id {
        Some(id) => println!("{} {id}", what.what),
        None => summaries(&what.jobs),
    }
    Ok(())
}

pub(super) fn job(job: &JobDetail, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(job);
    }
    let summary = &job.summary;
    facts(&[
        ("id", summary.id.to_string()),
        ("kind", summary.kind.clone()),
        ("lane", summary.lane.clone()),
        ("state", summary.state.clone()),
        ("payload", job.payload.to_string()),
        ("unique key", text(job.unique_key.as_ref())),
        ("request", text(job.request_id)),
        ("attempts", format!("{} of {}", summary.attempts, summary.max_attempts)),
        ("created", time(Some(job.created_at))),
        ("run at", time(Some(summary.run_at))),
        ("expires", time(job.expires_at)),
        ("owner", text(job.owner)),
        ("lease until", time(job.lease_until)),
        ("finished", time(summary.finished_at)),
        ("last error", text(summary.last_error.as_ref())),
        ("untold", text(job.untold.as_ref())),
    ]);
    if !job.failures.is_empty() {
        println!();
        let failures = job.failures.iter().map(|failure| {
            [
                failure.attempt.to_string(),
                failure.result.clone(),
                text(failure.owner.as_ref()),
                time(failure.started_at),
                time(Some(failure.ended_at)),
                text(failure.error.as_ref()),
            ]
        });
        table(["claim", "result", "by", "started", "ended", "error"], failures);
    }
    Ok(())
}

pub(super) fn stats(lanes: &[LaneReading], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&lanes);
    }
    let rows = lanes.iter().map(|lane| {
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
    });
    table(
        [
            "lane",
            "ready",
            "scheduled",
            "running",
            "dead",
            "untold",
            "oldest ready",
            "blocked",
        ],
        rows,
    );
    Ok(())
}

pub(super) fn payments(payments: &[InReview], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&payments);
    }
    let rows = payments.iter().map(|payment| {
        [
            payment.id.clone(),
            payment.request_id.to_string(),
            payment.status.clone(),
            text(payment.bank_status.as_ref()),
            text(payment.payment_id.as_ref()),
            time(Some(payment.created_at)),
            text(payment.why.as_ref()),
        ]
    });
    table(
        [
            "id",
            "X-Request-ID",
            "status",
            "bank status",
            "id at the bank",
            "created",
            "why",
        ],
        rows,
    );
    Ok(())
}

pub(super) fn newest(payments: &[Listed], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&payments);
    }
    listed(payments);
    Ok(())
}

fn listed(payments: &[Listed]) {
    let rows = payments.iter().map(|payment| {
        [
            payment.id.clone(),
            payment.status.clone(),
            text(payment.reason.as_ref()),
            text(payment.bank_status.as_ref()),
            yes(payment.bank_final),
            yes(payment.needs_review),
            time(Some(payment.created_at)),
        ]
    });
    table(
        ["id", "status", "reason", "bank status", "final", "review", "created"],
        rows,
    );
}

pub(super) fn payment(told: &PaymentStory, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(told);
    }
    let payment = &told.payment;
    facts(&[
        ("id", payment.id.clone()),
        ("user", payment.user.clone()),
        ("account", payment.account.clone()),
        ("X-Request-ID", payment.request_id.to_string()),
        ("id at bank", text(payment.payment_id.as_ref())),
        ("product", payment.product.clone()),
        ("status", payment.status.clone()),
        ("reason", text(payment.reason.as_ref())),
        ("bank status", text(payment.bank_status.as_ref())),
        ("bank final", yes(payment.bank_final)),
        ("review", yes(payment.needs_review)),
        ("cancellation", text(payment.cancellation.as_ref())),
        ("created", time(Some(payment.created_at))),
        ("updated", time(Some(payment.updated_at))),
        ("send until", time(Some(payment.expires_at))),
        ("approve by", time(payment.sca_deadline)),
    ]);
    println!();
    moments(&told.story);
    Ok(())
}

pub(super) fn login(told: &LoginStory, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(told);
    }
    if let Some(login) = &told.login {
        facts(&[
            ("id", told.id.clone()),
            ("channel", login.channel.clone()),
            ("status", login.status.clone()),
            ("failure", text(login.failure.as_ref())),
            ("user", text(login.user.as_ref())),
            ("began", time(Some(login.created_at))),
            ("until", time(Some(login.expires_at))),
        ]);
        println!();
    }
    moments(&told.story);
    Ok(())
}

fn moments(story: &[Moment]) {
    let rows = story.iter().map(|moment| {
        [
            time(Some(moment.at)),
            moment.actor.clone(),
            moment.what.clone(),
            text(moment.job),
            moment.detail.to_string(),
        ]
    });
    table(["at", "who", "what", "job", "detail"], rows);
}

pub(super) fn person(told: &PersonStory, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(told);
    }
    let person = &told.person;
    facts(&[
        ("id", told.id.clone()),
        ("check", person.kyc_status.clone()),
        ("first login", time(Some(person.created_at))),
        ("erased", time(person.erased_at)),
        ("legal hold", time(person.held_at)),
    ]);
    println!();
    let applicants = person.applicants.iter().map(|applicant| {
        [
            applicant.id.clone(),
            applicant.level.clone(),
            applicant.status.clone(),
            text(applicant.last_decision.as_ref()),
            time(applicant.last_event_at),
            time(applicant.status_read_at),
            word(applicant.failure.as_deref()),
        ]
    });
    table(
        ["applicant", "level", "status", "last word", "said", "asked", "failure"],
        applicants,
    );
    println!();
    let decisions = person.decisions.iter().map(|decided| {
        [
            time(Some(decided.provider_at)),
            decided.result.clone(),
            time(Some(decided.created_at)),
            decided.event.clone(),
        ]
    });
    table(["decided", "result", "applied", "by event"], decisions);
    println!();
    let log = person.log.iter().map(|row| {
        [
            time(Some(row.at)),
            row.actor.clone(),
            row.action.clone(),
            row.object.clone(),
            row.detail.to_string(),
        ]
    });
    table(["at", "who", "what", "on", "detail"], log);
    println!();
    listed(&told.payments);
    Ok(())
}

pub(super) fn webhooks(events: &[Summary], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&events);
    }
    let rows = events.iter().map(|event| {
        [
            event.id.clone(),
            word(event.event_type.as_deref()),
            event.state.clone(),
            time(Some(event.received_at)),
            word(event.applicant_id.as_deref()),
            text(event.note.as_ref()),
        ]
    });
    table(["id", "type", "state", "received", "applicant", "note"], rows);
    Ok(())
}

pub(super) fn webhook(event: &Detail, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(event);
    }
    let summary = &event.summary;
    facts(&[
        ("id", summary.id.clone()),
        ("type", word(summary.event_type.as_deref())),
        ("state", summary.state.clone()),
        ("note", text(summary.note.as_ref())),
        ("applicant", word(summary.applicant_id.as_deref())),
        ("user", word(event.external_user_id.as_deref())),
        ("received", time(Some(summary.received_at))),
        ("applied", time(summary.applied_at)),
        ("body", word(event.body.as_deref())),
    ]);
    if !event.jobs.is_empty() {
        println!();
        let rows = event.jobs.iter().map(|job| {
            let error = text(job.last_error.as_ref());
            [job.id.to_string(), job.state.clone(), job.attempts.to_string(), error]
        });
        table(["job", "state", "attempts", "last error"], rows);
    }
    Ok(())
}

pub(super) fn cases(cases: &[Case], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&cases);
    }
    let rows = cases.iter().map(|case| {
        [
            case.id.clone(),
            case.user.clone(),
            word(Some(&case.applicant_id)),
            time(Some(case.opened_at)),
            text(case.finding.as_ref()),
            word(Some(&case.reject_labels.join(" "))),
        ]
    });
    table(["id", "user", "applicant", "opened", "finding", "labels"], rows);
    Ok(())
}

pub(super) fn circuits(circuits: &[Standing], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&circuits);
    }
    let rows = circuits.iter().map(|circuit| {
        [
            circuit.key.clone(),
            if circuit.open { "open" } else { "closed" }.to_owned(),
            time(circuit.opened_at.or(circuit.closed_at)),
            time(circuit.retry_at),
            format!("{}/{}", circuit.failures, circuit.threshold),
        ]
    });
    table(["circuit", "state", "since", "next probe", "failures"], rows);
    Ok(())
}

pub(super) fn transitions(transitions: &[Transition], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&transitions);
    }
    let rows = transitions
        .iter()
        .map(|one| [time(Some(one.at)), one.key.clone(), one.became.clone()]);
    table(["at", "circuit", "became"], rows);
    Ok(())
}

pub(super) fn schedules(schedules: &[schedule::Standing], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&schedules);
    }
    let rows = schedules.iter().map(|schedule| {
        [
            schedule.name.clone(),
            schedule.cron.clone(),
            time(schedule.last),
            time(Some(schedule.next)),
            schedule.taken.to_string(),
            schedule.skipped.to_string(),
        ]
    });
    table(["name", "cron", "last", "next", "taken in 24 h", "skipped"], rows);
    Ok(())
}

/// What somebody else wrote: nothing in it can move the cursor of whoever reads it.
fn word(text: Option<&str>) -> String {
    text.unwrap_or_default().escape_debug().to_string()
}

/// For whoever must look into one case; there is no table of it.
pub(super) fn kept(kept: Vec<Kept>) -> anyhow::Result<()> {
    let kept = kept.into_iter().map(|one| {
        serde_json::json!({ "class": one.class, "record": one.record, "retention_until": time(Some(one.retention_until)) })
    });
    print_json(&kept.collect::<Vec<_>>())
}

pub(super) fn erased(erased: &[Erased], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&erased);
    }
    let rows = erased
        .iter()
        .map(|one| [one.user.clone(), time(Some(one.erased_at)), one.waits_for.join(" ")]);
    table(["user", "erased", "waits for"], rows);
    Ok(())
}

/// Somebody whom the database does not know.
pub(super) fn unknown(user: UserId) {
    println!("there is no {user}");
}

pub(super) fn changed(count: usize, action: &str) {
    println!("{action}: {count}");
}

/// What was sealed anew in each column, and what is left.
pub(super) fn resealed(columns: &[(String, u64, i64)]) {
    let rows = columns
        .iter()
        .map(|(column, resealed, left)| [column.clone(), resealed.to_string(), left.to_string()]);
    table(["column", "sealed anew", "left"], rows);
}

/// What was found out, a line each.
pub(super) fn lines(lines: &[String]) {
    for line in lines {
        println!("{line}");
    }
}

/// Cases that keep what is left of their person where it is.
pub(super) fn open_cases(cases: &[AmlCaseId]) {
    for case in cases {
        println!("{case} is open: nothing is moved until it is closed");
    }
}

fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// What is known of one thing, a line each.
fn facts(facts: &[(&str, String)]) {
    for (what, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        println!("{what:<12} {value}");
    }
}

fn yes(it_is: bool) -> String {
    if it_is { "yes" } else { "no" }.to_owned()
}

fn text(value: Option<impl Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn time(at: Option<DateTime<Utc>>) -> String {
    at.map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
        .unwrap_or_default()
}

/// Columns as wide as their widest value; the last one may run on.
fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
