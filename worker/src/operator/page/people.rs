//! Somebody's identity check and payments, by id: when what was decided, and by which event. Not who they are.

use drop_common::{
    domain::ids::UserId,
    storage::{
        kyc_history::{self, Person},
        payments,
    },
};
use maud::{Markup, html};
use poem::{Response, handler, web::Path};

use super::{
    layout::{self, badge},
    session::Look,
    stop::Stop,
};

const A_PAGE: i64 = 20;

#[handler]
pub(super) async fn show(look: Look, Path(id): Path<String>) -> Result<Response, Stop> {
    let user: UserId = id.parse().map_err(|_| Stop::NotFound)?;
    let db = &look.page.context.db;
    let person = kyc_history::of(db, user).await?.ok_or(Stop::NotFound)?;
    let paid = payments::newest(db, Some(user), look.query.parsed("before"), A_PAGE).await?;
    let older = (paid.len() == 20)
        .then(|| {
            paid.last()
                .map(|last| format!("/operator/people/{user}?before={}", last.id))
        })
        .flatten();
    let now = look.page.context.clock.now();
    let body = html! {
        div.title { h1 { "Person " code { (user) } } (decision(&person.kyc_status)) }
        dl.facts {
            dt { "First login" } dd { (layout::moment(person.created_at, now)) }
            @if person.erased_at.is_some() { dt { "Erased" } dd { (layout::maybe(person.erased_at, now)) } }
            @if person.held_at.is_some() { dt { "Legal hold" } dd { (layout::maybe(person.held_at, now)) } }
        }
        (history(&look, &person))
        section aria-labelledby="payments" {
            h2 #payments { "Newest payments" }
            (super::payments::list(&look, &paid))
            (layout::older(older))
        }
    };
    Ok(layout::page(&look, "", "Person", &body))
}

fn decision(word: &str) -> Markup {
    let colour = match word {
        "approved" => "good",
        "rejected" => "bad",
        _ => "warn",
    };
    badge(colour, word)
}

fn history(look: &Look, person: &Person) -> Markup {
    let now = look.page.context.clock.now();
    let applicants: Vec<Vec<Markup>> = person
        .applicants
        .iter()
        .map(|applicant| {
            vec![
                html! { code { (applicant.id) } },
                html! { (applicant.level) },
                html! { (applicant.status) @if let Some(failure) = &applicant.failure { " " span.error { (failure) } } },
                html! { @if let Some(word) = &applicant.last_decision { (decision(word)) } @else { "–" } },
                layout::maybe(applicant.last_event_at, now),
                layout::maybe(applicant.review_began_at, now),
                layout::maybe(applicant.status_read_at, now),
            ]
        })
        .collect();
    let decisions: Vec<Vec<Markup>> = person
        .decisions
        .iter()
        .map(|decided| {
            vec![
                decision(&decided.result),
                layout::moment(decided.provider_at, now),
                layout::moment(decided.created_at, now),
                html! { a href={ "/operator/webhooks/" (decided.event) } { code { (decided.event) } } },
            ]
        })
        .collect();
    let log: Vec<Vec<Markup>> = person
        .log
        .iter()
        .filter_map(|row| {
            let detail = super::audit::told(look, &row.action, &row.detail)?;
            Some(vec![
                layout::moment(row.at, now),
                html! { (row.actor) },
                html! { strong { (row.action) } },
                html! { code { (row.object) } },
                super::payment::detail(&detail),
            ])
        })
        .collect();
    html! {
        section aria-labelledby="checks" {
            h2 #checks { "Identity check" }
            (layout::table(&["Applicant", "Level", "Status", "Last word", "Said", "Under review since", "Asked"], &applicants, "No check has begun."))
        }
        section aria-labelledby="decisions" {
            h2 #decisions { "Decisions" }
            (layout::table(&["Result", "Decided", "Applied", "By event"], &decisions, "Nothing was decided yet."))
        }
        section aria-labelledby="log" {
            h2 #log { "What was written down" }
            (layout::table(&["When", "Who", "What", "On", "Detail"], &log, "Nothing."))
        }
    }
}
