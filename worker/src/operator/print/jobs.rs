//! Jobs, alone and by what they died of.

use chrono::SecondsFormat;
use drop_common::queue::operate::{JobDetail, JobSummary};

use super::{facts, print_json, rows, table, text, time};
use crate::operator::answers::{DeadJobs, WhatItIs};

pub(in crate::operator) fn list(jobs: &[JobSummary], json: bool) -> anyhow::Result<()> {
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

pub(in crate::operator) fn dead(groups: &[DeadJobs], json: bool) -> anyhow::Result<()> {
    let head = [
        "jobs",
        "kind",
        "lane",
        "first",
        "latest",
        "newest",
        "oldest",
        "what followed",
        "error",
    ];
    rows(groups, json, head, |dead| {
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
    })
}

pub(in crate::operator) fn found(what: &WhatItIs, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(what);
    }
    match &what.id {
        Some(id) => println!("{} {id}", what.what),
        None => summaries(&what.jobs),
    }
    Ok(())
}

pub(in crate::operator) fn job(job: &JobDetail, json: bool) -> anyhow::Result<()> {
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
