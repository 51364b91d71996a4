//! Schedules: their last and next slots, and running one's job now.

use drop_common::storage::schedule;
use maud::{Markup, html};
use poem::{Response, handler};

use super::{
    form::Act,
    layout::{self, badge},
    session::Look,
    stop::Stop,
};
use crate::{operator::actions, schedule::standings};

#[handler]
pub(super) async fn show(look: Look) -> Result<Response, Stop> {
    let db = &look.page.context.db;
    let now = schedule::now(db).await?;
    let schedules = standings(db, now).await?;
    let rows: Vec<Vec<Markup>> = schedules
        .iter()
        .map(|schedule| {
            let mut row = vec![
                html! { strong { (schedule.name) } br; code { (schedule.cron) } },
                layout::maybe(schedule.last, now),
                html! { @if let Some(late) = schedule.late_seconds { (format!("{late:.1} s")) } },
                layout::moment(schedule.next, now),
                html! { (schedule.taken) },
                html! { @if schedule.skipped > 0 { (badge("warn", &schedule.skipped.to_string())) } @else { "0" } },
                html! { a.whole href={ "/operator/jobs?" (layout::encoded(&[("kind", &schedule.kind)])) } { "its jobs" } },
            ];
            if look.who.may_change() {
                row.push(html! {
                    details {
                        summary { "Run now" span.hidden { " " (schedule.name) } }
                        form.action method="post" action="/operator/cron/run" {
                            input type="hidden" name="name" value=(schedule.name);
                            (layout::because(&look, "/operator/cron"))
                            div.buttons { button.primary type="submit" { "Run " (schedule.name) } }
                        }
                    }
                });
            }
            row
        })
        .collect();
    let mut head = vec![
        "Schedule (UTC)",
        "Last slot",
        "Taken after",
        "Next slot",
        "Taken in 24 h",
        "Skipped",
        "Jobs",
    ];
    if look.who.may_change() {
        head.push("Run");
    }
    let body = html! {
        h1 { "Cron" }
        p.quiet { "One worker takes each slot. Slots in which none was up are skipped; at most the last is made up for." }
        (layout::table(&head, &rows, "No schedules."))
    };
    Ok(layout::page(&look, "/operator/cron", "Cron", &body))
}

#[handler]
pub(super) async fn run(act: Act) -> Result<Response, Stop> {
    let name = act.form.get("name").ok_or(Stop::NotFound)?;
    let lane = actions::cron::run_now(&act.page.context.db, name, &act.by).await?;
    act.page.context.wake.signal(lane);
    Ok(act.done("cron.run", 1))
}
