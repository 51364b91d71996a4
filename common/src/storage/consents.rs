//! Consents to read accounts at a bank.

use chrono::{DateTime, NaiveDate, Utc};
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use uuid::Uuid;

use super::{StorageError, Tx, accounts};
use crate::domain::{
    consent::ConsentStatus,
    ids::{ConsentId, UserId},
};
use crate::keyring::{Keyring, sha256};

/// A consent as its owner and the jobs see it.
pub struct Consent {
    pub id: ConsentId,
    pub user: UserId,
    pub bank: String,
    pub status: ConsentStatus,
    pub failure: Option<String>,
    pub request_id: Uuid,
    pub consent_id: Option<SecretString>,
    pub sca_redirect: Option<String>,
    pub psu_ip: Option<String>,
    pub valid_until: Option<NaiveDate>,
    pub created_at: DateTime<Utc>,
}

/// What a request to link a bank stores.
pub struct NewConsent<'a> {
    pub user: UserId,
    pub bank: &'a str,
    pub client_key: &'a str,
    pub state: &'a SecretString,
    pub psu_ip: Option<&'a str>,
    pub psu_user_agent: Option<&'a str>,
}

/// Stores the request; the same key finds the first one. True: this call made it.
pub async fn request(tx: &mut Tx, keys: &Keyring, new: NewConsent<'_>) -> Result<(ConsentId, bool), StorageError> {
    let id = ConsentId::new();
    let state_hash = sha256(new.state.expose_secret().as_bytes());
    let made = sqlx::query!(
        "INSERT INTO bank_consents (id, user_id, bank, client_key, request_id, callback_state_hash, callback_state_sealed, psu_ip, psu_user_agent)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (user_id, client_key) DO NOTHING",
        id.uuid(),
        new.user.uuid(),
        new.bank,
        new.client_key,
        Uuid::new_v4(),
        state_hash.as_slice(),
        keys.seal("bank_consents.callback_state_sealed", id.uuid(), new.state.expose_secret().as_bytes()),
        new.psu_ip,
        new.psu_user_agent,
    )
    .execute(&mut **tx)
    .await?;
    if made.rows_affected() == 1 {
        return Ok((id, true));
    }
    let first = sqlx::query_scalar!(
        "SELECT id FROM bank_consents WHERE user_id = $1 AND client_key = $2",
        new.user.uuid(),
        new.client_key
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok((first.into(), false))
}

/// One consent, whoever owns it: for jobs.
pub async fn find(db: &PgPool, keys: &Keyring, id: ConsentId) -> Result<Option<Consent>, StorageError> {
    let row = sqlx::query!(
        "SELECT user_id, bank, status, failure, request_id, consent_id_sealed, sca_redirect, psu_ip, valid_until, created_at
           FROM bank_consents WHERE id = $1",
        id.uuid()
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        let consent_id = row
            .consent_id_sealed
            .map(|sealed| keys.open_text("bank_consents.consent_id_sealed", id.uuid(), &sealed))
            .transpose()
            .map_err(StorageError::corrupt)?;
        Ok(Consent {
            id,
            user: row.user_id.into(),
            bank: row.bank,
            status: row.status.parse().map_err(StorageError::corrupt)?,
            failure: row.failure,
            request_id: row.request_id,
            consent_id,
            sca_redirect: row.sca_redirect,
            psu_ip: row.psu_ip,
            valid_until: row.valid_until,
            created_at: row.created_at,
        })
    })
    .transpose()
}

/// One consent of this user.
pub async fn find_own(
    db: &PgPool,
    keys: &Keyring,
    user: UserId,
    id: ConsentId,
) -> Result<Option<Consent>, StorageError> {
    Ok(find(db, keys, id).await?.filter(|consent| consent.user == user))
}

/// The state that goes into the redirect address; gone once the bank has the consent.
pub async fn callback_state(db: &PgPool, keys: &Keyring, id: ConsentId) -> Result<Option<SecretString>, StorageError> {
    let sealed = sqlx::query_scalar!(
        "SELECT callback_state_sealed FROM bank_consents WHERE id = $1",
        id.uuid()
    )
    .fetch_optional(db)
    .await?
    .flatten();
    sealed
        .map(|sealed| keys.open_text("bank_consents.callback_state_sealed", id.uuid(), &sealed))
        .transpose()
        .map_err(StorageError::corrupt)
}

/// True where the state belongs to the consent: the callback may ask for a look at the bank.
pub async fn state_matches(db: &PgPool, id: ConsentId, state: &str) -> Result<bool, StorageError> {
    let state_hash = sha256(state.as_bytes());
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM bank_consents WHERE id = $1 AND callback_state_hash = $2) AS "matches!""#,
        id.uuid(),
        state_hash.as_slice()
    )
    .fetch_one(db)
    .await?)
}

/// What the bank answered to the consent call.
pub struct Received<'a> {
    pub consent_id: &'a SecretString,
    pub sca_redirect: &'a str,
    pub valid_until: Option<NaiveDate>,
}

/// The bank has the consent and waits for the person. Only the first answer is kept.
pub async fn received(tx: &mut Tx, keys: &Keyring, id: ConsentId, answer: Received<'_>) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE bank_consents SET status = 'received', consent_id_sealed = $2, sca_redirect = $3, valid_until = $4,
                callback_state_sealed = NULL, version = version + 1, updated_at = clock_timestamp()
          WHERE id = $1 AND status = 'requested'",
        id.uuid(),
        keys.seal(
            "bank_consents.consent_id_sealed",
            id.uuid(),
            answer.consent_id.expose_secret().as_bytes()
        ),
        answer.sca_redirect,
        answer.valid_until,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The consent call ended without a consent.
pub async fn failed(tx: &mut Tx, id: ConsentId, why: &str) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE bank_consents SET status = 'failed', failure = $2, version = version + 1, updated_at = clock_timestamp()
          WHERE id = $1 AND status = 'requested'",
        id.uuid(),
        why
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The bank says where the consent stands. A newly valid one replaces the user's older ones at that bank.
pub async fn moved(tx: &mut Tx, consent: &Consent, status: ConsentStatus) -> Result<bool, StorageError> {
    let moved = sqlx::query!(
        "UPDATE bank_consents SET status = $2, version = version + 1, updated_at = clock_timestamp(),
                authorised_at = CASE WHEN $2 = 'valid' THEN coalesce(authorised_at, clock_timestamp()) ELSE authorised_at END
          WHERE id = $1 AND status <> $2 AND status IN ('received', 'valid')",
        consent.id.uuid(),
        status.as_str(),
    )
    .execute(&mut **tx)
    .await?;
    if moved.rows_affected() == 1 && status == ConsentStatus::Valid {
        sqlx::query!(
            "UPDATE bank_consents SET status = 'replaced', version = version + 1, updated_at = clock_timestamp()
              WHERE user_id = $1 AND bank = $2 AND id <> $3 AND status = 'valid'",
            consent.user.uuid(),
            consent.bank,
            consent.id.uuid(),
        )
        .execute(&mut **tx)
        .await?;
    }
    Ok(moved.rows_affected() == 1)
}

/// A consent that waits for the person is over without them. Its owner; `None`: it does not wait.
pub async fn abandon(tx: &mut Tx, id: ConsentId) -> Result<Option<UserId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"UPDATE bank_consents SET status = 'expired', version = version + 1, updated_at = clock_timestamp()
            WHERE id = $1 AND status = 'received' RETURNING user_id AS "user: UserId""#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// The bank says that the consent is dead: it is deleted here, so that no call can use it again, and the accounts it
/// opened are unlinked. Its owner, for whoever did it first; `None`: it had ended already.
pub async fn delete_dead(tx: &mut Tx, id: ConsentId) -> Result<Option<UserId>, StorageError> {
    let owner = sqlx::query_scalar!(
        r#"UPDATE bank_consents SET status = 'deleted', consent_id_sealed = NULL, sca_redirect = NULL, psu_ip = NULL, psu_user_agent = NULL,
                  version = version + 1, updated_at = clock_timestamp()
            WHERE id = $1 AND status = 'valid' RETURNING user_id AS "user: UserId""#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?;
    if owner.is_some() {
        accounts::unlink(tx, id).await?;
    }
    Ok(owner)
}
