//! One job: every failed attempt, its times, who has it, what it is about, and what follows from its death.

use drop_common::{
    domain::ids::{LoginId, NotificationId, PaymentId, WebhookEventId},
    queue::operate::{self, JobDetail},
};
use maud::{Markup, html};
use poem::{Response, handler, web::Path};
use serde_json::Value;
use uuid::Uuid;

use super::{
    layout::{self, job_state},
    session::Look,
    stop::Stop,
};
use crate::operator::answers::consequence;

#[handler]
pub(super) async fn show(look: Look, Path(id): Path<i64>) -> Result<Response, Stop> {
    let job = operate::show(&look.page.context.db, id).await?.ok_or(Stop::NotFound)?;
    let title = format!("Job {id}");
    let body = html! {
        div.title { h1 { (title) } (job_state(&job.summary.state)) }
        (facts(&look, &job))
        (attempts(&look, &job))
        @if look.who.may_change() { (actions(&look, &job)) }
    };
    Ok(layout::page(&look, "/operator/jobs", &title, &body))
}

fn facts(look: &Look, job: &JobDetail) -> Markup {
    let now = look.page.context.clock.now();
    let summary = &job.summary;
    html! {
        dl.facts {
            dt { "Kind" } dd { (summary.kind) }
            dt { "Lane" } dd { (summary.lane) }
            dt { "About" } dd { (payload(&job.payload)) }
            @if let Some(key) = &job.unique_key { dt { "Key" } dd { code { (key) } } }
            @if let Some(request) = job.request_id {
                dt { "Request" } dd { a href={ "/operator/find?" (layout::encoded(&[("q", &request.to_string())])) } { code { (request) } } }
            }
            dt { "Attempts" } dd { (summary.attempts) " of " (summary.max_attempts) }
            dt { "Enqueued" } dd { (layout::moment(job.created_at, now)) }
            dt { "May start" } dd { (layout::moment(summary.run_at, now)) }
            @if job.expires_at.is_some() { dt { "Of no use after" } dd { (layout::maybe(job.expires_at, now)) } }
            @if let Some(owner) = job.owner { dt { "Run by" } dd { code { (owner) } } }
            @if job.lease_until.is_some() { dt { "Lease ends" } dd { (layout::maybe(job.lease_until, now)) } }
            @if summary.finished_at.is_some() { dt { "Ended" } dd { (layout::maybe(summary.finished_at, now)) } }
            @if let Some(error) = &summary.last_error { dt { "Last error" } dd.error { (error) } }
            @if let Some(untold) = &job.untold { dt { "Untold" } dd.error { (untold) } }
            @if matches!(summary.state.as_str(), "dead" | "untold") { dt { "What followed" } dd { (consequence(&summary.kind)) } }
        }
    }
}

/// The ids of a payload; those that have a page lead to it.
fn payload(payload: &Value) -> Markup {
    let Some(members) = payload.as_object().filter(|members| !members.is_empty()) else {
        return html! { span.quiet { "no row" } };
    };
    html! {
        @for (name, value) in members {
            @let id = value.as_str().and_then(|text| text.parse::<Uuid>().ok());
            span.pair {
                (name) " "
                @match (name.as_str(), id) {
                    ("payment", Some(id)) => { @let id = PaymentId::from(id); a href={ "/operator/payments/" (id) } { code { (id) } } },
                    ("login", Some(id)) => { @let id = LoginId::from(id); a href={ "/operator/logins/" (id) } { code { (id) } } },
                    ("event", Some(id)) => { @let id = WebhookEventId::from(id); a href={ "/operator/webhooks/" (id) } { code { (id) } } },
                    ("notification", Some(id)) => code { (NotificationId::from(id)) },
                    (_, Some(id)) => code { (id) },
                    _ => code { (value) },
                }
            }
        }
    }
}

fn attempts(look: &Look, job: &JobDetail) -> Markup {
    let now = look.page.context.clock.now();
    let rows: Vec<Vec<Markup>> = job
        .failures
        .iter()
        .map(|failure| {
            vec![
                html! { (failure.attempt) },
                html! { (failure.result) },
                html! { @if let Some(owner) = failure.owner { code { (owner) } } },
                layout::maybe(failure.started_at, now),
                layout::moment(failure.ended_at, now),
                html! { span.error { (failure.error.as_deref().unwrap_or_default()) } },
            ]
        })
        .collect();
    html! {
        section aria-labelledby="attempts" {
            h2 #attempts { "Failed attempts" }
            (layout::table(&["Claim", "Result", "By", "Started", "Ended", "Error"], &rows, "None has failed."))
        }
    }
}

fn actions(look: &Look, job: &JobDetail) -> Markup {
    let (id, state) = (job.summary.id, job.summary.state.as_str());
    let is_dead = matches!(state, "dead" | "untold");
    html! {
        @if is_dead || state == "ready" {
            form.action method="post" action="/operator/jobs/change" {
                fieldset {
                    legend { "Change this job" }
                    input type="hidden" name="id" value=(id);
                    (layout::because(look, &format!("/operator/jobs/{id}")))
                    div.buttons {
                        button type="submit" name="verb" value="retry" { @if is_dead { "Run again" } @else { "Run now" } }
                        @if state == "dead" { button.danger type="submit" name="verb" value="discard" { "Discard" } }
                        @if state == "ready" { button.danger type="submit" name="verb" value="cancel" { "Cancel" } }
                    }
                    @if state == "ready" { p.quiet { "Cancelled, it is dead within moments, and then " (consequence(&job.summary.kind)) "." } }
                    @if state == "dead" { p.quiet { "Discarded, it is deleted with its history." } }
                }
            }
        }
    }
}
