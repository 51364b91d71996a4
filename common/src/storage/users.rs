//! The people who use Drop.

use sqlx::PgPool;

use super::{StorageError, Tx};
use crate::domain::{ids::UserId, kyc::KycStatus};

/// A user as the API shows them.
pub struct User {
    pub id: UserId,
    pub first_name: String,
    pub last_name: String,
    pub kyc_status: KycStatus,
}

/// A user written at login, and whether this login made the row.
pub struct Upserted {
    pub id: UserId,
    pub new: bool,
    pub renamed: bool,
}

/// The same national id is the same user (contract 3.1), also when two first logins run at once; the name follows BankID.
pub async fn upsert(
    tx: &mut Tx,
    national_id_hash: &str,
    first_name: &str,
    last_name: &str,
) -> Result<Upserted, StorageError> {
    let fresh = UserId::new();
    let inserted = sqlx::query!(
        "INSERT INTO users (id, national_id_hash, first_name, last_name) VALUES ($1, $2, $3, $4)
         ON CONFLICT (national_id_hash) DO NOTHING",
        fresh.uuid(),
        national_id_hash,
        first_name,
        last_name,
    )
    .execute(&mut **tx)
    .await?;
    if inserted.rows_affected() == 1 {
        return Ok(Upserted {
            id: fresh,
            new: true,
            renamed: false,
        });
    }
    let known = sqlx::query!(
        "SELECT id, first_name, last_name FROM users WHERE national_id_hash = $1 FOR NO KEY UPDATE",
        national_id_hash
    )
    .fetch_one(&mut **tx)
    .await?;
    let renamed = known.first_name != first_name || known.last_name != last_name;
    if renamed {
        sqlx::query!(
            "UPDATE users SET first_name = $2, last_name = $3, updated_at = clock_timestamp() WHERE id = $1",
            known.id,
            first_name,
            last_name,
        )
        .execute(&mut **tx)
        .await?;
    }
    Ok(Upserted {
        id: known.id.into(),
        new: false,
        renamed,
    })
}

/// One user, unless erased.
pub async fn find(db: &PgPool, id: UserId) -> Result<Option<User>, StorageError> {
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
