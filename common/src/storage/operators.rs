//! Operators who signed out.

use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use super::StorageError;

/// Ends the session: whoever holds a copy of its cookie is nobody.
pub async fn sign_out(db: &PgPool, session: Uuid) -> Result<(), StorageError> {
    sqlx::query!(
        "INSERT INTO operator_sign_outs (session) VALUES ($1) ON CONFLICT DO NOTHING",
        session
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Whether the session was ended.
pub async fn has_signed_out(db: impl PgExecutor<'_>, session: Uuid) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM operator_sign_outs WHERE session = $1) AS "ended!""#,
        session
    )
    .fetch_one(db)
    .await?)
}

/// Forgets those of more than a day ago: by then no cookie of theirs is good for anything. How many.
pub async fn prune(db: &PgPool) -> Result<u64, StorageError> {
    let pruned = sqlx::query!("DELETE FROM operator_sign_outs WHERE at < clock_timestamp() - interval '1 day'")
        .execute(db)
        .await?;
    Ok(pruned.rows_affected())
}
