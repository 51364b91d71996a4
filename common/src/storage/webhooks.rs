//! The inbox of accepted webhooks.

use chrono::{DateTime, Utc};

use super::{StorageError, Tx};
use crate::domain::ids::{UserId, WebhookEventId};

/// What an event says about itself, in the sender's words.
#[derive(Debug, Clone, Copy, Default)]
pub struct About<'a> {
    pub event_type: Option<&'a str>,
    pub applicant_id: Option<&'a str>,
    pub external_user_id: Option<&'a str>,
}

/// Stores an event unless its key is known; `None` is a duplicate.
pub async fn accept(
    tx: &mut Tx,
    event_key: &str,
    about: About<'_>,
    raw: &[u8],
) -> Result<Option<WebhookEventId>, StorageError> {
    let id = sqlx::query_scalar!(
        "INSERT INTO webhook_events (id, provider, event_key, event_type, applicant_id, external_user_id, raw)
         VALUES ($1, 'sumsub', $2, $3, $4, $5, $6)
         ON CONFLICT (provider, event_key) DO NOTHING RETURNING id",
        WebhookEventId::new().uuid(),
        event_key,
        about.event_type,
        about.applicant_id,
        about.external_user_id,
        raw,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(id.map(WebhookEventId::from))
}

/// Keeps a correctly signed body that is not a JSON object, for a person to look at.
pub async fn quarantine(tx: &mut Tx, event_key: &str, raw: &[u8]) -> Result<(), StorageError> {
    sqlx::query!(
        "INSERT INTO webhook_events (id, provider, event_key, raw, state, note)
         VALUES ($1, 'sumsub', $2, $3, 'quarantined', 'not a JSON object') ON CONFLICT (provider, event_key) DO NOTHING",
        WebhookEventId::new().uuid(),
        event_key,
        raw,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// An accepted event that was not applied yet.
pub struct Waiting {
    pub raw: Vec<u8>,
    pub received_at: DateTime<Utc>,
}

/// Locks an event that still waits to be applied.
pub async fn lock_waiting(tx: &mut Tx, id: WebhookEventId) -> Result<Option<Waiting>, StorageError> {
    Ok(sqlx::query_as!(
        Waiting,
        r#"SELECT raw AS "raw!", received_at FROM webhook_events
            WHERE id = $1 AND applied_at IS NULL AND raw IS NOT NULL FOR NO KEY UPDATE"#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// What became of an event. Two stay open: `unmatched` until its applicant appears, `quarantined` until a person, or a
/// release that can read it, has looked at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventState {
    Applied,
    Audited,
    SameState,
    Stale,
    Recorded,
    Sandbox,
    Unmatched,
    Quarantined,
}

impl EventState {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Audited => "audited",
            Self::SameState => "same_state",
            Self::Stale => "stale",
            Self::Recorded => "recorded",
            Self::Sandbox => "sandbox",
            Self::Unmatched => "unmatched",
            Self::Quarantined => "quarantined",
        }
    }
}

/// Writes down what became of the event.
pub async fn settle(
    tx: &mut Tx,
    id: WebhookEventId,
    state: EventState,
    note: Option<&str>,
) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE webhook_events SET state = $2, note = $3,
                applied_at = CASE WHEN $2 IN ('unmatched', 'quarantined') THEN NULL ELSE clock_timestamp() END
          WHERE id = $1",
        id.uuid(),
        state.as_str(),
        note,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The unmatched events about this applicant or user, in the order of their arrival, for the applicant that just appeared.
/// One that its own job holds is left to it: it sees the applicant too.
pub async fn unmatched(tx: &mut Tx, applicant_id: &str, user: UserId) -> Result<Vec<WebhookEventId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT id AS "id: WebhookEventId" FROM webhook_events
            WHERE state = 'unmatched' AND (applicant_id = $1 OR external_user_id = $2)
            ORDER BY received_at, id FOR NO KEY UPDATE SKIP LOCKED"#,
        applicant_id,
        user.to_string()
    )
    .fetch_all(&mut **tx)
    .await?)
}
