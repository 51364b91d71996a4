//! How somebody's identity check went, for operators: states, times and ids, and nothing that names the person.

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;

use super::StorageError;
use crate::domain::ids::{KycApplicantId, UserId, WebhookEventId};

/// Somebody as operators know them.
#[derive(Debug, Serialize, Object)]
pub struct Person {
    /// `pending`, `approved` or `rejected`.
    pub kyc_status: String,
    /// When they first logged in.
    pub created_at: DateTime<Utc>,
    /// When they were erased.
    pub erased_at: Option<DateTime<Utc>>,
    /// Since when a legal hold is on them.
    pub held_at: Option<DateTime<Utc>>,
    /// Their applicants, the newest first.
    pub applicants: Vec<Applicant>,
    /// The decisions that were applied, the newest first.
    pub decisions: Vec<Decided>,
    /// All that was written down about their check, the newest first.
    pub log: Vec<Logged>,
}

/// An applicant of ours at Sumsub.
#[derive(Debug, Serialize, Object)]
pub struct Applicant {
    /// Our row.
    pub id: String,
    /// What is checked.
    pub level: String,
    /// `requested`, `created` or `failed`.
    pub status: String,
    /// Why it failed.
    pub failure: Option<String>,
    /// Sumsub's last word.
    pub last_decision: Option<String>,
    /// When that was said.
    pub last_event_at: Option<DateTime<Utc>>,
    /// Since when Sumsub has been deciding.
    pub review_began_at: Option<DateTime<Utc>>,
    /// When Sumsub was last asked.
    pub status_read_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// A decision, with the event that brought it.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Decision")]
pub struct Decided {
    /// `approved`, `rejected`, `retry`, `reset` or `suspend`.
    pub result: String,
    /// The event.
    pub event: String,
    /// When Sumsub decided.
    pub provider_at: DateTime<Utc>,
    /// When it was applied.
    pub created_at: DateTime<Utc>,
}

/// A row of the audit log.
#[derive(Debug, Serialize, Object)]
pub struct Logged {
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// The id of what changed.
    pub object: String,
    /// Ids and closed words.
    pub detail: Value,
}

/// Somebody's identity check; `None`: there is nobody of this id.
pub async fn of(db: &PgPool, user: UserId) -> Result<Option<Person>, StorageError> {
    let person = sqlx::query!(
        "SELECT kyc_status, created_at, erased_at, held_at FROM users WHERE id = $1",
        user.uuid()
    )
    .fetch_optional(db)
    .await?;
    let Some(person) = person else { return Ok(None) };
    let applicants = sqlx::query!(
        r#"SELECT id AS "id: KycApplicantId", level_name, status, failure, last_decision, last_event_at, review_began_at,
                  status_read_at, created_at
             FROM kyc_applicants WHERE user_id = $1 ORDER BY created_at DESC LIMIT 50"#,
        user.uuid()
    )
    .fetch_all(db)
    .await?;
    let decisions = sqlx::query!(
        r#"SELECT result, webhook_event_id AS "event: WebhookEventId", provider_at, created_at
             FROM screening_results WHERE user_id = $1 ORDER BY created_at DESC LIMIT 50"#,
        user.uuid()
    )
    .fetch_all(db)
    .await?;
    let log = sqlx::query_as!(
        Logged,
        r#"SELECT at, actor, action, object, detail FROM audit_log
            WHERE user_id = $1 AND (action LIKE 'kyc.%' OR action LIKE 'user.%' OR action = 'aml.case_opened')
            ORDER BY id DESC LIMIT 200"#,
        user.uuid()
    )
    .fetch_all(db)
    .await?;
    Ok(Some(Person {
        kyc_status: person.kyc_status,
        created_at: person.created_at,
        erased_at: person.erased_at,
        held_at: person.held_at,
        applicants: applicants
            .into_iter()
            .map(|row| Applicant {
                id: row.id.to_string(),
                level: row.level_name,
                status: row.status,
                failure: row.failure,
                last_decision: row.last_decision,
                last_event_at: row.last_event_at,
                review_began_at: row.review_began_at,
                status_read_at: row.status_read_at,
                created_at: row.created_at,
            })
            .collect(),
        decisions: decisions
            .into_iter()
            .map(|row| Decided {
                result: row.result,
                event: row.event.to_string(),
                provider_at: row.provider_at,
                created_at: row.created_at,
            })
            .collect(),
        log,
    }))
}
