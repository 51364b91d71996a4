//! Consents to read accounts at a bank.

mod endings;

pub use endings::{
    Unlinking, abandon, delete_dead, end, ended_at_the_bank, ended_before, is_linking, is_taken_over, owner,
    replace_older, take_ending, taken_over,
};

use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use super::{StorageError, Tx};
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
    /// The person's address, while they are there: their wish is not at the bank yet, or they came back from the bank
    /// within the last five minutes. A look on the timer is made without them.
    pub psu_ip: Option<String>,
    pub valid_until: Option<NaiveDate>,
    pub created_at: DateTime<Utc>,
    /// When it was first seen to be valid.
    pub authorised_at: Option<DateTime<Utc>>,
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

/// What the statements below read of a consent.
struct Row {
    id: ConsentId,
    user_id: UserId,
    bank: String,
    status: String,
    failure: Option<String>,
    request_id: Uuid,
    consent_id_sealed: Option<Vec<u8>>,
    sca_redirect: Option<String>,
    psu_ip: Option<String>,
    valid_until: Option<NaiveDate>,
    created_at: DateTime<Utc>,
    authorised_at: Option<DateTime<Utc>>,
}

impl Row {
    fn open(self, keys: &Keyring) -> Result<Consent, StorageError> {
        let consent_id = self
            .consent_id_sealed
            .map(|sealed| keys.open_text("bank_consents.consent_id_sealed", self.id.uuid(), &sealed))
            .transpose()
            .map_err(StorageError::corrupt)?;
        Ok(Consent {
            id: self.id,
            user: self.user_id,
            bank: self.bank,
            status: self.status.parse().map_err(StorageError::corrupt)?,
            failure: self.failure,
            request_id: self.request_id,
            consent_id,
            sca_redirect: self.sca_redirect,
            psu_ip: self.psu_ip,
            valid_until: self.valid_until,
            created_at: self.created_at,
            authorised_at: self.authorised_at,
        })
    }
}

/// One consent, whoever owns it: for jobs.
pub async fn find(db: impl PgExecutor<'_>, keys: &Keyring, id: ConsentId) -> Result<Option<Consent>, StorageError> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id AS "id: ConsentId", user_id AS "user_id: UserId", bank, status, failure, request_id, consent_id_sealed,
                  sca_redirect, valid_until, created_at, authorised_at,
                  CASE WHEN status = 'requested' OR callback_at > clock_timestamp() - interval '5 minutes' THEN psu_ip END AS psu_ip
             FROM bank_consents WHERE id = $1"#,
        id.uuid()
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| row.open(keys)).transpose()
}

/// The newest consents of this user, the newest first.
pub async fn list(
    db: impl PgExecutor<'_>,
    keys: &Keyring,
    user: UserId,
    limit: i64,
) -> Result<Vec<Consent>, StorageError> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT id AS "id: ConsentId", user_id AS "user_id: UserId", bank, status, failure, request_id, consent_id_sealed,
                  sca_redirect, valid_until, created_at, authorised_at, NULL::text AS psu_ip
             FROM bank_consents WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2"#,
        user.uuid(),
        limit
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(|row| row.open(keys)).collect()
}

/// One consent of this user.
pub async fn find_own(
    db: impl PgExecutor<'_>,
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

/// Between two looks at the bank that returns bring forward: somebody may come back again and again.
pub const LOOKS_APART: Duration = Duration::from_secs(5);

/// A return from the bank.
pub struct CameBack {
    /// Where the consent stands.
    pub status: ConsentStatus,
    /// There was none a moment ago: the bank should be asked at once.
    pub is_news: bool,
}

/// Notes that the person came back from the bank, and from which address. `None`: the state is not the consent's. From here on
/// the transaction is about its owner.
pub async fn came_back(
    tx: &mut Tx,
    id: ConsentId,
    state: &str,
    psu_ip: Option<&str>,
) -> Result<Option<CameBack>, StorageError> {
    let named = sqlx::query!(
        "SELECT set_config('app.user_id', owner::text, true) FROM owner_of_consent($1) AS owner WHERE owner IS NOT NULL",
        id.uuid()
    );
    if named.fetch_optional(&mut **tx).await?.is_none() {
        return Ok(None);
    }
    let state_hash = sha256(state.as_bytes());
    // The address is kept only while a look is still to come.
    let row = sqlx::query!(
        r#"UPDATE bank_consents c SET callback_at = clock_timestamp(), psu_ip = CASE WHEN status = 'received' THEN $3 END
             FROM (SELECT id, callback_at IS NULL OR callback_at < clock_timestamp() - $4::bigint * interval '1 s' AS is_news
                     FROM bank_consents WHERE id = $1 AND callback_state_hash = $2 FOR NO KEY UPDATE) was
            WHERE c.id = was.id RETURNING c.status, was.is_news AS "is_news!""#,
        id.uuid(),
        state_hash.as_slice(),
        psu_ip,
        i64::try_from(LOOKS_APART.as_secs()).unwrap_or(i64::MAX)
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| {
        Ok(CameBack {
            status: row.status.parse().map_err(StorageError::corrupt)?,
            is_news: row.is_news,
        })
    })
    .transpose()
}

/// Whether the person came back from the bank after this time. Locks the consent, so that a return is either seen here
/// or finds the next look waiting.
pub async fn came_back_since(tx: &mut Tx, id: ConsentId, since: DateTime<Utc>) -> Result<bool, StorageError> {
    let callback_at = sqlx::query_scalar!(
        "SELECT callback_at FROM bank_consents WHERE id = $1 FOR NO KEY UPDATE",
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?
    .flatten();
    Ok(callback_at.is_some_and(|at| at > since))
}

/// What the bank answered to the consent call.
pub struct Received<'a> {
    pub consent_id: &'a SecretString,
    pub sca_redirect: &'a str,
    pub valid_until: Option<NaiveDate>,
}

/// The bank has the consent and waits for the person. Only the first answer is kept: false for any other.
pub async fn received(tx: &mut Tx, keys: &Keyring, id: ConsentId, answer: Received<'_>) -> Result<bool, StorageError> {
    let received = sqlx::query!(
        "UPDATE bank_consents SET status = 'received', consent_id_sealed = $2, sca_redirect = $3, valid_until = $4,
                callback_state_sealed = NULL, psu_ip = NULL, psu_user_agent = NULL, version = version + 1, updated_at = clock_timestamp()
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
    Ok(received.rows_affected() == 1)
}

/// The consent call ended without a consent. Its owner; `None`: it had an outcome before.
pub async fn failed(tx: &mut Tx, id: ConsentId, why: &str) -> Result<Option<UserId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"UPDATE bank_consents SET status = 'failed', failure = $2, callback_state_sealed = NULL, psu_ip = NULL,
                  psu_user_agent = NULL, version = version + 1, updated_at = clock_timestamp()
            WHERE id = $1 AND status = 'requested' RETURNING user_id AS "user: UserId""#,
        id.uuid(),
        why
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// Whether its person approved the consent less than this long ago, and nobody has ended it since.
pub async fn is_new(tx: &mut Tx, id: ConsentId, lag: TimeDelta) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM bank_consents
                           WHERE id = $1 AND status = 'valid' AND authorised_at > clock_timestamp() - make_interval(secs => $2)) AS "new!""#,
        id.uuid(),
        lag.as_seconds_f64()
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// The bank says where the consent stands, and until when it is good: it may have shortened what was asked for, and never
/// makes it longer. Of one that is over nothing is kept that could be used. False: it had ended before.
pub async fn moved(
    tx: &mut Tx,
    id: ConsentId,
    status: ConsentStatus,
    valid_until: Option<NaiveDate>,
) -> Result<bool, StorageError> {
    let moved = sqlx::query!(
        "UPDATE bank_consents SET status = $2, valid_until = least(valid_until, $3), sca_redirect = NULL, psu_ip = NULL,
                consent_id_sealed = CASE WHEN $2 = 'valid' THEN consent_id_sealed END,
                version = version + 1, updated_at = clock_timestamp(),
                authorised_at = CASE WHEN $2 = 'valid' THEN coalesce(authorised_at, clock_timestamp()) ELSE authorised_at END
          WHERE id = $1 AND status <> $2 AND status IN ('received', 'valid')",
        id.uuid(),
        status.as_str(),
        valid_until,
    )
    .execute(&mut **tx)
    .await?;
    Ok(moved.rows_affected() == 1)
}
