//! Keeping a process from claiming jobs, and letting it go on.

use drop_common::{queue::processes, storage};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::{By, Change, record, refusal};

/// The process claims nothing more, or again. It hears of it within seconds; what it runs goes on.
pub(crate) async fn set_quiet(db: &PgPool, owner: Uuid, quiet: bool, by: &By) -> anyhow::Result<()> {
    let mut tx = storage::begin(db).await?;
    let wish = quiet.then_some((by.operator.as_str(), by.reason.as_str()));
    if !processes::set_quiet(&mut tx, owner, wish).await? {
        return Err(refusal(format!("worker {owner} is so already, or there is none")));
    }
    let change = Change {
        action: if quiet { "worker.quieted" } else { "worker.resumed" },
        object: owner.to_string(),
        user: None,
        before: json!({ "quiet": !quiet }),
        after: json!({ "quiet": quiet }),
        more: Value::Null,
    };
    record(&mut tx, by, change).await?;
    tx.commit().await?;
    Ok(())
}
