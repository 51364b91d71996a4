//! One box for every id: a job's number, a payment, a login, an event, a person, a request, or the bank's id of a payment.

use drop_common::{
    domain::ids::{LoginId, PaymentId, UserId, WebhookEventId},
    queue::look,
    storage::payments,
};
use maud::{Markup, html};
use poem::{
    Response, handler,
    http::{StatusCode, header},
};
use uuid::Uuid;

use super::{
    layout::{self, job_state},
    session::Look,
    stop::Stop,
};

#[handler]
pub(super) async fn find(look: Look) -> Result<Response, Stop> {
    let asked = look.query.get("q").unwrap_or_default();
    if let Some(page) = page_of(asked) {
        return Ok(to(&page));
    }
    let db = &look.page.context.db;
    let row = row_of(asked);
    if let Some(payment) = payments::known_as(db, asked, row).await? {
        return Ok(to(&format!("/operator/payments/{payment}")));
    }
    let mut jobs = Vec::new();
    if let Some(row) = row {
        jobs = look::about(db, row).await?;
        jobs.extend(look::of_request(db, row).await?);
    }
    let now = look.page.context.clock.now();
    let rows: Vec<Vec<Markup>> = jobs
        .iter()
        .map(|job| {
            vec![
                html! { a href={ "/operator/jobs/" (job.id) } { (job.id) } },
                html! { (job.kind) },
                job_state(&job.state),
                layout::moment(job.finished_at.unwrap_or(job.run_at), now),
                html! { span.error { (job.last_error.as_deref().unwrap_or_default()) } },
            ]
        })
        .collect();
    let body = html! {
        h1 { "Found for " code { (asked) } }
        (layout::table(&["Job", "Kind", "State", "Ended or due", "Last error"], &rows, "Nothing is known by that id."))
    };
    Ok(layout::page(&look, "", "Found", &body))
}

/// The page of what has one.
fn page_of(asked: &str) -> Option<String> {
    let number = asked.strip_prefix("job_").unwrap_or(asked);
    if let Ok(job) = number.parse::<i64>() {
        return Some(format!("/operator/jobs/{job}"));
    }
    if let Ok(payment) = asked.parse::<PaymentId>() {
        return Some(format!("/operator/payments/{payment}"));
    }
    if let Ok(login) = asked.parse::<LoginId>() {
        return Some(format!("/operator/logins/{login}"));
    }
    if let Ok(event) = asked.parse::<WebhookEventId>() {
        return Some(format!("/operator/webhooks/{event}"));
    }
    asked
        .parse::<UserId>()
        .ok()
        .map(|user| format!("/operator/people/{user}"))
}

/// A row's id, with whichever prefix it is written, or a request's.
fn row_of(asked: &str) -> Option<Uuid> {
    asked.rsplit('_').next()?.parse().ok()
}

fn to(path: &str) -> Response {
    Response::builder()
        .status(StatusCode::SEE_OTHER)
        .header(header::LOCATION, path)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_to_its_page() {
        assert_eq!(page_of("job_12").as_deref(), Some("/operator/jobs/12"));
        let payment = PaymentId::new().to_string();
        assert_eq!(page_of(&payment), Some(format!("/operator/payments/{payment}")));
        assert_eq!(page_of("neonomics-77"), None);
        assert!(row_of("con_0192f0c1a2b37c4d8e5f60718293a4b5").is_some());
    }
}
