//! The inbox: events by state, one with what was tried, having them applied again, and ending the wait of those that are
//! nobody's. An event's body may name people, so it is not shown; `drop-worker webhooks show` prints it.

use drop_common::{
    domain::ids::WebhookEventId,
    queue::{Job as _, payloads::ApplyKycEvent},
    storage::inbox::{self, Filter, Found, Summary, Waiting},
};
use maud::{Markup, html};
use poem::{Response, handler, web::Path};

use super::{
    form::Act,
    layout::{self, badge, job_state},
    session::Look,
    stop::Stop,
};
use crate::operator::{
    actions::webhooks::{self, Which},
    webhooks::{OPEN, STATES},
};

const A_PAGE: u8 = 50;

#[handler]
pub(super) async fn show(look: Look) -> Result<Response, Stop> {
    let state = look.query.get("state").filter(|state| STATES.contains(state));
    let waits = look.who.may_change() && state.is_some_and(|state| OPEN.contains(&state));
    let filter = Filter {
        state: state.map(str::to_owned),
        event_type: look.query.get("type").map(str::to_owned),
        before: look.query.parsed("before"),
        // What can be replayed at once is counted, though a page lists fewer.
        limit: if waits { webhooks::MOST } else { A_PAGE.into() },
    };
    let found = inbox::search(&look.page.context.db, &filter).await?;
    let (listed, behind) = found.events.split_at(found.events.len().min(A_PAGE.into()));
    let older = if behind.is_empty() {
        found.next
    } else {
        listed.last().and_then(id)
    };
    let body = html! {
        h1 { "Webhooks" }
        nav aria-label="States" { ul.tabs {
            li { a href="/operator/webhooks" aria-current=[state.is_none().then_some("true")] { "all" } }
            @for one in STATES {
                li { a href={ "/operator/webhooks?state=" (one) } aria-current=[(state == Some(one)).then_some("true")] { (one) } }
            }
        } }
        (list(&look, listed, &link(&filter, filter.before)))
        (layout::older(older.map(|older| link(&filter, Some(older)))))
        @if waits && let Some(seen) = seen(&filter, &found) { (all_of_them(&look, &filter, &seen, &found)) }
    };
    Ok(layout::page(&look, "/operator/webhooks", "Webhooks", &body))
}

/// The filter as an address, from this event on.
fn link(filter: &Filter, before: Option<WebhookEventId>) -> String {
    let before = before.map(|id| id.to_string()).unwrap_or_default();
    let pairs = [
        ("state", filter.state.as_deref().unwrap_or_default()),
        ("type", filter.event_type.as_deref().unwrap_or_default()),
        ("before", before.as_str()),
    ];
    format!("/operator/webhooks?{}", layout::encoded(&pairs))
}

fn id(event: &Summary) -> Option<WebhookEventId> {
    event.id.parse().ok()
}

/// What was found, as it can be found again.
fn seen(filter: &Filter, found: &Found) -> Option<Waiting> {
    Some(Waiting {
        state: filter.state.clone()?,
        event_type: filter.event_type.clone(),
        newest: found.events.first().and_then(id)?,
        oldest: found.events.last().and_then(id)?,
    })
}

/// Those between the newest and the oldest that are counted here: what comes meanwhile was not seen by whoever presses the button.
fn all_of_them(look: &Look, filter: &Filter, seen: &Waiting, found: &Found) -> Markup {
    html! {
        form.action method="post" action="/operator/webhooks/replay-all" {
            fieldset {
                legend {
                    "All that are " (seen.state)
                    @if let Some(kind) = &seen.event_type { ", " (kind) }
                    ": " (found.events.len())
                }
                p.quiet {
                    "From the first that is listed here on, at most " (webhooks::MOST) " at a time. Those that were applied are left alone. "
                    @if found.next.is_some() { a href=(link(filter, found.next)) { "Those behind them" } " are not counted." }
                }
                input type="hidden" name="state" value=(seen.state);
                @if let Some(kind) = &seen.event_type { input type="hidden" name="type" value=(kind); }
                input type="hidden" name="newest" value=(seen.newest);
                input type="hidden" name="oldest" value=(seen.oldest);
                (layout::because(look, &link(filter, filter.before)))
                div.buttons { button type="submit" { "Replay all" } }
            }
        }
    }
}

fn state(state: &str) -> Markup {
    let colour = match state {
        "applied" => "good",
        "unmatched" | "quarantined" => "bad",
        "received" => "warn",
        _ => "neutral",
    };
    badge(colour, state)
}

fn list(look: &Look, events: &[Summary], back: &str) -> Markup {
    let now = look.page.context.clock.now();
    let may_change = look.who.may_change();
    let rows: Vec<Vec<Markup>> = events
        .iter()
        .map(|event| {
            let mut row = vec![
                html! { a href={ "/operator/webhooks/" (event.id) } { code { (event.id) } } },
                html! { (event.event_type.as_deref().unwrap_or("–")) },
                state(&event.state),
                layout::moment(event.received_at, now),
                layout::maybe(event.applied_at, now),
                html! { (event.note.as_deref().unwrap_or_default()) },
            ];
            if may_change {
                let label = format!("Event {}", event.id);
                let box_ = html! { input type="checkbox" name="id" value=(event.id) form="selection" aria-label=(label) disabled[event.applied_at.is_some()]; };
                row.insert(0, box_);
            }
            row
        })
        .collect();
    let mut head = vec!["Event", "Type", "State", "Received", "Applied", "Note"];
    if may_change {
        head.insert(0, "Chosen");
    }
    html! {
        (layout::table(&head, &rows, "No event matches."))
        @if may_change && events.iter().any(|event| event.applied_at.is_none()) {
            form.action #selection method="post" action="/operator/webhooks/change" {
                fieldset {
                    legend { "With the chosen" }
                    (layout::because(look, back))
                    (buttons())
                }
            }
        }
    }
}

fn buttons() -> Markup {
    html! {
        div.buttons {
            button type="submit" name="verb" value="replay" { "Replay" }
            button.danger type="submit" name="verb" value="dismiss" { "Dismiss" }
        }
    }
}

#[handler]
pub(super) async fn show_one(look: Look, Path(id): Path<String>) -> Result<Response, Stop> {
    let id: WebhookEventId = id.parse().map_err(|_| Stop::NotFound)?;
    let event = inbox::show(&look.page.context.db, id, ApplyKycEvent::KIND)
        .await?
        .ok_or(Stop::NotFound)?;
    let now = look.page.context.clock.now();
    let summary = &event.summary;
    let rows: Vec<Vec<Markup>> = event
        .jobs
        .iter()
        .map(|job| {
            vec![
                html! { a href={ "/operator/jobs/" (job.id) } { (job.id) } },
                job_state(&job.state),
                html! { (job.attempts) },
                html! { span.error { (job.last_error.as_deref().unwrap_or_default()) } },
            ]
        })
        .collect();
    let body = html! {
        div.title { h1 { "Event " code { (summary.id) } } (state(&summary.state)) }
        dl.facts {
            dt { "Type" } dd { (summary.event_type.as_deref().unwrap_or("–")) }
            dt { "Received" } dd { (layout::moment(summary.received_at, now)) }
            dt { "Applied" } dd { (layout::maybe(summary.applied_at, now)) }
            @if let Some(note) = &summary.note { dt { "Note" } dd { (note) } }
            dt { "Applicant at Sumsub" } dd { code { (summary.applicant_id.as_deref().unwrap_or("–")) } }
            @if let Some(user) = event.external_user_id.as_deref().filter(|user| user.parse::<drop_common::domain::ids::UserId>().is_ok()) {
                dt { "Person" } dd { a href={ "/operator/people/" (user) } { code { (user) } } }
            }
            dt { "Body" } dd.quiet { "may name people: " code { "drop-worker webhooks show " (summary.id) } }
        }
        section aria-labelledby="jobs" {
            h2 #jobs { "Jobs that applied it, or tried to" }
            (layout::table(&["Job", "State", "Attempts", "Last error"], &rows, "None is left."))
        }
        @if look.who.may_change() && summary.applied_at.is_none() {
            form.action method="post" action="/operator/webhooks/change" {
                fieldset {
                    legend { "Change this event" }
                    input type="hidden" name="id" value=(summary.id);
                    (layout::because(&look, &format!("/operator/webhooks/{}", summary.id)))
                    (buttons())
                }
            }
        }
    };
    Ok(layout::page(&look, "/operator/webhooks", "Event", &body))
}

#[handler]
pub(super) async fn change(act: Act) -> Result<Response, Stop> {
    let ids = act.form.all_parsed::<WebhookEventId>("id").unwrap_or_default();
    if ids.is_empty() {
        return Err(Stop::Unusable("No event is chosen."));
    }
    let db = &act.page.context.db;
    match act.form.get("verb") {
        Some("replay") => {
            let replayed = webhooks::replay(db, Which::Ids(ids), &act.by).await?;
            act.page.context.wake.signal(ApplyKycEvent::LANE);
            Ok(act.done("webhook.replayed", replayed))
        }
        Some("dismiss") => {
            webhooks::dismiss(db, &ids, &act.by).await?;
            Ok(act.done("webhook.dismissed", ids.len()))
        }
        _ => Err(Stop::Unusable("It is not said what is to be done.")),
    }
}

#[handler]
pub(super) async fn replay_all(act: Act) -> Result<Response, Stop> {
    let state = act.form.get("state").filter(|state| OPEN.contains(state));
    let unseen = Stop::Unusable("It is not said which events were seen. Load the page anew.");
    let (newest, oldest) = act.form.parsed("newest").zip(act.form.parsed("oldest")).ok_or(unseen)?;
    let seen = Waiting {
        state: state
            .ok_or(Stop::Unusable("Events of that state do not wait."))?
            .to_owned(),
        event_type: act.form.get("type").map(str::to_owned),
        newest,
        oldest,
    };
    let replayed = webhooks::replay(&act.page.context.db, Which::Seen(seen), &act.by).await?;
    act.page.context.wake.signal(ApplyKycEvent::LANE);
    Ok(act.done("webhook.replayed", replayed))
}
