//! One box for every id: a job's number, a payment, a login, an event, a person, a request, or the bank's id of a payment.

use maud::{Markup, html};
use poem::{
    Response, handler,
    http::{StatusCode, header},
};

use super::{
    layout::{self, job_state},
    session::Look,
    stop::Stop,
};
use crate::operator::answers::{self, Found};

#[handler]
pub(super) async fn find(look: Look) -> Result<Response, Stop> {
    let asked = look.query.get("q").unwrap_or_default();
    let jobs = match answers::find(&look.page.context.db, asked).await? {
        Found::Job(id) => return Ok(to(&format!("/operator/jobs/{id}"))),
        Found::Payment(id) => return Ok(to(&format!("/operator/payments/{id}"))),
        Found::Login(id) => return Ok(to(&format!("/operator/logins/{id}"))),
        Found::Event(id) => return Ok(to(&format!("/operator/webhooks/{id}"))),
        Found::Person(id) => return Ok(to(&format!("/operator/people/{id}"))),
        Found::Jobs(jobs) => jobs,
    };
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

fn to(path: &str) -> Response {
    Response::builder()
        .status(StatusCode::SEE_OTHER)
        .header(header::LOCATION, path)
        .finish()
}
