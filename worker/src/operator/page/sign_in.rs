//! Signing in with a token, and out.

use std::time::Duration;

use drop_common::{
    metrics::OPERATOR_ACTIONS,
    resilience::limits::{self, Limit},
    storage::audit::{self, Actor, Entry},
};
use maud::html;
use poem::{
    Body, IntoResponse, Request, Response, handler,
    http::{StatusCode, header},
};
use serde_json::json;

use super::{Page, form, layout, session, stop::Stop};

/// So many tokens from one address may be nobody's, within [`WINDOW`]. A token is long and random: this keeps the log readable,
/// and tells of whoever tries.
const TRIES: u16 = 10;
const WINDOW: Duration = Duration::from_mins(5);

#[handler]
pub(super) async fn show(request: &Request) -> Result<Response, Stop> {
    if session::identify(request, &session::page(request)).await?.is_some() {
        return Ok(to("/operator"));
    }
    Ok(page(StatusCode::OK, None))
}

fn page(status: StatusCode, wrong: Option<&str>) -> Response {
    let body = html! {
        section.sign-in {
            h1 { "Operators" }
            @if let Some(wrong) = wrong { p.notice.bad role="alert" { (wrong) } }
            form method="post" action="/operator/sign-in" {
                label for="token" { "Your token" }
                input #token type="password" name="token" autocomplete="current-password" required autofocus;
                button.primary type="submit" { "Sign in" }
            }
            p.quiet { "Whoever signs in, and all that they do, is written into the audit log." }
        }
    };
    layout::bare(status, "Sign in", &body)
}

#[handler]
pub(super) async fn sign_in(request: &Request, body: Body) -> Result<Response, Stop> {
    let shared = session::page(request);
    form::is_ours(request)?;
    let form = form::read(body).await?;
    let from = request
        .remote_addr()
        .as_socket_addr()
        .map(|peer| peer.ip().to_canonical());
    let key = format!("operator.sign_in:{}", from.map(|ip| ip.to_string()).unwrap_or_default());
    let mut tx = shared.context.db.begin().await?;
    let limit = limits::hit(&mut tx, &key, TRIES, WINDOW).await?;
    tx.commit().await?;
    if let Limit::RetryAfter(seconds) = limit {
        tracing::warn!("nobody may sign in to the operators' page from an address that tried too often");
        return Ok(page(
            StatusCode::TOO_MANY_REQUESTS,
            Some("Too many tokens were nobody's. Wait some minutes."),
        )
        .with_header(header::RETRY_AFTER, seconds.to_string())
        .into_response());
    }
    let found = form.get("token").and_then(|token| session::sign_in(token, &shared));
    let Some((cookie, name)) = found else {
        tracing::warn!("somebody tried to sign in to the operators' page with a token that is nobody's");
        return Ok(page(StatusCode::FORBIDDEN, Some("That token is nobody's.")));
    };
    // Whoever has a token has not been guessing.
    limits::forget(&shared.context.db, &key).await?;
    note(&shared, &name).await?;
    request.cookie().add(cookie);
    Ok(to("/operator"))
}

async fn note(page: &Page, name: &str) -> Result<(), Stop> {
    let mut tx = page.context.db.begin().await?;
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
    let who = session::identify(request, &shared).await?.ok_or(Stop::SignIn)?;
    form::is_ours(request)?;
    let form = form::read(body).await?;
    if !form
        .get(form::TOKEN)
        .is_some_and(|token| who.made(token, &shared.context.keys))
    {
        return Err(Stop::Forbidden("This form is not one that the page made for you."));
    }
    session::sign_out(request, &shared, &who).await?;
    Ok(to("/operator/sign-in"))
}

fn to(path: &'static str) -> Response {
    Response::builder()
        .status(StatusCode::SEE_OTHER)
        .header(header::LOCATION, path)
        .finish()
}
