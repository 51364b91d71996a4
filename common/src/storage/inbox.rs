//! What an operator sees of the inbox, and having an event applied again.

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use serde::Serialize;
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use super::{StorageError, Tx};
use crate::{
    domain::ids::WebhookEventId,
    queue::{look, operate::JobSummary},
};

/// An event as a list shows it: ids and closed words.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "EventSummary")]
pub struct Summary {
    /// The event, `evt_…`.
    pub id: String,
    /// Its type, in Sumsub's word.
    pub event_type: Option<String>,
    /// What became of it.
    pub state: String,
    /// The applicant at Sumsub.
    pub applicant_id: Option<String>,
    /// When it came.
    pub received_at: DateTime<Utc>,
    /// When its wait ended.
    pub applied_at: Option<DateTime<Utc>>,
    /// Why it is in its state.
    pub note: Option<String>,
}

/// An event with its body, and what was tried to apply it.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "EventDetail")]
pub struct Detail {
    /// The event.
    #[serde(flatten)]
    #[oai(flatten)]
    pub summary: Summary,
    /// Whom it is about, as Sumsub was told.
    pub external_user_id: Option<String>,
    /// What makes the same event the same when it comes again.
    pub event_key: String,
    /// The signed bytes as text; what is no text in them is replaced. Absent after retention, and wherever it is not to be read.
    pub body: Option<String>,
    /// The jobs that applied it, or tried to, the newest first.
    pub jobs: Vec<JobSummary>,
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

/// The events of the filter, the newest first; reads a bounded number of rows however many there are.
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

/// The same until so many are found or there is no older event, however many rows must be read for that.
pub async fn list(db: &PgPool, wanted: &Filter) -> Result<Vec<Summary>, StorageError> {
    let mut page = wanted.clone();
    let mut events = Vec::new();
    while page.limit > 0 {
        let found = search(db, &page).await?;
        page.limit -= i64::try_from(found.events.len()).unwrap_or(i64::MAX);
        events.extend(found.events);
        page.before = match found.next {
            Some(next) => Some(next),
            None => break,
        };
    }
    Ok(events)
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
    let mut jobs = look::about(db, id.uuid()).await?;
    jobs.retain(|job| job.kind == kind);
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

/// Events that wait: those of a state, and of a type if it is named, between two that somebody saw.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub state: String,
    pub event_type: Option<String>,
    pub newest: WebhookEventId,
    pub oldest: WebhookEventId,
}

/// Those of them that wait now, the newest first. However many others wait between them, none of these is left out.
pub async fn waiting(db: impl PgExecutor<'_>, seen: &Waiting, limit: i64) -> Result<Vec<WebhookEventId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT id AS "id: WebhookEventId" FROM webhook_events
            WHERE applied_at IS NULL AND state = $1 AND ($2::text IS NULL OR event_type = $2) AND raw IS NOT NULL
              AND id BETWEEN $4 AND $3
            ORDER BY id DESC LIMIT $5"#,
        seen.state,
        seen.event_type,
        seen.newest.uuid(),
        seen.oldest.uuid(),
        limit,
    )
    .fetch_all(db)
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
