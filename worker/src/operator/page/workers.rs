//! The processes that run jobs: when they were last heard of, their leases, slots and restarts, and keeping one from claiming.

use chrono::{DateTime, Utc};
use drop_common::queue::processes::{self, Load, Process};
use maud::{Markup, html};
use poem::{Response, handler};
use uuid::Uuid;

use super::{
    form::Act,
    layout::{self, badge},
    session::Look,
    stop::Stop,
};
use crate::operator::actions::workers;

#[handler]
pub(super) async fn show(look: Look) -> Result<Response, Stop> {
    let processes = processes::all(&look.page.context.db).await?;
    let now = look.page.context.clock.now();
    let body = html! {
        h1 { "Workers" }
        p.quiet { "A quiet worker claims nothing more, within some seconds; what it runs goes on. It is so until somebody lets it go on, or it ends." }
        (list(&look, &processes, look.who.may_change()))
        @for process in processes.iter().filter(|process| !process.lanes.is_empty()) { (lanes(process, now)) }
    };
    Ok(layout::page(&look, "/operator/workers", "Workers", &body))
}

/// The processes in short, with forms for whoever may change something here.
pub(super) fn list(look: &Look, processes: &[Process], may_change: bool) -> Markup {
    let now = look.page.context.clock.now();
    let rows: Vec<Vec<Markup>> = processes
        .iter()
        .map(|process| {
            let sum = |of: fn(&Load) -> i64| process.lanes.values().map(of).sum::<i64>();
            let restarts = sum(|load| load.restarts);
            let mut row = vec![
                html! { code.whole { (short(process.owner)) } },
                html! {
                    (state(process))
                    @if let (Some(by), Some(because)) = (&process.quiet_by, &process.quiet_because) { " " (because) span.quiet { " · " (by) } }
                },
                layout::maybe(process.started_at, now),
                layout::maybe(process.seen_at, now),
                html! { (process.leases) },
                layout::maybe(process.lease_until, now),
                html! { (sum(|load| load.running)) " of " (sum(|load| load.slots)) },
                html! { @if restarts > 0 { (badge("warn", &restarts.to_string())) } @else { "0" } },
            ];
            if may_change {
                row.push(action(look, process));
            }
            row
        })
        .collect();
    let mut head = vec![
        "Worker",
        "State",
        "Started",
        "Last heard of",
        "Leases",
        "First ends",
        "Slots taken",
        "Restarts",
    ];
    if may_change {
        head.push("Change");
    }
    layout::table(
        &head,
        &rows,
        "No worker is known. Those of an older release tell nothing of themselves.",
    )
}

/// Enough of a process's id to tell it from the others.
fn short(owner: Uuid) -> String {
    owner.simple().to_string()[..12].to_owned()
}

fn state(process: &Process) -> Markup {
    if process.is_missing {
        badge("bad", "not heard of")
    } else {
        match (process.quiet_since.is_some(), process.is_quiet) {
            (true, true) => badge("warn", "quiet"),
            (true, false) => badge("warn", "will be quiet"),
            (false, true) => badge("warn", "will go on"),
            (false, false) => badge("good", "claims"),
        }
    }
}

fn action(look: &Look, process: &Process) -> Markup {
    let name = short(process.owner);
    let is_quiet = process.quiet_since.is_some();
    html! {
        @if process.started_at.is_some() {
            details {
                summary { @if is_quiet { "Let go on " } @else { "Quiet " } span.hidden { (name) } }
                form.action method="post" action="/operator/workers/quiet" {
                    input type="hidden" name="owner" value=(process.owner);
                    input type="hidden" name="quiet" value=(!is_quiet);
                    (layout::because(look, "/operator/workers"))
                    div.buttons {
                        @if is_quiet { button.primary type="submit" { "Let " (name) " go on" } }
                        @else { button.danger type="submit" { "Quiet " (name) } }
                    }
                }
            }
        }
    }
}

fn lanes(process: &Process, now: DateTime<Utc>) -> Markup {
    let name = short(process.owner);
    let rows: Vec<Vec<Markup>> = process
        .lanes
        .iter()
        .map(|(lane, load)| {
            vec![
                html! { (lane) },
                html! { (load.running) " of " (load.slots) },
                html! { @if load.restarts > 0 { (badge("warn", &load.restarts.to_string())) } @else { "0" } },
            ]
        })
        .collect();
    html! {
        section aria-labelledby=(name) {
            h2 id=(name) { "Lanes of " code { (name) } }
            @if let Some(oldest) = process.oldest { p.quiet { "Its longest job since " (layout::moment(oldest, now)) "." } }
            (layout::table(&["Lane", "Slots taken", "Restarts"], &rows, "It serves no lane."))
        }
    }
}

#[handler]
pub(super) async fn quiet(act: Act) -> Result<Response, Stop> {
    let owner = act.form.parsed("owner").ok_or(Stop::NotFound)?;
    let quiet = act
        .form
        .parsed("quiet")
        .ok_or(Stop::Unusable("It is not said what is to be done."))?;
    workers::set_quiet(&act.page.context.db, owner, quiet, &act.by).await?;
    Ok(act.done(if quiet { "worker.quieted" } else { "worker.resumed" }, 1))
}
