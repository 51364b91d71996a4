//! Sessions: what an access token's `sid` must name.

use chrono::Duration;
use sqlx::PgPool;

use super::{StorageError, Tx};
use crate::domain::ids::{SessionId, UserId};

/// Opens a browser session of the given length, by the database's clock.
pub async fn open_web(tx: &mut Tx, user: UserId, life: Duration) -> Result<SessionId, StorageError> {
    let id = SessionId::new();
    sqlx::query!(
        "INSERT INTO sessions (id, user_id, channel, expires_at)
         VALUES ($1, $2, 'web', clock_timestamp() + $3 * interval '1 ms')",
        id.uuid(),
        user.uuid(),
        millis(life),
    )
    .execute(&mut **tx)
    .await?;
    Ok(id)
}

/// Whether the session exists, is this user's, and was neither revoked nor outlived; an erased user has none. The
/// database's clock decides, as it did when the session was opened.
pub async fn is_live(db: &PgPool, id: SessionId, user: UserId) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (
             SELECT FROM sessions s JOIN users u ON u.id = s.user_id
              WHERE s.id = $1 AND s.user_id = $2 AND s.revoked_at IS NULL AND s.expires_at > clock_timestamp()
                AND u.erased_at IS NULL
           ) AS "live!""#,
        id.uuid(),
        user.uuid(),
    )
    .fetch_one(db)
    .await?)
}

/// Ends the session; a second time changes nothing.
pub async fn revoke(tx: &mut Tx, id: SessionId) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE sessions SET revoked_at = clock_timestamp() WHERE id = $1 AND revoked_at IS NULL",
        id.uuid()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

// Session lives are days: far inside what a double holds exactly.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of days are exact in a double")]
fn millis(life: Duration) -> f64 {
    life.num_milliseconds() as f64
}
