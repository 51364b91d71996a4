//! What operators did, on the page and by commands: who, why, before and after.

use drop_common::storage::audit;
use maud::{Markup, html};
use poem::{Response, handler};
use serde_json::Value;

use super::{layout, session::Look, stop::Stop};

const A_PAGE: i64 = 50;

/// What of a row of the audit log whoever looks is told; `None`: not that there is one. Nobody may hear of a report about
/// somebody (hvitvaskingsloven, § 28), so what a compliance officer found and wrote is not here, and who only looks does not see that
/// there was a case. Nor are they told why somebody is held, forgotten, or looked up.
pub(super) fn told(look: &Look, action: &str, detail: &Value) -> Option<Value> {
    let (is_case, may_change) = (action.starts_with("aml."), look.who.may_change());
    if is_case && !may_change {
        return None;
    }
    let is_of_a_person = action.starts_with("user.") || action.starts_with("restricted.");
    let mut told = detail.clone();
    if let Some(members) = told.as_object_mut()
        && (is_case || is_of_a_person && !may_change)
    {
        members.remove("reason");
        members.remove("finding");
    }
    Some(told)
}

#[handler]
pub(super) async fn show(look: Look) -> Result<Response, Stop> {
    let done = audit::by_operators(&look.page.context.db, look.query.parsed("before"), A_PAGE).await?;
    let now = look.page.context.clock.now();
    let rows: Vec<Vec<Markup>> = done
        .iter()
        .filter_map(|row| {
            let mut rest = told(&look, &row.action, &row.detail)?;
            let mut take = |name: &str| {
                let taken = rest.as_object_mut().and_then(|members| members.remove(name));
                taken
                    .and_then(|value| value.as_str().map(str::to_owned))
                    .unwrap_or_default()
            };
            let (operator, reason) = (take("operator"), take("reason"));
            Some(vec![
                layout::moment(row.at, now),
                html! { (operator) },
                html! { strong { (row.action) } },
                html! { a href={ "/operator/find?" (layout::encoded(&[("q", &row.object)])) } { (row.object) } },
                html! { (reason) },
                super::payment::detail(&rest),
            ])
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
