//! What users are told: written with the change it tells of, with the job that delivers it. These rows are the outbox.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};

use super::{StorageError, Tx};
use crate::{
    domain::ids::{NotificationId, UserId},
    queue::{self, payloads::DeliverNotification},
};

/// A message to a user. `subject` makes it unique within its kind, so that a repeated job tells nobody twice.
#[derive(Debug)]
pub struct Message<'a> {
    pub user: UserId,
    pub kind: &'a str,
    pub title: &'a str,
    pub body: &'a str,
    pub subject: String,
}

/// Adds the message, and the job that delivers it, unless this subject was already told.
pub async fn tell(tx: &mut Tx, message: Message<'_>) -> Result<(), StorageError> {
    let id = NotificationId::new();
    let added = sqlx::query!(
        "INSERT INTO notifications (id, user_id, kind, title, body, subject) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (kind, subject) DO NOTHING",
        id.uuid(),
        message.user.uuid(),
        message.kind,
        message.title,
        message.body,
        message.subject,
    )
    .execute(&mut **tx)
    .await?;
    if added.rows_affected() == 1 {
        queue::enqueue(tx, &DeliverNotification { notification: id }).await?;
    }
    Ok(())
}

/// A notification as its user sees it.
pub struct Notification {
    pub id: NotificationId,
    pub user: UserId,
    pub kind: String,
    pub title: String,
    pub body: String,
    pub created_at: DateTime<Utc>,
    pub read_at: Option<DateTime<Utc>>,
}

/// The user's notifications, newest first, from before the cursor.
pub async fn list(
    db: impl PgExecutor<'_>,
    user: UserId,
    before: Option<NotificationId>,
    limit: i64,
) -> Result<Vec<Notification>, StorageError> {
    Ok(sqlx::query_as!(
        Notification,
        r#"SELECT id AS "id: NotificationId", user_id AS "user: UserId", kind, title, body, created_at, read_at
             FROM notifications WHERE user_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3"#,
        user.uuid(),
        before.map(NotificationId::uuid),
        limit,
    )
    .fetch_all(db)
    .await?)
}

/// The user has read it; the first time counts. False: it is not theirs, or there is none.
pub async fn mark_read(db: impl PgExecutor<'_>, user: UserId, id: NotificationId) -> Result<bool, StorageError> {
    let marked = sqlx::query!(
        "UPDATE notifications SET read_at = coalesce(read_at, clock_timestamp()) WHERE id = $1 AND user_id = $2",
        id.uuid(),
        user.uuid(),
    )
    .execute(db)
    .await?;
    Ok(marked.rows_affected() == 1)
}

/// One that was not delivered yet, unless its user was erased.
pub async fn undelivered(db: &PgPool, id: NotificationId) -> Result<Option<Notification>, StorageError> {
    Ok(sqlx::query_as!(
        Notification,
        r#"SELECT n.id AS "id: NotificationId", n.user_id AS "user: UserId", n.kind, n.title, n.body, n.created_at, n.read_at
             FROM notifications n JOIN users u ON u.id = n.user_id
            WHERE n.id = $1 AND n.delivered_at IS NULL AND u.erased_at IS NULL"#,
        id.uuid()
    )
    .fetch_optional(db)
    .await?)
}

/// The sender took it.
pub async fn delivered(tx: &mut Tx, id: NotificationId) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE notifications SET delivered_at = clock_timestamp() WHERE id = $1 AND delivered_at IS NULL",
        id.uuid()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notifications of more than five minutes ago that no job will deliver: a process of the release before this one wrote
/// them, or the job was discarded.
pub async fn stranded(tx: &mut Tx, kind: &str, limit: i64) -> Result<Vec<NotificationId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT n.id AS "id: NotificationId" FROM notifications n JOIN users u ON u.id = n.user_id
            WHERE n.delivered_at IS NULL AND n.created_at < clock_timestamp() - interval '5 min' AND u.erased_at IS NULL
              AND NOT EXISTS (SELECT FROM jobs j WHERE j.kind = $1 AND j.unique_key = 'ntf_' || replace(n.id::text, '-', '')
                                 AND j.state <> 'done')
            ORDER BY n.created_at LIMIT $2"#,
        kind,
        limit,
    )
    .fetch_all(&mut **tx)
    .await?)
}
