//! The inbox of accepted webhooks.

use chrono::{DateTime, Utc};
use serde_json::to_value;
use sqlx::PgExecutor;
use uuid::Uuid;

use super::{StorageError, Tx};
use crate::{
    domain::ids::{UserId, WebhookEventId},
    queue::{Job as _, payloads::ApplyKycEvent},
};

/// What an event says about itself, in the sender's words.
#[derive(Debug, Clone, Copy, Default)]
pub struct About<'a> {
    pub event_type: Option<&'a str>,
    pub applicant_id: Option<&'a str>,
    pub external_user_id: Option<&'a str>,
}

/// An event that is to be stored.
#[derive(Debug)]
pub struct NewEvent {
    pub id: WebhookEventId,
    pub event_key: String,
    pub event_type: Option<String>,
    pub applicant_id: Option<String>,
    pub external_user_id: Option<String>,
    pub raw: Vec<u8>,
    pub request_id: Uuid,
}

/// Stores events, each with the job that applies it, unless their keys are known. One statement, which is its own
/// transaction on a pool: however many they are, they wait for one round trip and one commit. The ids of those that are
/// new; the others are duplicates, of others of these, too.
pub async fn accept(db: impl PgExecutor<'_>, events: &[NewEvent]) -> Result<Vec<WebhookEventId>, StorageError> {
    // By key: two statements that bring the same events must not wait for each other in a circle. The time of each is
    // that of its arrival, nevertheless.
    let mut sorted: Vec<(i32, &NewEvent)> = (0..).zip(events).collect();
    sorted.sort_unstable_by(|(_, one), (_, other)| one.event_key.cmp(&other.event_key));
    let column = |of: fn(&NewEvent) -> &Option<String>| -> Vec<Option<&str>> {
        sorted.iter().map(|(_, event)| of(event).as_deref()).collect()
    };
    let jobs: Vec<ApplyKycEvent> = sorted
        .iter()
        .map(|(_, event)| ApplyKycEvent { event: event.id })
        .collect();
    let payloads = jobs.iter().map(to_value).collect::<Result<Vec<_>, _>>()?;
    Ok(sqlx::query_scalar!(
        r#"WITH given AS (
             SELECT * FROM unnest($1::int[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[],
                                  $8::text[], $9::jsonb[], $10::uuid[])
               AS g (place, id, event_key, event_type, applicant_id, external_user_id, raw, unique_key, payload, request_id)),
           stored AS (
             INSERT INTO webhook_events (id, provider, event_key, event_type, applicant_id, external_user_id, raw, received_at)
             SELECT id, 'sumsub', event_key, event_type, applicant_id, external_user_id, raw,
                    statement_timestamp() + place * interval '1 microsecond' FROM given
             ON CONFLICT (provider, event_key) DO NOTHING RETURNING id),
           enqueued AS (
             INSERT INTO jobs (lane, kind, unique_key, payload, max_attempts, request_id)
             SELECT $11, $12, unique_key, payload, $13, request_id FROM given JOIN stored USING (id) ORDER BY place)
           SELECT id AS "id!: WebhookEventId" FROM stored"#,
        &sorted.iter().map(|(place, _)| *place).collect::<Vec<_>>(),
        &sorted.iter().map(|(_, event)| event.id.uuid()).collect::<Vec<_>>(),
        &sorted.iter().map(|(_, event)| event.event_key.as_str()).collect::<Vec<_>>() as _,
        &column(|event| &event.event_type) as _,
        &column(|event| &event.applicant_id) as _,
        &column(|event| &event.external_user_id) as _,
        &sorted.iter().map(|(_, event)| event.raw.as_slice()).collect::<Vec<_>>() as _,
        &jobs.iter().filter_map(ApplyKycEvent::unique_key).collect::<Vec<_>>(),
        &payloads,
        &sorted.iter().map(|(_, event)| event.request_id).collect::<Vec<_>>(),
        ApplyKycEvent::LANE.id(),
        ApplyKycEvent::KIND,
        ApplyKycEvent::MAX_ATTEMPTS,
    )
    .fetch_all(db)
    .await?)
}

/// Keeps a correctly signed body that is not a JSON object, for a person to look at.
pub async fn quarantine(db: impl PgExecutor<'_>, event_key: &str, raw: &[u8]) -> Result<(), StorageError> {
    sqlx::query!(
        "INSERT INTO webhook_events (id, provider, event_key, raw, state, note)
         VALUES ($1, 'sumsub', $2, $3, 'quarantined', 'not a JSON object') ON CONFLICT (provider, event_key) DO NOTHING",
        WebhookEventId::new().uuid(),
        event_key,
        raw,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Stores what Sumsub said when it was asked, to be applied as an event in the caller's transaction. `None`: it was said
/// before.
pub async fn store_answer(
    tx: &mut Tx,
    event_key: &str,
    about: About<'_>,
    raw: &[u8],
) -> Result<Option<WebhookEventId>, StorageError> {
    let id = sqlx::query_scalar!(
        r#"INSERT INTO webhook_events (id, provider, event_key, event_type, applicant_id, external_user_id, raw)
           VALUES ($1, 'sumsub', $2, $3, $4, $5, $6)
           ON CONFLICT (provider, event_key) DO NOTHING RETURNING id AS "id: WebhookEventId""#,
        WebhookEventId::new().uuid(),
        event_key,
        about.event_type,
        about.applicant_id,
        about.external_user_id,
        raw,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(id)
}

/// An accepted event that was not applied yet.
pub struct Waiting {
    pub id: WebhookEventId,
    /// As it came; `None` where it has none that a column can hold.
    pub event_type: Option<String>,
    pub raw: Vec<u8>,
    pub received_at: DateTime<Utc>,
}

/// Where an event stands in the order of arrival.
pub type Place = (DateTime<Utc>, WebhookEventId);

impl Waiting {
    /// Where it stands.
    pub fn place(&self) -> Place {
        (self.received_at, self.id)
    }
}

/// An event that still waits to be applied. Not locked: its person is locked first, which this event names.
pub async fn waiting(tx: &mut Tx, id: WebhookEventId) -> Result<Option<Waiting>, StorageError> {
    Ok(sqlx::query_as!(
        Waiting,
        r#"SELECT id AS "id: WebhookEventId", event_type, raw AS "raw!", received_at FROM webhook_events
            WHERE id = $1 AND applied_at IS NULL AND raw IS NOT NULL"#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// Locks the event. False: it was applied meanwhile.
pub async fn lock(tx: &mut Tx, id: WebhookEventId) -> Result<bool, StorageError> {
    let locked = sqlx::query_scalar!(
        "SELECT id FROM webhook_events WHERE id = $1 AND applied_at IS NULL FOR NO KEY UPDATE",
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(locked.is_some())
}

/// Locks the events about an applicant that no job has come to, in the order of their arrival, between the two places and at
/// most so many. The caller holds the locks of the applicant and of the user.
pub async fn lock_received(
    tx: &mut Tx,
    applicant_id: &str,
    (after, before): (Option<Place>, Option<Place>),
    limit: i64,
) -> Result<Vec<Waiting>, StorageError> {
    Ok(sqlx::query_as!(
        Waiting,
        r#"SELECT id AS "id: WebhookEventId", event_type, raw AS "raw!", received_at FROM webhook_events
            WHERE applicant_id = $1 AND state = 'received' AND applied_at IS NULL AND raw IS NOT NULL
              AND ($2::timestamptz IS NULL OR (received_at, id) > ($2, $3::uuid))
              AND ($4::timestamptz IS NULL OR (received_at, id) < ($4, $5::uuid))
            ORDER BY received_at, id LIMIT $6 FOR NO KEY UPDATE"#,
        applicant_id,
        after.map(|(at, _)| at),
        after.map(|(_, id)| id.uuid()),
        before.map(|(at, _)| at),
        before.map(|(_, id)| id.uuid()),
        limit,
    )
    .fetch_all(&mut **tx)
    .await?)
}

/// The applicant that events waited for has appeared: from here on they are like any that no job has come to. Which they are,
/// in the order of their arrival; the caller gives them jobs, and holds the locks of the applicant and of the user.
pub async fn receive_unmatched(
    tx: &mut Tx,
    applicant_id: &str,
    user: UserId,
) -> Result<Vec<WebhookEventId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"WITH received AS (
             UPDATE webhook_events SET state = 'received', note = NULL
              WHERE (applicant_id = $1 OR external_user_id = $2) AND state = 'unmatched' AND applied_at IS NULL
                AND raw IS NOT NULL
             RETURNING id, received_at)
           SELECT id AS "id!: WebhookEventId" FROM received ORDER BY received_at, id"#,
        applicant_id,
        user.to_string(),
    )
    .fetch_all(&mut **tx)
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

/// Writes down what became of the event, unless it waits on as it did.
pub async fn settle(
    tx: &mut Tx,
    id: WebhookEventId,
    state: EventState,
    note: Option<&str>,
) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE webhook_events SET state = $2, note = $3,
                applied_at = CASE WHEN $2 IN ('unmatched', 'quarantined') THEN NULL ELSE clock_timestamp() END
          WHERE id = $1 AND (state, note) IS DISTINCT FROM ($2, $3)",
        id.uuid(),
        state.as_str(),
        note,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
