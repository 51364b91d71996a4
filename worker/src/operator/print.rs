//! Results as tables for people or JSON for programs.
#![expect(clippy::print_stdout, reason = "these commands are run to be read")]

use std::fmt::Display;

use chrono::{DateTime, SecondsFormat, Utc};
use drop_common::{
    domain::ids::{AmlCaseId, UserId},
    queue::{
        gauges::LaneReading,
        operate::{JobDetail, JobSummary},
    },
    resilience::breaker_hand::{Standing, Transition},
    storage::{
        aml_cases::Case,
        erasure::Erased,
        inbox::{Detail, Summary},
        payments::{Event, InReview},
        retention::Kept,
    },
};
use serde::Serialize;

use crate::schedule;

pub(super) fn list(jobs: &[JobSummary], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&jobs);
    }
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
    Ok(())
}

pub(super) fn job(job: &JobDetail, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(job);
    }
    let summary = &job.summary;
    let rows = [
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
    ];
    for (what, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        println!("{what:<12} {value}");
    }
    if !job.failures.is_empty() {
        println!();
        let failures = job.failures.iter().map(|failure| {
            [
                failure.attempt.to_string(),
                failure.result.clone(),
                time(failure.started_at),
                time(Some(failure.ended_at)),
                text(failure.error.as_ref()),
            ]
        });
        table(["claim", "result", "started", "ended", "error"], failures);
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
            if lane.blocked { "yes" } else { "no" }.to_owned(),
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

pub(super) fn history(events: &[Event], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&events);
    }
    let rows = events.iter().map(|event| {
        [
            time(Some(event.at)),
            event.actor.clone(),
            event.what.clone(),
            event.detail.to_string(),
        ]
    });
    table(["at", "who", "what", "detail"], rows);
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
    let rows = [
        ("id", summary.id.clone()),
        ("type", word(summary.event_type.as_deref())),
        ("state", summary.state.clone()),
        ("note", text(summary.note.as_ref())),
        ("applicant", word(summary.applicant_id.as_deref())),
        ("user", word(event.external_user_id.as_deref())),
        ("received", time(Some(summary.received_at))),
        ("applied", time(summary.applied_at)),
        ("body", word(event.body.as_deref())),
    ];
    for (what, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        println!("{what:<12} {value}");
    }
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
            schedule.name.to_owned(),
            schedule.cron.to_owned(),
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
