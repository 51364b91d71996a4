//! The append-only record of what happened: one row per state change, in the transaction of the change.

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use super::{StorageError, Tx};
use crate::domain::ids::UserId;

/// Who caused a change.
#[derive(Debug, Clone, Copy)]
pub enum Actor {
    User,
    Worker,
    Provider,
    Operator,
}

impl Actor {
    fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Worker => "worker",
            Self::Provider => "provider",
            Self::Operator => "operator",
        }
    }
}

/// One audit row. `detail` holds ids and closed words only, never a person's data.
#[derive(Debug)]
pub struct Entry<'a> {
    pub actor: Actor,
    pub user: Option<UserId>,
    /// What happened, `noun.verb`.
    pub action: &'a str,
    /// The prefixed id of what changed.
    pub object: String,
    pub detail: Value,
    pub request_id: Option<Uuid>,
}

/// Writes one row. The statements that hand a login out, store a payment and note that the bank has it write their own
/// (`logins::hand_out`, `payments::insert`, `payments::initiated`).
pub async fn record(tx: &mut Tx, entry: Entry<'_>) -> Result<(), StorageError> {
    sqlx::query!(
        "INSERT INTO audit_log (actor, user_id, action, object, detail, request_id) VALUES ($1, $2, $3, $4, $5, $6)",
        entry.actor.as_str(),
        entry.user.map(UserId::uuid),
        entry.action,
        entry.object,
        entry.detail,
        entry.request_id,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What an operator did.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "AuditRow")]
pub struct Done {
    /// The row's number.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// What, `noun.verb`.
    pub action: String,
    /// The id of what changed.
    pub object: String,
    /// Who and why, what was before and after, and what else belongs to it.
    pub detail: Value,
}

/// What operators did, the newest first, from before this row; without what they did with cases of the compliance officer, or with it.
pub async fn by_operators(
    db: &PgPool,
    cases_too: bool,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Done>, StorageError> {
    Ok(sqlx::query_as!(
        Done,
        "SELECT id, at, action, object, detail FROM audit_log
          WHERE actor = 'operator' AND id < $1 AND ($3 OR action NOT LIKE 'aml.%') ORDER BY id DESC LIMIT $2",
        before.unwrap_or(i64::MAX),
        limit,
        cases_too,
    )
    .fetch_all(db)
    .await?)
}
