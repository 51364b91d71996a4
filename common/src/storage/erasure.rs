//! Forgetting a person: what ends at once. What the law wants to be kept is moved and deleted under a role of its own
//! ([`retention`](super::retention)), once nothing of theirs is under way.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgExecutor;

use super::{StorageError, Tx};
use crate::domain::ids::{ConsentId, UserId};

/// How a person stands.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    pub erased: bool,
    /// A legal hold: nothing of theirs is deleted.
    pub held: bool,
}

/// Locks the person. `None`: there is nobody of this id.
pub async fn lock(tx: &mut Tx, user: UserId) -> Result<Option<Standing>, StorageError> {
    Ok(sqlx::query_as!(
        Standing,
        r#"SELECT erased_at IS NOT NULL AS "erased!", held_at IS NOT NULL AS "held!" FROM users WHERE id = $1
              FOR NO KEY UPDATE"#,
        user.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// The person is gone: nobody gets in as them, and what no law needs is deleted. Payments that are under way go on to their
/// end; consents are the caller's to end. The caller holds the person's lock. Whoever was erased at a time that a backup does not know
/// of was erased then: what is kept of them is kept from that time on.
pub async fn erase(tx: &mut Tx, user: UserId, at: Option<DateTime<Utc>>) -> Result<(), StorageError> {
    sqlx::query!(
        "WITH sessions AS (DELETE FROM sessions WHERE user_id = $1),
              logins AS (DELETE FROM logins WHERE user_id = $1),
              tokens AS (DELETE FROM kyc_sdk_tokens WHERE user_id = $1),
              told AS (DELETE FROM notifications WHERE user_id = $1),
              refreshes AS (UPDATE balance_refreshes SET psu_ip = NULL WHERE user_id = $1)
         UPDATE users SET erased_at = least($2, clock_timestamp()), email_sealed = NULL, updated_at = clock_timestamp() WHERE id = $1",
        user.uuid(),
        at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Somebody who was erased.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Erased {
    /// `usr_…`.
    pub user: String,
    pub erased_at: DateTime<Utc>,
    /// What keeps their records where everybody works; nothing once they are moved, or are the next time.
    pub waits_for: Vec<String>,
}

/// Notes that they were listed where a restore of the database leaves the list alone.
pub async fn note_listed(db: impl PgExecutor<'_>) -> Result<(), StorageError> {
    sqlx::query!("UPDATE retention_runs SET listed_at = clock_timestamp()")
        .execute(db)
        .await?;
    Ok(())
}

/// Those who were erased in these last days, and those of before whose records are not moved yet; the oldest first.
pub async fn erased(db: impl PgExecutor<'_>, days: i32) -> Result<Vec<Erased>, StorageError> {
    Ok(sqlx::query_as!(
        Erased,
        r#"SELECT 'usr_' || replace(u.id::text, '-', '') AS "user!", u.erased_at AS "erased_at!",
                  CASE WHEN u.moved_at IS NULL THEN array_remove(ARRAY[
                    CASE WHEN u.held_at IS NOT NULL THEN 'hold' END,
                    CASE WHEN EXISTS (SELECT FROM transactions t WHERE t.user_id = u.id AND NOT t.bank_final) THEN 'payment' END,
                    CASE WHEN EXISTS (SELECT FROM bank_consents c WHERE c.user_id = u.id AND c.consent_id_sealed IS NOT NULL)
                         THEN 'consent' END,
                    CASE WHEN EXISTS (SELECT FROM aml_cases c WHERE c.user_id = u.id AND c.closed_at IS NULL) THEN 'case' END], NULL)
                    ELSE '{}' END AS "waits_for!"
             FROM users u
            WHERE u.erased_at IS NOT NULL AND (u.moved_at IS NULL OR u.erased_at > now() - make_interval(days => $1))
            ORDER BY u.erased_at, u.id"#,
        days
    )
    .fetch_all(db)
    .await?)
}

/// Their consents that are not over.
pub async fn consents(tx: &mut Tx, user: UserId) -> Result<Vec<ConsentId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT id AS "id: ConsentId" FROM bank_consents
            WHERE user_id = $1 AND status IN ('requested', 'received', 'valid') ORDER BY id"#,
        user.uuid()
    )
    .fetch_all(&mut **tx)
    .await?)
}

/// Places a legal hold, or lifts it. False: it is so already, or there is nobody of this id.
pub async fn hold(tx: &mut Tx, user: UserId, held: bool) -> Result<bool, StorageError> {
    let changed = sqlx::query!(
        "UPDATE users SET held_at = CASE WHEN $2 THEN clock_timestamp() END WHERE id = $1 AND (held_at IS NOT NULL) <> $2",
        user.uuid(),
        held
    )
    .execute(&mut **tx)
    .await?;
    Ok(changed.rows_affected() == 1)
}
