//! Lanes: pausing them with a reason and an end, and letting them go on.

use std::time::Duration;

use drop_common::queue::{
    Lane,
    look::{self, LaneStanding},
};
use maud::{Markup, html};
use poem::{Response, handler};

use super::{
    form::Act,
    layout::{self, badge},
    session::Look,
    stop::Stop,
};
use crate::operator::actions::lanes;

/// What is sent for a pause without an end. One that is not said has none by mistake.
const UNTIL_RESUMED: &str = "until-resumed";
/// For how long a lane may be paused, in minutes.
const ENDS: [(&str, &str); 5] = [
    ("15", "15 minutes"),
    ("60", "1 hour"),
    ("240", "4 hours"),
    ("1440", "a day"),
    (UNTIL_RESUMED, "until somebody resumes it"),
];

#[handler]
pub(super) async fn show(look: Look) -> Result<Response, Stop> {
    let standings = look::lanes(&look.page.context.db).await?;
    let now = look.page.context.clock.now();
    let rows: Vec<Vec<Markup>> = standings
        .iter()
        .map(|lane| {
            let mut row = vec![
                html! { a href={ "/operator/jobs?" (layout::encoded(&[("lane", lane.lane.name())])) } { (lane.lane.name()) } },
                state(Some(lane)),
                html! {
                    @if let Some(until) = lane.paused_until.or(lane.throttled_until) { (layout::moment(until, now)) }
                    @else if lane.closed_since.is_some() { "it is opened" }
                    @else if lane.paused { "somebody resumes it" }
                    @else { span.quiet { "–" } }
                },
                html! {
                    @if let Some(since) = lane.closed_since { "a restore; closed since " (layout::moment(since, now)) }
                    @else if lane.paused { (lane.paused_because.as_deref().unwrap_or("–")) @if let Some(by) = &lane.paused_by { span.quiet { " · " (by) } } }
                    @else if lane.throttled_until.is_some() { span.quiet { "the provider asked for it" } }
                },
                html! { @if let Some(breaker) = &lane.breaker { a href="/operator/breakers" { (breaker) } } @else { span.quiet { "–" } } },
            ];
            if look.who.may_change() {
                row.push(actions(&look, lane));
            }
            row
        })
        .collect();
    let mut head = vec!["Lane", "State", "Until", "Because", "Circuit"];
    if look.who.may_change() {
        head.push("Change");
    }
    let body = html! {
        h1 { "Lanes" }
        p.quiet { "Nothing is claimed from a paused lane, by any worker. What runs goes on; what waits, waits." }
        (layout::table(&head, &rows, "No lanes."))
    };
    Ok(layout::page(&look, "/operator/lanes", "Lanes", &body))
}

/// How a lane stands.
pub(super) fn state(standing: Option<&LaneStanding>) -> Markup {
    match standing {
        None => badge("neutral", "not known"),
        Some(lane) if lane.closed_since.is_some() => badge("bad", "closed"),
        Some(lane) if lane.paused => badge("bad", "paused"),
        Some(lane) if lane.circuit_open => badge("bad", "circuit open"),
        Some(lane) if lane.throttled_until.is_some() => badge("warn", "throttled"),
        Some(_) => badge("good", "runs"),
    }
}

fn actions(look: &Look, lane: &LaneStanding) -> Markup {
    let name = lane.lane.name();
    // Neither a pause nor its end: the banks must tell first what they have.
    if lane.closed_since.is_some() {
        return html! { code { "drop-worker restored open" } };
    }
    html! {
        details {
            summary { @if lane.paused { "Resume " } @else { "Pause " } span.hidden { (name) } }
            @if lane.paused {
                form.action method="post" action="/operator/lanes/resume" {
                    input type="hidden" name="lane" value=(name);
                    (layout::because(look, "/operator/lanes"))
                    div.buttons { button.primary type="submit" { "Resume " (name) } }
                }
            } @else {
                form.action method="post" action="/operator/lanes/pause" {
                    input type="hidden" name="lane" value=(name);
                    label { span { "For" }
                        select name="minutes" { @for (minutes, length) in ENDS { option value=(minutes) { (length) } } }
                    }
                    (layout::because(look, "/operator/lanes"))
                    div.buttons { button.danger type="submit" { "Pause " (name) } }
                }
            }
        }
    }
}

fn lane(act: &Act) -> Result<Lane, Stop> {
    act.form.get("lane").and_then(Lane::from_name).ok_or(Stop::NotFound)
}

#[handler]
pub(super) async fn pause(act: Act) -> Result<Response, Stop> {
    let lasting = match act.form.get("minutes") {
        None => return Err(Stop::Unusable("It is not said for how long.")),
        Some(UNTIL_RESUMED) => None,
        Some(minutes) => match minutes.parse() {
            Ok(minutes @ 1..=10_080) => Some(Duration::from_mins(minutes)),
            _ => return Err(Stop::Unusable("That is no length of a pause.")),
        },
    };
    lanes::pause(&act.page.context.db, lane(&act)?, lasting, &act.by).await?;
    Ok(act.done("lane.paused", 1))
}

#[handler]
pub(super) async fn resume(act: Act) -> Result<Response, Stop> {
    let lane = lane(&act)?;
    lanes::resume(&act.page.context.db, lane, &act.by).await?;
    act.page.context.wake.signal(lane);
    Ok(act.done("lane.resumed", 1))
}
