//! What becomes of records whose time is over, and of people who were erased: one function of the database for each class, which
//! the retention's role may call and nothing else. How long each class is kept: `restricted.kept_for`, ops/retention.md.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{PgExecutor, PgPool};

use super::StorageError;
use crate::domain::ids::UserId;

/// Those of whom something is to be moved.
pub async fn to_move(db: impl PgExecutor<'_>) -> Result<Vec<UserId>, StorageError> {
    Ok(
        sqlx::query_scalar!(r#"SELECT user_id AS "user!: UserId" FROM restricted.to_move() AS t (user_id)"#)
            .fetch_all(db)
            .await?,
    )
}

/// Moves what is kept of one erased person apart, and deletes the rest. False: it is not their turn.
pub async fn move_erased(db: impl PgExecutor<'_>, user: UserId) -> Result<bool, StorageError> {
    Ok(
        sqlx::query_scalar!(r#"SELECT restricted.move_erased($1) AS "moved!""#, user.uuid())
            .fetch_one(db)
            .await?,
    )
}

/// Deletes some of the records whose time is over. 0: there are none left.
pub async fn purge(db: impl PgExecutor<'_>) -> Result<i64, StorageError> {
    Ok(sqlx::query_scalar!(r#"SELECT restricted.purge() AS "purged!""#)
        .fetch_one(db)
        .await?)
}

/// Those of whom nothing is kept any more.
pub async fn to_forget(db: impl PgExecutor<'_>) -> Result<Vec<UserId>, StorageError> {
    Ok(
        sqlx::query_scalar!(r#"SELECT user_id AS "user!: UserId" FROM restricted.to_forget() AS t (user_id)"#)
            .fetch_all(db)
            .await?,
    )
}

/// Deletes what was left of one of them; their ids at Sumsub. `None`: it is not their turn.
pub async fn forget(db: impl PgExecutor<'_>, user: UserId) -> Result<Option<Vec<String>>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT restricted.forget($1) AS "applicants: Vec<String>""#,
        user.uuid()
    )
    .fetch_one(db)
    .await?)
}

/// Empties some of the webhooks that were about nobody of ours and whose time is over. 0: there are none left.
pub async fn empty_webhooks(db: impl PgExecutor<'_>) -> Result<i64, StorageError> {
    Ok(
        sqlx::query_scalar!(r#"SELECT restricted.empty_webhooks() AS "emptied!""#)
            .fetch_one(db)
            .await?,
    )
}

/// Deletes some of the audit rows whose time is over. 0: there are none left.
pub async fn prune_audit(db: impl PgExecutor<'_>) -> Result<i64, StorageError> {
    Ok(sqlx::query_scalar!(r#"SELECT restricted.prune_audit() AS "pruned!""#)
        .fetch_one(db)
        .await?)
}

/// One record that is kept of somebody who was erased.
pub struct Kept {
    /// The table that it was a row of.
    pub class: String,
    pub record: Value,
    pub retention_until: DateTime<Utc>,
}

/// All that was due is done.
pub async fn note_run(db: impl PgExecutor<'_>) -> Result<(), StorageError> {
    sqlx::query!("SELECT restricted.note_run()").execute(db).await?;
    Ok(())
}

/// What is kept of somebody. Who asks and why is in the audit log for good before anything is read: the two are transactions of
/// their own, and the database gives nothing out for a note that might still be taken back.
pub async fn read(db: &PgPool, user: UserId, operator: &str, reason: &str) -> Result<Vec<Kept>, StorageError> {
    let note = sqlx::query_scalar!(
        r#"SELECT restricted.note_reading($1, $2, $3) AS "note!""#,
        user.uuid(),
        operator,
        reason
    )
    .fetch_one(db)
    .await?;
    Ok(sqlx::query_as!(
        Kept,
        r#"SELECT class AS "class!", record AS "record!", retention_until AS "retention_until!" FROM restricted.read($1)"#,
        note
    )
    .fetch_all(db)
    .await?)
}
