//! Closing cases of the compliance officer.

use drop_common::{
    domain::ids::AmlCaseId,
    storage::{self, aml_cases},
};
use serde_json::json;
use sqlx::PgPool;

use super::{By, Change, record, refusal};

/// Closes an open case with what was found.
pub(crate) async fn close(db: &PgPool, id: AmlCaseId, finding: &str, by: &By) -> anyhow::Result<()> {
    let mut tx = storage::begin(db).await?;
    let closed = aml_cases::close(&mut tx, id, &by.operator, finding).await?;
    let user = closed.ok_or_else(|| refusal(format!("there is no open case {id}")))?;
    let change = Change {
        action: "aml.case_closed",
        object: id.to_string(),
        user: Some(user),
        before: json!({ "open": true }),
        after: json!({ "open": false }),
        more: json!({ "finding": finding }),
    };
    record(&mut tx, by, change).await?;
    tx.commit().await?;
    Ok(())
}
