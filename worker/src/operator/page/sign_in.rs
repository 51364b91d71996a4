//! Signing in with a token, and out.

use drop_common::{
    metrics::OPERATOR_ACTIONS,
    storage::audit::{self, Actor, Entry},
};
use maud::html;
use poem::{
    Body, Request, Response, handler,
    http::{StatusCode, header},
};
use serde_json::json;

use super::{Page, form, layout, session, stop::Stop};

#[handler]
pub(super) fn show(request: &Request) -> Response {
    if session::identify(request, &session::page(request)).is_some() {
        return to("/operator");
    }
    page(StatusCode::OK, None)
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
    let found = form.get("token").and_then(|token| session::sign_in(token, &shared));
    let Some((cookie, name)) = found else {
        tracing::warn!("somebody tried to sign in to the operators' page with a token that is nobody's");
        return Ok(page(StatusCode::FORBIDDEN, Some("That token is nobody's.")));
    };
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
    let who = session::identify(request, &shared).ok_or(Stop::SignIn)?;
    form::is_ours(request)?;
    let form = form::read(body).await?;
    if !form
        .get(form::TOKEN)
        .is_some_and(|token| who.made(token, &shared.context.keys))
    {
        return Err(Stop::Forbidden("This form is not one that the page made for you."));
    }
    session::sign_out(request);
    Ok(to("/operator/sign-in"))
}

fn to(path: &'static str) -> Response {
    Response::builder()
        .status(StatusCode::SEE_OTHER)
        .header(header::LOCATION, path)
        .finish()
}
