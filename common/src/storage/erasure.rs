//! Forgetting a person: what ends at once. What the law wants to be kept is moved and deleted under a role of its own
//! ([`retention`](super::retention)), once nothing of theirs is under way.

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
/// end; consents are the caller's to end. The caller holds the person's lock.
pub async fn erase(tx: &mut Tx, user: UserId) -> Result<(), StorageError> {
    sqlx::query!(
        "WITH sessions AS (DELETE FROM sessions WHERE user_id = $1),
              logins AS (DELETE FROM logins WHERE user_id = $1),
              tokens AS (DELETE FROM kyc_sdk_tokens WHERE user_id = $1),
              told AS (DELETE FROM notifications WHERE user_id = $1),
              refreshes AS (UPDATE balance_refreshes SET psu_ip = NULL WHERE user_id = $1)
         UPDATE users SET erased_at = clock_timestamp(), email_sealed = NULL, updated_at = clock_timestamp() WHERE id = $1",
        user.uuid()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
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
