//! Refusals for good, for a compliance officer to look at (contract 3.4).

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use serde::Serialize;
use sqlx::PgPool;

use super::{StorageError, Tx};
use crate::domain::ids::{AmlCaseId, UserId, WebhookEventId};

/// A refusal that nobody has looked at.
pub struct NewCase<'a> {
    pub user: UserId,
    pub event: WebhookEventId,
    pub applicant_id: &'a str,
    /// Sumsub's words for why.
    pub reject_labels: &'a [String],
}

/// Opens a case; an event opens one at most.
pub async fn open(tx: &mut Tx, new: NewCase<'_>) -> Result<AmlCaseId, StorageError> {
    let id = AmlCaseId::new();
    sqlx::query!(
        "INSERT INTO aml_cases (id, user_id, webhook_event_id, applicant_id, reject_labels) VALUES ($1, $2, $3, $4, $5)",
        id.uuid(),
        new.user.uuid(),
        new.event.uuid(),
        new.applicant_id,
        new.reject_labels,
    )
    .execute(&mut **tx)
    .await?;
    Ok(id)
}

/// A case as a list shows it: ids and Sumsub's words, no person's data.
#[derive(Debug, Serialize, Object)]
pub struct Case {
    /// The case, `aml_…`.
    pub id: String,
    /// Whom it is about, `usr_…`.
    pub user: String,
    /// The applicant at Sumsub.
    pub applicant_id: String,
    /// Sumsub's words for why.
    pub reject_labels: Vec<String>,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// When somebody closed it.
    pub closed_at: Option<DateTime<Utc>>,
    /// What they found: `reported` or `nothing`.
    pub finding: Option<String>,
}

/// The cases, the oldest first, from behind this one: the open ones, or all.
pub async fn list(
    db: &PgPool,
    closed_too: bool,
    after: Option<AmlCaseId>,
    limit: i64,
) -> Result<Vec<Case>, StorageError> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id: AmlCaseId", user_id AS "user: UserId", applicant_id, reject_labels, opened_at, closed_at, finding
             FROM aml_cases
            WHERE (closed_at IS NULL OR $1)
              AND ($3::uuid IS NULL OR (opened_at, id) > (SELECT last.opened_at, last.id FROM aml_cases last WHERE last.id = $3))
            ORDER BY opened_at, id LIMIT $2"#,
        closed_too,
        limit,
        after.map(AmlCaseId::uuid),
    )
    .fetch_all(db)
    .await?;
    let cases = rows.into_iter().map(|row| Case {
        id: row.id.to_string(),
        user: row.user.to_string(),
        applicant_id: row.applicant_id,
        reject_labels: row.reject_labels,
        opened_at: row.opened_at,
        closed_at: row.closed_at,
        finding: row.finding,
    });
    Ok(cases.collect())
}

/// The open cases about one person, the oldest first.
pub async fn open_of(tx: &mut Tx, user: UserId) -> Result<Vec<AmlCaseId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT id AS "id: AmlCaseId" FROM aml_cases WHERE user_id = $1 AND closed_at IS NULL ORDER BY opened_at"#,
        user.uuid(),
    )
    .fetch_all(&mut **tx)
    .await?)
}

/// Ends an open case with what was found. Whose it was; `None`: there is no such open case.
pub async fn close(tx: &mut Tx, id: AmlCaseId, by: &str, finding: &str) -> Result<Option<UserId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"UPDATE aml_cases SET closed_at = clock_timestamp(), closed_by = $2, finding = $3
            WHERE id = $1 AND closed_at IS NULL RETURNING user_id AS "user: UserId""#,
        id.uuid(),
        by,
        finding,
    )
    .fetch_optional(&mut **tx)
    .await?)
}
