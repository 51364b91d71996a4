//! Signing in with a token, and out.

use drop_common::{
    metrics::OPERATOR_ACTIONS,
    storage::{
        self,
        audit::{self, Actor, Entry},
    },
};
use maud::html;
use poem::{
    Body, IntoResponse, Request, Response, handler,
    http::{StatusCode, header},
};
use serde_json::json;

use super::{
    Page,
    form::{self, Fields},
    layout, session,
    stop::Stop,
};
use crate::operator::token::{self, Nobodys};

/// Where somebody signs in.
pub(super) const SIGN_IN: &str = "/operator/sign-in";
/// Which page they wanted to see, in the query and in the form.
pub(super) const WANTED: &str = "to";
/// An address that is longer is forgotten: it comes from a link that anybody may have made, and stands in a header.
const LONGEST_WANTED: usize = 1_000;

#[handler]
pub(super) async fn show(request: &Request) -> Result<Response, Stop> {
    let query = Fields::parse(request.uri().query().unwrap_or_default().as_bytes());
    if session::identify(request, &session::page(request)).await?.is_some() {
        return Ok(to(wanted(&query)));
    }
    // Who follows a link from another site is without their cookie, which is strict. What our own page leads to has it.
    if request.header("sec-fetch-site") == Some("cross-site") {
        return Ok(layout::onward(wanted(&query)));
    }
    Ok(page(StatusCode::OK, wanted(&query), None))
}

/// Whether somebody may be led to this address after they signed in.
pub(super) fn may_be_wanted(address: &str) -> bool {
    address.len() <= LONGEST_WANTED && form::is_page(address)
}

/// One of our pages, whatever the link says that brought them here.
fn wanted(fields: &Fields) -> &str {
    fields
        .get(WANTED)
        .filter(|path| may_be_wanted(path))
        .unwrap_or("/operator")
}

fn page(status: StatusCode, wanted: &str, wrong: Option<&str>) -> Response {
    let body = html! {
        section.sign-in {
            h1 { "Operators" }
            @if let Some(wrong) = wrong { p.notice.bad role="alert" { (wrong) } }
            form method="post" action=(SIGN_IN) {
                input type="hidden" name=(WANTED) value=(wanted);
                label for="token" { "Your token" }
                input #token type="password" name="token" autocomplete="current-password" required autofocus;
                button.primary type="submit" { "Sign in" }
            }
            p.quiet { "Whoever signs in, and all that they change, is written into the audit log." }
        }
    };
    layout::bare(status, "Sign in", &body)
}

#[handler]
pub(super) async fn sign_in(request: &Request, body: Body) -> Result<Response, Stop> {
    let shared = session::page(request);
    form::is_ours(request)?;
    let form = form::read(body).await?;
    let token = form.get("token").unwrap_or_default();
    let holder = match token::holder(token, request, &shared.context).await {
        Ok(holder) => holder,
        Err(Nobodys::Wrong) => {
            return Ok(page(
                StatusCode::FORBIDDEN,
                wanted(&form),
                Some("That token is nobody's."),
            ));
        }
        Err(Nobodys::TooMany(seconds)) => {
            let wait = "Too many tokens were nobody's. Wait some minutes.";
            let refused = page(StatusCode::TOO_MANY_REQUESTS, wanted(&form), Some(wait));
            return Ok(refused
                .with_header(header::RETRY_AFTER, seconds.to_string())
                .into_response());
        }
        Err(Nobodys::Failed(error)) => return Err(error.into()),
    };
    note(&shared, &holder.name).await?;
    request.cookie().add(session::begin(holder, &shared));
    Ok(to(wanted(&form)))
}

async fn note(page: &Page, name: &str) -> Result<(), Stop> {
    let mut tx = storage::begin(&page.context.db).await?;
    let entry = Entry {
        actor: Actor::Operator,
        user: None,
        action: "operator.signed_in",
        object: name.to_owned(),
        detail: json!({ "operator": name }),
        request_id: None,
    };
    audit::record(&mut tx, entry).await?;
    tx.commit().await?;
    page.context.metrics.count(&OPERATOR_ACTIONS, &["operator.signed_in"]);
    Ok(())
}

/// Whoever may look may also leave; the form is ours all the same.
#[handler]
pub(super) async fn sign_out(request: &Request, body: Body) -> Result<Response, Stop> {
    let shared = session::page(request);
    let who = session::identify(request, &shared).await?.ok_or(Stop::SignIn(None))?;
    form::is_ours(request)?;
    let form = form::read(body).await?;
    if !form
        .get(form::TOKEN)
        .is_some_and(|token| who.made(token, &shared.context.keys))
    {
        return Err(Stop::Forbidden("This form is not one that the page made for you."));
    }
    session::sign_out(request, &shared, &who).await?;
    Ok(to(SIGN_IN))
}

fn to(path: &str) -> Response {
    Response::builder()
        .status(StatusCode::SEE_OTHER)
        .header(header::LOCATION, path)
        .finish()
}
