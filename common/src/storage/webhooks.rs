//! The inbox of accepted webhooks.

use chrono::{DateTime, Utc};

use super::{StorageError, Tx};
use crate::domain::ids::WebhookEventId;

/// Stores an event unless its key is known; `None` is a duplicate.
pub async fn accept(
    tx: &mut Tx,
    event_key: &str,
    event_type: Option<&str>,
    raw: &[u8],
) -> Result<Option<WebhookEventId>, StorageError> {
    let id = sqlx::query_scalar!(
        "INSERT INTO webhook_events (id, provider, event_key, event_type, raw) VALUES ($1, 'sumsub', $2, $3, $4)
         ON CONFLICT (provider, event_key) DO NOTHING RETURNING id",
        WebhookEventId::new().uuid(),
        event_key,
        event_type,
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
            WHERE id = $1 AND applied_at IS NULL AND state <> 'quarantined' AND raw IS NOT NULL FOR NO KEY UPDATE"#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// What became of an event; `unmatched` events stay open until their applicant appears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventState {
    Applied,
    Audited,
    SameState,
    Stale,
    Recorded,
    Sandbox,
    Unmatched,
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
                applied_at = CASE WHEN $2 = 'unmatched' THEN NULL ELSE clock_timestamp() END
          WHERE id = $1",
        id.uuid(),
        state.as_str(),
        note,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Unmatched events, oldest first, for the applicant that just appeared.
pub async fn unmatched(tx: &mut Tx) -> Result<Vec<WebhookEventId>, StorageError> {
    let rows = sqlx::query_scalar!(
        "SELECT id FROM webhook_events WHERE state = 'unmatched' AND applied_at IS NULL ORDER BY received_at, id LIMIT 1000"
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(WebhookEventId::from).collect())
}
