//! Tokens of Sumsub's SDK: wished for in a request, sealed in by a worker, taken out once by the request that waits.

use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use super::{StorageError, Tx};
use crate::domain::ids::{SdkTokenId, UserId};

/// The column, as the keyring has it.
pub const COLUMN: &str = "kyc_sdk_tokens.token_sealed";

/// Asks for a token.
pub async fn request(tx: &mut Tx, user: UserId, level: &str) -> Result<SdkTokenId, StorageError> {
    let id = SdkTokenId::new();
    sqlx::query!(
        "INSERT INTO kyc_sdk_tokens (id, user_id, level_name, request_id) VALUES ($1, $2, $3, $4)",
        id.uuid(),
        user.uuid(),
        level,
        Uuid::new_v4(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(id)
}

/// A token that somebody waits for.
pub struct Wanted {
    pub user: UserId,
    pub request_id: Uuid,
}

/// The wish, while somebody waits for it.
pub async fn wanted(db: &PgPool, id: SdkTokenId) -> Result<Option<Wanted>, StorageError> {
    Ok(sqlx::query_as!(
        Wanted,
        r#"SELECT user_id AS "user: UserId", request_id FROM kyc_sdk_tokens WHERE id = $1 AND status = 'requested'"#,
        id.uuid()
    )
    .fetch_optional(db)
    .await?)
}

/// Seals the token in, if somebody still waits for it.
pub async fn ready(tx: &mut Tx, id: SdkTokenId, sealed: &[u8]) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE kyc_sdk_tokens SET status = 'ready', token_sealed = $2 WHERE id = $1 AND status = 'requested'",
        id.uuid(),
        sealed
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// There will be no token.
pub async fn failed(tx: &mut Tx, id: SdkTokenId, why: &str) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE kyc_sdk_tokens SET status = 'failed', failure = $2 WHERE id = $1 AND status = 'requested'",
        id.uuid(),
        why
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What became of a wish.
pub enum Taken {
    /// The token, sealed; the row is empty now.
    Token(Vec<u8>),
    /// There is none, or it was taken already.
    Nothing,
}

/// Takes the token out; `None` while the worker has not answered.
pub async fn take(tx: &mut Tx, id: SdkTokenId) -> Result<Option<Taken>, StorageError> {
    let taken = sqlx::query_scalar!(
        r#"WITH ready AS (SELECT id, token_sealed FROM kyc_sdk_tokens WHERE id = $1 AND status = 'ready' FOR UPDATE)
           UPDATE kyc_sdk_tokens t SET status = 'handed_out', token_sealed = NULL
             FROM ready WHERE t.id = ready.id RETURNING ready.token_sealed AS "sealed!""#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?;
    if let Some(sealed) = taken {
        return Ok(Some(Taken::Token(sealed)));
    }
    let open = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM kyc_sdk_tokens WHERE id = $1 AND status IN ('requested', 'ready')) AS "open!""#,
        id.uuid()
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok((!open).then_some(Taken::Nothing))
}

/// Nobody waits any more: a token that comes now is not kept, and one that has just come is thrown away.
pub async fn abandon(db: impl PgExecutor<'_>, id: SdkTokenId) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE kyc_sdk_tokens SET status = 'failed', failure = 'abandoned', token_sealed = NULL
          WHERE id = $1 AND status IN ('requested', 'ready')",
        id.uuid()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Deletes wishes of more than 15 minutes ago, with what a process that died has left in them. Returns how many.
pub async fn prune(db: &PgPool) -> Result<u64, StorageError> {
    let pruned = sqlx::query!("DELETE FROM kyc_sdk_tokens WHERE created_at < clock_timestamp() - interval '15 min'")
        .execute(db)
        .await?;
    Ok(pruned.rows_affected())
}
