//! The people who use Drop.

use sqlx::PgExecutor;
use uuid::Uuid;

use super::{StorageError, Tx};
use crate::domain::{
    identity_hash::IdentityHash,
    ids::{SessionId, UserId},
    kyc::KycStatus,
};

/// A user as the API shows them.
pub struct User {
    pub id: UserId,
    pub first_name: String,
    pub last_name: String,
    pub kyc_status: KycStatus,
}

/// A user written at login, and what this login changed.
pub struct Upserted {
    pub id: UserId,
    /// This login made the row.
    pub new: bool,
    pub renamed: bool,
    /// The row was found by a hash of a former pepper and has the current one now.
    pub rehashed: bool,
}

/// The same national id is the same user (contract 3.1), also when two first logins run at once and after the pepper was
/// changed: `hashes` are all that the person's row may hold, the current one first. The name follows BankID; a part that
/// BankID does not tell stays as it was. None where the person was erased: nothing but the hash is written into that row any
/// more.
///
/// # Panics
/// Without any hash.
pub async fn upsert(
    tx: &mut Tx,
    hashes: &[IdentityHash],
    first_name: &str,
    last_name: &str,
) -> Result<Option<Upserted>, StorageError> {
    let current = hashes.first().expect("a person has a hash").hex_secret();
    let fresh = UserId::new();
    let mut found = known(tx, hashes).await?;
    if found.is_none() {
        lock(tx, hashes).await?;
        found = known(tx, hashes).await?;
    }
    let known = match found {
        Some(known) => known,
        None if insert(tx, fresh, current, first_name, last_name).await? => {
            return Ok(Some(Upserted {
                id: fresh,
                new: true,
                renamed: false,
                rehashed: false,
            }));
        }
        // A worker of a release without the lock was quicker, and has committed: the insert waited for it.
        None => known(tx, hashes).await?.ok_or(sqlx::Error::RowNotFound)?,
    };
    if known.erased {
        // Or they would be made anew once the former pepper is gone.
        if known.national_id_hash != current {
            rehash(tx, known.id, current).await?;
        }
        return Ok(None);
    }
    let first_name = told_or_known(first_name, &known.first_name);
    let last_name = told_or_known(last_name, &known.last_name);
    let renamed = known.first_name != first_name || known.last_name != last_name;
    let rehashed = known.national_id_hash != current;
    if renamed || rehashed {
        sqlx::query!(
            "UPDATE users SET national_id_hash = $2, first_name = $3, last_name = $4, updated_at = clock_timestamp()
              WHERE id = $1",
            known.id,
            current,
            first_name,
            last_name,
        )
        .execute(&mut **tx)
        .await?;
    }
    Ok(Some(Upserted {
        id: known.id.into(),
        new: false,
        renamed,
        rehashed,
    }))
}

async fn rehash(tx: &mut Tx, id: Uuid, hash: &str) -> Result<(), StorageError> {
    sqlx::query!("UPDATE users SET national_id_hash = $2 WHERE id = $1", id, hash)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

fn told_or_known<'a>(told: &'a str, known: &'a str) -> &'a str {
    if told.is_empty() { known } else { told }
}

struct Known {
    id: Uuid,
    national_id_hash: String,
    first_name: String,
    last_name: String,
    erased: bool,
}

async fn known(tx: &mut Tx, hashes: &[IdentityHash]) -> Result<Option<Known>, StorageError> {
    let hashes: Vec<String> = hashes.iter().map(|hash| hash.hex_secret().to_owned()).collect();
    Ok(sqlx::query_as!(
        Known,
        r#"SELECT id, national_id_hash, first_name, last_name, erased_at IS NOT NULL AS "erased!"
             FROM users WHERE national_id_hash = ANY ($1)
            ORDER BY array_position($1, national_id_hash) LIMIT 1 FOR NO KEY UPDATE"#,
        &hashes,
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// Orders the first logins of one person until the transaction ends: workers before and after a change of the pepper
/// insert different hashes, which the unique index does not know for one person. Sorted, so that none waits in a circle.
async fn lock(tx: &mut Tx, hashes: &[IdentityHash]) -> Result<(), StorageError> {
    let mut hashes: Vec<String> = hashes.iter().map(|hash| hash.hex_secret().to_owned()).collect();
    hashes.sort_unstable();
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended('first login ' || hash, 0)) FROM unnest($1::text[]) AS hash",
        &hashes,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// False where the hash is in a row already.
async fn insert(tx: &mut Tx, id: UserId, hash: &str, first_name: &str, last_name: &str) -> Result<bool, StorageError> {
    let inserted = sqlx::query!(
        "INSERT INTO users (id, national_id_hash, first_name, last_name) VALUES ($1, $2, $3, $4)
         ON CONFLICT (national_id_hash) DO NOTHING",
        id.uuid(),
        hash,
        first_name,
        last_name,
    )
    .execute(&mut **tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// One user, unless erased.
pub async fn find(db: impl PgExecutor<'_>, id: UserId) -> Result<Option<User>, StorageError> {
    let row = sqlx::query!(
        "SELECT first_name, last_name, kyc_status FROM users WHERE id = $1 AND erased_at IS NULL",
        id.uuid()
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        Ok(User {
            id,
            first_name: row.first_name,
            last_name: row.last_name,
            kyc_status: row.kyc_status.parse().map_err(StorageError::corrupt)?,
        })
    })
    .transpose()
}

/// The user's KYC status, with the row locked: the lock orders payments, their limits and KYC decisions of one user.
pub async fn lock_kyc_status(tx: &mut Tx, id: UserId) -> Result<Option<KycStatus>, StorageError> {
    sqlx::query_scalar!(
        "SELECT kyc_status FROM users WHERE id = $1 AND erased_at IS NULL FOR NO KEY UPDATE",
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?
    .map(|word| word.parse().map_err(StorageError::corrupt))
    .transpose()
}

/// The user's KYC status, with the row locked as by [`lock_kyc_status`], and the session held that asks: whoever ends it
/// waits. `None` where it is not live any more.
pub async fn lock_payer(tx: &mut Tx, id: UserId, session: SessionId) -> Result<Option<KycStatus>, StorageError> {
    sqlx::query_scalar!(
        "SELECT u.kyc_status FROM users u JOIN sessions s ON s.user_id = u.id
          WHERE u.id = $1 AND u.erased_at IS NULL AND s.id = $2 AND s.revoked_at IS NULL
            AND least(s.expires_at, s.idle_expires_at) > clock_timestamp()
            FOR NO KEY UPDATE OF u FOR SHARE OF s",
        id.uuid(),
        session.uuid(),
    )
    .fetch_optional(&mut **tx)
    .await?
    .map(|word| word.parse().map_err(StorageError::corrupt))
    .transpose()
}

/// Sets the KYC status; the caller holds the user's lock and writes the audit row.
pub async fn set_kyc_status(tx: &mut Tx, id: UserId, status: KycStatus) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE users SET kyc_status = $2, updated_at = clock_timestamp() WHERE id = $1",
        id.uuid(),
        status.as_str()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Keeps the sealed e-mail address that Sumsub is told.
pub async fn set_email(tx: &mut Tx, id: UserId, sealed: &[u8]) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE users SET email_sealed = $2, updated_at = clock_timestamp() WHERE id = $1",
        id.uuid(),
        sealed
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
