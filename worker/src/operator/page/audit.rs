//! What operators did, on the page and by commands: who, why, before and after.

use maud::{Markup, html};
use poem::{Response, handler};

use super::{layout, session::Look, stop::Stop};
use crate::operator::told;

const A_PAGE: i64 = 50;

#[handler]
pub(super) async fn show(look: Look) -> Result<Response, Stop> {
    let done = told::actions(
        &look.page.context.db,
        look.who.role,
        look.query.parsed("before"),
        A_PAGE,
    )
    .await?;
    let now = look.page.context.clock.now();
    let rows: Vec<Vec<Markup>> = done
        .iter()
        .map(|row| {
            let mut rest = row.detail.clone();
            let mut take = |name: &str| {
                let taken = rest.as_object_mut().and_then(|members| members.remove(name));
                taken
                    .and_then(|value| value.as_str().map(str::to_owned))
                    .unwrap_or_default()
            };
            let (operator, reason) = (take("operator"), take("reason"));
            vec![
                layout::moment(row.at, now),
                html! { (operator) },
                html! { strong { (row.action) } },
                html! { a href={ "/operator/find?" (layout::encoded(&[("q", &row.object)])) } { (row.object) } },
                html! { (reason) },
                super::payment::detail(&rest),
            ]
        })
        .collect();
    let older = (done.len() == 50)
        .then(|| done.last().map(|last| format!("/operator/audit?before={}", last.id)))
        .flatten();
    let body = html! {
        h1 { "Audit" }
        p.quiet { "What operators did, newest first. Nobody can change it." }
        (layout::table(&["When", "Who", "What", "On", "Why", "Detail"], &rows, "No operator has done anything yet."))
        (layout::older(older))
    };
    Ok(layout::page(&look, "/operator/audit", "Audit", &body))
}
