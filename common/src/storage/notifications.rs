//! What users are told: written with the change it tells of, delivered later from these rows.

use uuid::Uuid;

use super::{StorageError, Tx};
use crate::domain::ids::UserId;

/// A message to a user. `subject` makes it unique within its kind, so that a repeated job tells nobody twice.
#[derive(Debug)]
pub struct Message<'a> {
    pub user: UserId,
    pub kind: &'a str,
    pub title: &'a str,
    pub body: &'a str,
    pub subject: String,
}

/// Adds the message unless this subject was already told.
pub async fn tell(tx: &mut Tx, message: Message<'_>) -> Result<(), StorageError> {
    sqlx::query!(
        "INSERT INTO notifications (id, user_id, kind, title, body, subject) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (kind, subject) DO NOTHING",
        Uuid::now_v7(),
        message.user.uuid(),
        message.kind,
        message.title,
        message.body,
        message.subject,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
