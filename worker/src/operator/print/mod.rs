//! Results as tables for people or JSON for programs.
#![expect(clippy::print_stdout, reason = "these commands are run to be read")]

mod jobs;
mod payments;
mod people;
mod queue;
mod webhooks;

use std::fmt::Display;

use chrono::{DateTime, SecondsFormat, Utc};
use drop_common::storage::audit::Done;
use serde::Serialize;

pub(super) use self::{
    jobs::{dead, found, job, list},
    payments::{login, newest, payment, payments},
    people::{cases, erased, kept, open_cases, person, unknown},
    queue::{circuits, lanes, processes, schedules, stats, transitions},
    webhooks::{webhook, webhooks},
};

pub(super) fn audit(done: &[Done], json: bool) -> anyhow::Result<()> {
    let head = ["row", "at", "what", "on", "who, why, and what changed"];
    rows(done, json, head, |row| {
        [
            row.id.to_string(),
            time(Some(row.at)),
            row.action.clone(),
            row.object.clone(),
            row.detail.to_string(),
        ]
    })
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

/// A list, a line each, or as JSON.
fn rows<T: Serialize, const N: usize>(
    all: &[T],
    json: bool,
    head: [&str; N],
    row: impl Fn(&T) -> [String; N],
) -> anyhow::Result<()> {
    if json {
        return print_json(&all);
    }
    table(head, all.iter().map(row));
    Ok(())
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

/// What somebody else wrote: nothing in it can move the cursor of whoever reads it.
fn word(text: Option<&str>) -> String {
    text.unwrap_or_default().escape_debug().to_string()
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
