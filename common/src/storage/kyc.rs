//! Applicants at Sumsub and the decisions that were applied to users.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use super::{StorageError, Tx};
use crate::domain::{
    ids::{KycApplicantId, UserId, WebhookEventId},
    kyc::{Decision, KycStatus, Standing},
};

/// One user's applicant for one level.
pub struct Applicant {
    pub id: KycApplicantId,
    pub user: UserId,
    pub level_name: String,
    pub request_id: Uuid,
    pub applicant_id: Option<String>,
    pub failed: bool,
    /// The decision that was taken up last.
    pub last_decision: Option<Decision>,
}

/// Asks for an applicant; asking again finds the same row, and revives one whose creation was refused. True: Sumsub is to
/// be asked, which it was not before.
pub async fn request_applicant(tx: &mut Tx, user: UserId, level: &str) -> Result<(Applicant, bool), StorageError> {
    let request = Uuid::new_v4();
    let row = sqlx::query!(
        "INSERT INTO kyc_applicants AS a (id, user_id, level_name, request_id) VALUES ($1, $2, $3, $4)
         ON CONFLICT (user_id, level_name) DO UPDATE
            SET status = CASE WHEN a.status = 'failed' THEN 'requested' ELSE a.status END, failure = NULL,
                request_id = CASE WHEN a.status = 'failed' THEN excluded.request_id ELSE a.request_id END,
                updated_at = CASE WHEN a.status = 'failed' THEN clock_timestamp() ELSE a.updated_at END
         RETURNING id, request_id, applicant_id, last_decision",
        KycApplicantId::new().uuid(),
        user.uuid(),
        level,
        request,
    )
    .fetch_one(&mut **tx)
    .await?;
    let applicant = Applicant {
        id: row.id.into(),
        user,
        level_name: level.to_owned(),
        request_id: row.request_id,
        applicant_id: row.applicant_id,
        failed: false,
        last_decision: decision(row.last_decision)?,
    };
    Ok((applicant, row.request_id == request))
}

/// The user's applicant for the level.
pub async fn applicant_of(
    db: impl PgExecutor<'_>,
    user: UserId,
    level: &str,
) -> Result<Option<Applicant>, StorageError> {
    let row = sqlx::query!(
        "SELECT id, request_id, applicant_id, status, last_decision FROM kyc_applicants WHERE user_id = $1 AND level_name = $2",
        user.uuid(),
        level
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        Ok(Applicant {
            id: row.id.into(),
            user,
            level_name: level.to_owned(),
            request_id: row.request_id,
            applicant_id: row.applicant_id,
            failed: row.status == "failed",
            last_decision: decision(row.last_decision)?,
        })
    })
    .transpose()
}

fn decision(word: Option<String>) -> Result<Option<Decision>, StorageError> {
    word.map(|word| word.parse().map_err(StorageError::corrupt)).transpose()
}

/// What the create call needs: the applicant and the user's sealed e-mail.
pub async fn to_create(db: &PgPool, id: KycApplicantId) -> Result<Option<(Applicant, Option<Vec<u8>>)>, StorageError> {
    let row = sqlx::query!(
        "SELECT a.user_id, a.level_name, a.request_id, a.applicant_id, u.email_sealed
           FROM kyc_applicants a JOIN users u ON u.id = a.user_id
          WHERE a.id = $1 AND a.status = 'requested' AND u.erased_at IS NULL",
        id.uuid()
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| {
        let applicant = Applicant {
            id,
            user: row.user_id.into(),
            level_name: row.level_name,
            request_id: row.request_id,
            applicant_id: row.applicant_id,
            failed: false,
            last_decision: None,
        };
        (applicant, row.email_sealed)
    }))
}

/// Orders what is done about one applicant at Sumsub until the transaction ends: an event that finds no user for it is
/// then either stored as unmatched before the applicant appears, or finds it. Taken before the user's lock.
pub async fn lock_applicant_id(tx: &mut Tx, applicant_id: &str) -> Result<(), StorageError> {
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended('sumsub applicant ' || $1, 0))",
        applicant_id
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whose applicant this is, at whatever level.
pub async fn user_of_applicant(tx: &mut Tx, applicant_id: &str) -> Result<Option<UserId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT user_id AS "user: UserId" FROM kyc_applicants WHERE applicant_id = $1 LIMIT 1"#,
        applicant_id
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// Whether Sumsub has deleted this applicant.
pub async fn is_former(tx: &mut Tx, applicant_id: &str) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM kyc_former_applicants WHERE applicant_id = $1) AS "former!""#,
        applicant_id
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// Somebody who was erased.
pub struct Erased {
    pub user: UserId,
    pub status: KycStatus,
}

/// Whoever was erased and is named by either of the two. Their row is locked, so that nothing of theirs is moved meanwhile.
pub async fn lock_erased(
    tx: &mut Tx,
    user: Option<UserId>,
    applicant_id: Option<&str>,
) -> Result<Option<Erased>, StorageError> {
    let row = sqlx::query!(
        r#"SELECT id AS "user: UserId", kyc_status FROM users
            WHERE erased_at IS NOT NULL
              AND (id = $1 OR id = (SELECT user_id FROM kyc_former_applicants WHERE applicant_id = $2))
            ORDER BY id = $1 DESC LIMIT 1 FOR NO KEY UPDATE"#,
        user.map(UserId::uuid),
        applicant_id
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| {
        Ok(Erased {
            user: row.user,
            status: row.kyc_status.parse().map_err(StorageError::corrupt)?,
        })
    })
    .transpose()
}

/// Sumsub has deleted the applicant. Status and records stay; a check that is asked for again begins anew.
pub async fn unlink(tx: &mut Tx, id: KycApplicantId) -> Result<(), StorageError> {
    sqlx::query!(
        "INSERT INTO kyc_former_applicants (applicant_id, user_id, level_name, last_decision, last_event_at)
         SELECT applicant_id, user_id, level_name, last_decision, last_event_at FROM kyc_applicants
          WHERE id = $1 AND applicant_id IS NOT NULL
         ON CONFLICT (applicant_id) DO NOTHING",
        id.uuid()
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "UPDATE kyc_applicants SET status = 'failed', failure = 'deleted', applicant_id = NULL, last_decision = NULL,
                last_event_at = NULL, review_began_at = NULL, updated_at = clock_timestamp() WHERE id = $1",
        id.uuid()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Sumsub knows the person under this id. False: an id was known before.
pub async fn created(tx: &mut Tx, id: KycApplicantId, applicant_id: &str) -> Result<bool, StorageError> {
    let created = sqlx::query!(
        "UPDATE kyc_applicants SET status = 'created', applicant_id = $2, failure = NULL, updated_at = clock_timestamp()
          WHERE id = $1 AND applicant_id IS NULL",
        id.uuid(),
        applicant_id
    )
    .execute(&mut **tx)
    .await?;
    Ok(created.rows_affected() == 1)
}

/// Sumsub gave no applicant. Their user; `None`: there is an outcome already.
pub async fn creation_failed(tx: &mut Tx, id: KycApplicantId, why: &str) -> Result<Option<UserId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"UPDATE kyc_applicants SET status = 'failed', failure = $2, updated_at = clock_timestamp()
            WHERE id = $1 AND status = 'requested' RETURNING user_id AS "user: UserId""#,
        id.uuid(),
        why
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// A user with the standing that decides what an event may change. The user's row is locked.
pub struct LockedStanding {
    pub applicant: KycApplicantId,
    pub applicant_id: Option<String>,
    pub standing: Standing,
}

/// Locks the user's row, which orders the decisions about them, and reads where they stand.
pub async fn lock_standing(tx: &mut Tx, user: UserId, level: &str) -> Result<Option<LockedStanding>, StorageError> {
    let Some(status) = super::users::lock_kyc_status(tx, user).await? else {
        return Ok(None);
    };
    let row = sqlx::query!(
        "SELECT id, applicant_id, last_decision, last_event_at FROM kyc_applicants
          WHERE user_id = $1 AND level_name = $2 FOR NO KEY UPDATE",
        user.uuid(),
        level
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| {
        Ok(LockedStanding {
            applicant: row.id.into(),
            applicant_id: row.applicant_id,
            standing: Standing {
                last_decision: decision(row.last_decision)?,
                last_event_at: row.last_event_at,
                status,
            },
        })
    })
    .transpose()
}

/// Moves the watermark and the current decision.
pub async fn set_standing(
    tx: &mut Tx,
    applicant: KycApplicantId,
    last_decision: Option<Decision>,
    last_event_at: Option<DateTime<Utc>>,
) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE kyc_applicants SET last_decision = $2, last_event_at = $3, updated_at = clock_timestamp(),
                review_began_at = CASE WHEN $4 THEN coalesce(review_began_at, clock_timestamp()) END
          WHERE id = $1",
        applicant.uuid(),
        last_decision.map(Decision::as_str),
        last_event_at,
        last_decision.is_some_and(Decision::is_in_review),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// One applied decision (contract 3.4).
pub struct ScreeningResult<'a> {
    pub user: UserId,
    pub event: WebhookEventId,
    pub applicant_id: &'a str,
    pub decision: Decision,
    pub reject_labels: &'a [String],
    /// What the person may be shown.
    pub comment: Option<&'a str>,
    pub provider_at: DateTime<Utc>,
}

/// Keeps an applied decision; the event's id makes it unique.
pub async fn insert_result(tx: &mut Tx, result: ScreeningResult<'_>) -> Result<(), StorageError> {
    sqlx::query!(
        "INSERT INTO screening_results
           (id, user_id, screening_type, result, webhook_event_id, applicant_id, reject_labels, comment, provider_at)
         VALUES ($1, $2, 'kyc', $3, $4, $5, $6, $7, $8)",
        Uuid::now_v7(),
        result.user.uuid(),
        result.decision.as_str(),
        result.event.uuid(),
        result.applicant_id,
        result.reject_labels,
        result.comment,
        result.provider_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What Sumsub said to the person with the latest decision about them.
pub async fn latest_comment(db: impl PgExecutor<'_>, user: UserId) -> Result<Option<String>, StorageError> {
    let comment = sqlx::query_scalar!(
        "SELECT comment FROM screening_results WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT 1",
        user.uuid()
    )
    .fetch_optional(db)
    .await?;
    Ok(comment.flatten())
}
