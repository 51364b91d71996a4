//! Asking Sumsub how somebody's check stands: who is asked about, and what was known before.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{StorageError, Tx};
use crate::domain::{
    ids::{KycApplicantId, UserId, WebhookEventId},
    kyc::Decision,
};

/// What is known of an applicant before Sumsub is asked about it.
pub struct Known {
    pub user: UserId,
    pub applicant_id: String,
    pub level_name: String,
    pub last_decision: Option<Decision>,
    pub last_event_at: Option<DateTime<Utc>>,
    /// When Sumsub was told of the person.
    pub created_at: DateTime<Utc>,
}

/// The applicant, if Sumsub has it.
pub async fn known(db: &PgPool, id: KycApplicantId) -> Result<Option<Known>, StorageError> {
    let row = sqlx::query!(
        r#"SELECT user_id AS "user: UserId", applicant_id AS "applicant_id!", level_name, last_decision, last_event_at, created_at
             FROM kyc_applicants WHERE id = $1 AND applicant_id IS NOT NULL"#,
        id.uuid()
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        let last = row.last_decision.map(|word| word.parse()).transpose();
        Ok(Known {
            user: row.user,
            applicant_id: row.applicant_id,
            level_name: row.level_name,
            last_decision: last.map_err(StorageError::corrupt)?,
            last_event_at: row.last_event_at,
            created_at: row.created_at,
        })
    })
    .transpose()
}

/// Takes the applicants that Sumsub is to be asked about: their users have been pending for more than half an hour. The
/// longer nothing happens, the rarer they are asked for: hourly on the first day, and in the end once a day.
pub async fn take_due(tx: &mut Tx, level: &str, limit: i64) -> Result<Vec<KycApplicantId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"UPDATE kyc_applicants SET status_read_at = clock_timestamp()
            WHERE id = ANY (ARRAY(
              SELECT a.id FROM kyc_applicants a JOIN users u ON u.id = a.user_id
               WHERE a.level_name = $1 AND a.applicant_id IS NOT NULL AND u.kyc_status = 'pending' AND u.erased_at IS NULL
                 AND a.updated_at < clock_timestamp() - interval '30 min'
                 AND (a.status_read_at IS NULL OR a.status_read_at < clock_timestamp()
                       - least(greatest((clock_timestamp() - a.updated_at) / 12, interval '50 min'), interval '23 h'))
               ORDER BY a.status_read_at NULLS FIRST LIMIT $2 FOR NO KEY UPDATE OF a SKIP LOCKED))
           RETURNING id AS "id: KycApplicantId""#,
        level,
        limit,
    )
    .fetch_all(&mut **tx)
    .await?)
}

/// Takes the applicants that were decided, and that Sumsub was not asked about for almost a day: the webhook that takes an
/// approval back, or a refusal, may be lost like any other.
pub async fn take_decided(tx: &mut Tx, level: &str, limit: i64) -> Result<Vec<KycApplicantId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"UPDATE kyc_applicants SET status_read_at = clock_timestamp()
            WHERE id = ANY (ARRAY(
              SELECT a.id FROM kyc_applicants a JOIN users u ON u.id = a.user_id
               WHERE a.level_name = $1 AND a.applicant_id IS NOT NULL AND u.kyc_status <> 'pending' AND u.erased_at IS NULL
                 AND coalesce(a.status_read_at, a.updated_at) < clock_timestamp() - interval '23 h'
               ORDER BY coalesce(a.status_read_at, a.updated_at) LIMIT $2 FOR NO KEY UPDATE OF a SKIP LOCKED))
           RETURNING id AS "id: KycApplicantId""#,
        level,
        limit,
    )
    .fetch_all(&mut **tx)
    .await?)
}

/// Accepted events of more than ten minutes ago that no job will apply: it was discarded, say.
pub async fn stranded(tx: &mut Tx, kind: &str, limit: i64) -> Result<Vec<WebhookEventId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT e.id AS "id: WebhookEventId" FROM webhook_events e
            WHERE e.applied_at IS NULL AND e.state = 'received' AND e.raw IS NOT NULL
              AND e.received_at < clock_timestamp() - interval '10 min'
              AND NOT EXISTS (SELECT FROM jobs j WHERE j.kind = $1 AND j.unique_key = 'evt_' || replace(e.id::text, '-', '')
                                 AND j.state <> 'done')
            ORDER BY e.received_at, e.id LIMIT $2"#,
        kind,
        limit,
    )
    .fetch_all(&mut **tx)
    .await?)
}
