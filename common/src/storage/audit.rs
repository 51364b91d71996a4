//! The append-only record of what happened: one row per state change, in the transaction of the change.

use serde_json::Value;
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
