//! What of the audit log whoever looks is told. Nobody may hear of a report about somebody (hvitvaskingsloven, § 28), so what a
//! compliance officer found and wrote is in no list of what was done, and who only looks does not see that there was a case. Nor are they
//! told why somebody is held, forgotten, or looked up.

use drop_common::{
    config::OperatorRole,
    storage::{
        StorageError,
        audit::{self, Done},
    },
};
use serde_json::Value;
use sqlx::PgPool;

/// The detail of a row of the audit log, as far as they are told; `None`: not that there is one.
pub(super) fn told(role: OperatorRole, action: &str, detail: Value) -> Option<Value> {
    let (is_case, may_change) = (action.starts_with("aml."), role == OperatorRole::Operator);
    if is_case && !may_change {
        return None;
    }
    let is_of_a_person = action.starts_with("user.") || action.starts_with("restricted.");
    let mut told = detail;
    if let Some(members) = told.as_object_mut()
        && (is_case || is_of_a_person && !may_change)
    {
        members.remove("reason");
        members.remove("finding");
    }
    Some(told)
}

/// What operators did, the newest first, from before this row. Cases are left out by the database, so that a page is as long for whoever
/// does not hear of them.
pub(super) async fn actions(
    db: &PgPool,
    role: OperatorRole,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Done>, StorageError> {
    let cases_too = role == OperatorRole::Operator;
    let done = audit::by_operators(db, cases_too, before, limit).await?.into_iter();
    let told = done.filter_map(|row| {
        let detail = told(role, &row.action, row.detail)?;
        Some(Done { detail, ..row })
    });
    Ok(told.collect())
}
