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

/// What a death of this kind means for the row it is about: what the kind's `on_dead` writes.
pub(super) fn consequence(kind: &str) -> &'static str {
    match kind {
        "check-login" => "the login failed; the person begins again",
        "create-applicant" => "the check could not begin; the person may ask again",
        "create-sdk-token" => "the person got no token, and asks again",
        "apply-kyc-event" => "the event waits in the inbox; replay it",
        "read-kyc-status" | "reconcile-kyc" => "the next slot asks again",
        "deliver-notification" => "the notice was not delivered",
        "start-consent" => "the consent failed; the person links anew",
        "fetch-accounts" => "the consent's accounts are not read",
        "end-consent" => "the bank may not know that the consent is over",
        "ask-to-link" => "the owner was not asked to link again",
        "refresh-balance" => "the refresh failed; the cached balance stands",
        "sync-balance" | "plan-balance-syncs" | "sweep-outbox" | "reconcile-payments" | "prune-jobs" => {
            "the next slot does it"
        }
        "initiate-payment" => "the payment failed if it never left, else a person must look at it",
        "start-authorisation" => "the payment's approval did not begin; it is polled until its deadline",
        "poll-payment" => "the bank is not asked any more, and a person must look at the payment",
        "cancel-payment" => "the bank did not answer the wish to cancel",
        _ => "nothing is known",
    }
}

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
                layout::maybe(failure.started_at, now),
                layout::moment(failure.ended_at, now),
                html! { span.error { (failure.error.as_deref().unwrap_or_default()) } },
            ]
        })
        .collect();
    html! {
        section aria-labelledby="attempts" {
            h2 #attempts { "Failed attempts" }
            (layout::table(&["Claim", "Result", "Started", "Ended", "Error"], &rows, "None has failed."))
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

#[cfg(test)]
mod tests {
    use drop_common::queue::ALL_KINDS;

    use super::consequence;

    #[test]
    fn what_follows_from_its_death_is_told_of_every_kind() {
        for kind in ALL_KINDS {
            assert_ne!(consequence(kind), consequence("?"), "{kind}");
        }
    }
}
