//! What operators did, on the page and by commands: who, why, before and after.

use drop_common::storage::audit;
use maud::{Markup, html};
use poem::{Response, handler};
use serde_json::Value;

use super::{layout, session::Look, stop::Stop};

const A_PAGE: i64 = 50;

#[handler]
pub(super) async fn show(look: Look) -> Result<Response, Stop> {
    let done = audit::by_operators(&look.page.context.db, look.query.parsed("before"), A_PAGE).await?;
    let now = look.page.context.clock.now();
    let rows: Vec<Vec<Markup>> = done
        .iter()
        .map(|row| {
            let text = |name: &str| row.detail[name].as_str().unwrap_or_default().to_owned();
            let mut rest = row.detail.clone();
            if let Value::Object(members) = &mut rest {
                members.remove("operator");
                members.remove("reason");
            }
            vec![
                layout::moment(row.at, now),
                html! { (text("operator")) },
                html! { strong { (row.action) } },
                html! { a href={ "/operator/find?" (layout::encoded(&[("q", &row.object)])) } { (row.object) } },
                html! { (text("reason")) },
                super::payment::detail(&rest),
            ]
        })
        .collect();
    let older = (done.len() == 50)
        .then(|| done.last().map(|last| format!("/operator/audit?before={}", last.id)))
        .flatten();
    let body = html! {
        h1 { "Audit" }
        p.quiet { "All that operators did, newest first. Nobody can change it." }
        (layout::table(&["When", "Who", "What", "On", "Why", "Detail"], &rows, "No operator has done anything yet."))
        (layout::older(older))
    };
    Ok(layout::page(&look, "/operator/audit", "Audit", &body))
}
