//! What an operator sees of the inbox, and having an event applied again.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

use super::{StorageError, Tx};
use crate::domain::ids::WebhookEventId;

/// An event as a list shows it: ids and closed words.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub id: String,
    pub event_type: Option<String>,
    pub state: String,
    pub applicant_id: Option<String>,
    pub received_at: DateTime<Utc>,
    pub applied_at: Option<DateTime<Utc>>,
    pub note: Option<String>,
}

/// An event with its body, and what was tried to apply it.
#[derive(Debug, Serialize)]
pub struct Detail {
    #[serde(flatten)]
    pub summary: Summary,
    pub external_user_id: Option<String>,
    pub event_key: String,
    /// The signed bytes as text; what is no text in them is replaced. Absent after retention.
    pub body: Option<String>,
    /// The jobs that applied it, or tried to.
    pub jobs: Vec<Tried>,
}

/// A job of an event's.
#[derive(Debug, Serialize)]
pub struct Tried {
    pub id: i64,
    pub state: String,
    pub attempts: i32,
    pub last_error: Option<String>,
}

/// Which events a list shows; what is absent does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub state: Option<String>,
    pub event_type: Option<String>,
    /// Only older ones than this: the last one of the page before.
    pub before: Option<WebhookEventId>,
    pub limit: i64,
}

/// The events of the filter, the newest first.
pub async fn list(db: &PgPool, filter: &Filter) -> Result<Vec<Summary>, StorageError> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id: WebhookEventId", event_type, state, applicant_id, received_at, applied_at, note FROM webhook_events
            WHERE ($1::text IS NULL OR state = $1) AND ($2::text IS NULL OR event_type = $2) AND ($3::uuid IS NULL OR id < $3)
            ORDER BY id DESC LIMIT $4"#,
        filter.state,
        filter.event_type,
        filter.before.map(WebhookEventId::uuid),
        filter.limit,
    )
    .fetch_all(db)
    .await?;
    let events = rows.into_iter().map(|row| Summary {
        id: row.id.to_string(),
        event_type: row.event_type,
        state: row.state,
        applicant_id: row.applicant_id,
        received_at: row.received_at,
        applied_at: row.applied_at,
        note: row.note,
    });
    Ok(events.collect())
}

/// A page of a search.
#[derive(Debug)]
pub struct Found {
    /// The newest first.
    pub events: Vec<Summary>,
    /// From where on the search goes on; `None`: there is no older event.
    pub next: Option<WebhookEventId>,
}

/// So many events are read for one page of a search. Where too few of them match, the search goes on from there.
const READ_FOR_A_PAGE: i64 = 5_000;

/// Those that wait are written out: a parameter could not use their index.
macro_rules! search {
    ($waits:literal, $filter:expr, $db:expr) => {
        sqlx::query!(
            r#"WITH looked AS MATERIALIZED (
                 SELECT * FROM webhook_events WHERE "# + $waits + r#" AND id < $3 ORDER BY id DESC LIMIT $5),
               last AS (SELECT id FROM looked WHERE (SELECT count(*) FROM looked) = $5 ORDER BY id LIMIT 1),
               found AS (
                 SELECT * FROM looked WHERE ($1::text IS NULL OR state = $1) AND ($2::text IS NULL OR event_type = $2)
                  ORDER BY id DESC LIMIT $4)
               SELECT id AS "id!: WebhookEventId", event_type, state AS "state!", applicant_id, received_at AS "received_at!",
                      applied_at, note, true AS "matches!" FROM found
               UNION ALL SELECT id, NULL, '', NULL, now(), NULL, NULL, false FROM last ORDER BY 1 DESC"#,
            $filter.state,
            $filter.event_type,
            $filter.before.map_or(Uuid::max(), WebhookEventId::uuid),
            $filter.limit,
            READ_FOR_A_PAGE,
        )
        .map(|row| {
            let summary = Summary {
                id: row.id.to_string(),
                event_type: row.event_type,
                state: row.state,
                applicant_id: row.applicant_id,
                received_at: row.received_at,
                applied_at: row.applied_at,
                note: row.note,
            };
            (row.id, row.matches.then_some(summary))
        })
        .fetch_all($db)
        .await?
    };
}

/// The same as [`list`] for a page, which reads a bounded number of rows however many there are.
pub async fn search(db: &PgPool, filter: &Filter) -> Result<Found, StorageError> {
    let read: Vec<(WebhookEventId, Option<Summary>)> = match filter.state.as_deref() {
        Some("received" | "unmatched" | "quarantined") => search!("applied_at IS NULL", filter, db),
        _ => search!("true", filter, db),
    };
    let last_read = read.iter().find(|(_, found)| found.is_none()).map(|(id, _)| *id);
    let last_found = read.iter().rev().find(|(_, found)| found.is_some()).map(|(id, _)| *id);
    let events: Vec<Summary> = read.into_iter().filter_map(|(_, found)| found).collect();
    let is_full = i64::try_from(events.len()).is_ok_and(|found| found == filter.limit);
    let next = if is_full { last_found } else { last_read };
    Ok(Found { events, next })
}

/// One event; `kind` is that of the jobs that apply events.
pub async fn show(db: &PgPool, id: WebhookEventId, kind: &str) -> Result<Option<Detail>, StorageError> {
    let row = sqlx::query!(
        "SELECT event_type, state, applicant_id, external_user_id, event_key, raw, received_at, applied_at, note
           FROM webhook_events WHERE id = $1",
        id.uuid()
    )
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let jobs = sqlx::query_as!(
        Tried,
        r#"SELECT id, state, attempt - unused AS "attempts!", last_error FROM jobs
            WHERE kind = $1 AND coalesce(payload ->> 'payment', payload ->> 'event', payload ->> 'notification', payload ->> 'account',
                                         payload ->> 'consent', payload ->> 'login', payload ->> 'applicant', payload ->> 'token',
                                         payload ->> 'refresh') = $2 ORDER BY id"#,
        kind,
        id.uuid().to_string(),
    )
    .fetch_all(db)
    .await?;
    Ok(Some(Detail {
        summary: Summary {
            id: id.to_string(),
            event_type: row.event_type,
            state: row.state,
            applicant_id: row.applicant_id,
            received_at: row.received_at,
            applied_at: row.applied_at,
            note: row.note,
        },
        external_user_id: row.external_user_id,
        event_key: row.event_key,
        body: row.raw.map(|raw| String::from_utf8_lossy(&raw).into_owned()),
        jobs,
    }))
}

/// The events of a state that wait to be applied, the oldest first.
pub async fn open_of_state(tx: &mut Tx, state: &str, limit: i64) -> Result<Vec<WebhookEventId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT id AS "id: WebhookEventId" FROM webhook_events
            WHERE state = $1 AND applied_at IS NULL AND raw IS NOT NULL ORDER BY received_at, id LIMIT $2"#,
        state,
        limit,
    )
    .fetch_all(&mut **tx)
    .await?)
}

/// An event before an operator changes it.
#[derive(Debug)]
pub struct Before {
    pub state: String,
    pub note: Option<String>,
    /// It waits to be applied.
    pub is_open: bool,
}

/// What the event is, locked; `None`: there is no such event.
pub async fn before(tx: &mut Tx, id: WebhookEventId) -> Result<Option<Before>, StorageError> {
    Ok(sqlx::query_as!(
        Before,
        r#"SELECT state, note, applied_at IS NULL AND raw IS NOT NULL AS "is_open!" FROM webhook_events WHERE id = $1 FOR NO KEY UPDATE"#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// Ends the wait of an event that will never be anybody's. False: it does not wait for a person.
pub async fn dismiss(tx: &mut Tx, id: WebhookEventId) -> Result<bool, StorageError> {
    let dismissed = sqlx::query!(
        "UPDATE webhook_events SET state = 'recorded', note = 'dismissed', applied_at = clock_timestamp()
          WHERE id = $1 AND state IN ('unmatched', 'quarantined')",
        id.uuid()
    )
    .execute(&mut **tx)
    .await?;
    Ok(dismissed.rows_affected() == 1)
}
