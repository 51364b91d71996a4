//! A login's story in one timeline, across its row, its job and what was written down.

use drop_common::{
    domain::ids::LoginId,
    storage::logins::{self, Standing},
};
use maud::{Markup, html};
use poem::{Response, handler, web::Path};

use super::{
    layout::{self, badge},
    session::Look,
    stop::Stop,
};

#[handler]
pub(super) async fn show(look: Look, Path(id): Path<String>) -> Result<Response, Stop> {
    let id: LoginId = id.parse().map_err(|_| Stop::NotFound)?;
    let db = &look.page.context.db;
    let login = logins::standing_of(db, id).await?;
    let story = logins::story(db, id).await?;
    let Some(first) = story.first() else {
        return Err(Stop::NotFound);
    };
    let body = html! {
        div.title {
            h1 { "Login " code { (id) } }
            @if let Some(login) = &login { (status(&login.status)) }
        }
        @match &login {
            Some(login) => (facts(&look, login)),
            None => p.notice { "Its row is gone, as all are after a quarter of an hour. What was written down beside it is here." },
        }
        section aria-labelledby="story" {
            h2 #story { "Its story" }
            ol.story { @for moment in &story { (super::payment::told(moment, first.at)) } }
        }
    };
    Ok(layout::page(&look, "", "Login", &body))
}

fn facts(look: &Look, login: &Standing) -> Markup {
    let now = look.page.context.clock.now();
    html! {
        dl.facts {
            dt { "Channel" } dd { (login.channel) }
            dt { "Began" } dd { (layout::moment(login.created_at, now)) }
            dt { "May go on until" } dd { (layout::moment(login.expires_at, now)) }
            @if let Some(failure) = &login.failure { dt { "Failed with" } dd { (failure) } }
            @if let Some(user) = &login.user { dt { "Person" } dd { a href={ "/operator/people/" (user) } { code { (user) } } } }
        }
    }
}

fn status(status: &str) -> Markup {
    let colour = match status {
        "succeeded" => "good",
        "failed" => "bad",
        _ => "warn",
    };
    badge(colour, status)
}
