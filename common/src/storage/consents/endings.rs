//! The ways in which a consent is over: by its owner's wish, by the bank's word, by time, by a newer one.

use std::time::Duration;

use chrono::NaiveDate;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Consent, StorageError, Tx};
use crate::{
    domain::{
        consent::ConsentStatus,
        ids::{ConsentId, UserId},
    },
    storage::accounts,
};

/// What became of the wish to unlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlinking {
    /// It is over from here on. Where it stood before.
    Ended(ConsentStatus),
    /// It was over already.
    WasOver,
}

/// Ends a consent because its owner wants that: no call uses it any more, and the accounts it opened are unlinked. Its id at
/// the bank stays until the [bank knows](ended_at_the_bank). `None`: the user has no such consent. The caller holds the
/// user's lock, which orders this with a consent that becomes valid.
pub async fn end(tx: &mut Tx, user: UserId, id: ConsentId) -> Result<Option<Unlinking>, StorageError> {
    let row = sqlx::query!(
        r#"WITH own AS (SELECT id, status FROM bank_consents WHERE id = $1 AND user_id = $2 FOR NO KEY UPDATE), ended AS (
             UPDATE bank_consents c SET status = 'deleted', sca_redirect = NULL, callback_state_sealed = NULL, psu_ip = NULL,
                    psu_user_agent = NULL, version = version + 1, updated_at = clock_timestamp()
               FROM own WHERE c.id = own.id AND own.status IN ('requested', 'received', 'valid') RETURNING c.id)
           SELECT status, EXISTS (SELECT FROM ended) AS "ended!" FROM own"#,
        id.uuid(),
        user.uuid(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    if !row.ended {
        return Ok(Some(Unlinking::WasOver));
    }
    accounts::unlink(tx, &[id]).await?;
    Ok(Some(Unlinking::Ended(
        row.status.parse().map_err(StorageError::corrupt)?,
    )))
}

/// The bank was told that the consent is over, because its owner ended it or never approved it. Its owner, for whoever noted it first.
pub async fn ended_at_the_bank(tx: &mut Tx, id: ConsentId) -> Result<Option<UserId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"UPDATE bank_consents SET consent_id_sealed = NULL, version = version + 1, updated_at = clock_timestamp()
            WHERE id = $1 AND status IN ('deleted', 'expired') AND consent_id_sealed IS NOT NULL RETURNING user_id AS "user: UserId""#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// Ends those of the user's older consents from which the one that is valid now has taken accounts over, as the bank does.
/// Which they are.
pub async fn replace_older(
    tx: &mut Tx,
    new: &Consent,
    taken_from: &[ConsentId],
) -> Result<Vec<ConsentId>, StorageError> {
    let taken_from: Vec<Uuid> = taken_from.iter().map(|consent| consent.uuid()).collect();
    Ok(sqlx::query_scalar!(
        r#"UPDATE bank_consents SET status = 'replaced', consent_id_sealed = NULL, sca_redirect = NULL, psu_ip = NULL, version = version + 1, updated_at = clock_timestamp()
            WHERE user_id = $1 AND bank = $2 AND id <> $3 AND id = ANY ($4) AND status = 'valid' RETURNING id AS "id: ConsentId""#,
        new.user.uuid(),
        new.bank,
        new.id.uuid(),
        &taken_from,
    )
    .fetch_all(&mut **tx)
    .await?)
}

/// A consent that waits for the person is over without them. Its id at the bank stays until the [bank
/// knows](ended_at_the_bank). Its owner; `None`: it does not wait.
pub async fn abandon(tx: &mut Tx, id: ConsentId) -> Result<Option<UserId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"UPDATE bank_consents SET status = 'expired', sca_redirect = NULL, psu_ip = NULL, version = version + 1, updated_at = clock_timestamp()
            WHERE id = $1 AND status = 'received' RETURNING user_id AS "user: UserId""#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// Takes the valid consents that end on this day or before and whose owners were not asked yet to renew them: each is
/// taken once. At most `limit`.
pub async fn take_ending(tx: &mut Tx, day: NaiveDate, limit: i64) -> Result<Vec<(ConsentId, UserId)>, StorageError> {
    let rows = sqlx::query!(
        r#"UPDATE bank_consents SET renewal_asked_at = clock_timestamp()
            WHERE id = ANY (ARRAY(
              SELECT id FROM bank_consents WHERE status = 'valid' AND valid_until <= $1 AND renewal_asked_at IS NULL
               ORDER BY valid_until LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED))
           RETURNING id AS "id: ConsentId", user_id AS "user: UserId""#,
        day,
        limit
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.user)).collect())
}

/// The valid consents whose last day was before this one. At most `limit`.
pub async fn ended_before(db: &PgPool, day: NaiveDate, limit: i64) -> Result<Vec<ConsentId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT id AS "id: ConsentId" FROM bank_consents WHERE status = 'valid' AND valid_until < $1
            ORDER BY valid_until LIMIT $2"#,
        day,
        limit
    )
    .fetch_all(db)
    .await?)
}

/// Whose consent it is.
pub async fn owner(tx: &mut Tx, id: ConsentId) -> Result<Option<UserId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT user_id AS "user: UserId" FROM bank_consents WHERE id = $1"#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// Notes which consent took accounts of these others of its bank over, however they ended.
pub async fn taken_over(tx: &mut Tx, by: &Consent, taken_from: &[ConsentId]) -> Result<(), StorageError> {
    let taken_from: Vec<Uuid> = taken_from.iter().map(|consent| consent.uuid()).collect();
    sqlx::query!(
        "UPDATE bank_consents SET taken_over_by = $1 WHERE user_id = $2 AND bank = $3 AND id <> $1 AND id = ANY ($4)",
        by.id.uuid(),
        by.user.uuid(),
        by.bank,
        &taken_from
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whether a newer consent took accounts of this one over.
pub async fn is_taken_over(tx: &mut Tx, id: ConsentId) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM bank_consents WHERE id = $1 AND taken_over_by IS NOT NULL) AS "taken_over!""#,
        id.uuid()
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// Whether the user has come back from a bank, within this time, with a consent that we have not seen approved yet.
pub async fn is_linking(tx: &mut Tx, user: UserId, within: Duration) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM bank_consents WHERE user_id = $1 AND status = 'received'
                            AND callback_at > clock_timestamp() - $2::bigint * interval '1 s') AS "linking!""#,
        user.uuid(),
        i64::try_from(within.as_secs()).unwrap_or(i64::MAX)
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// The consent is dead, by the bank's word or by its last day: it is deleted here, so that no call can use it again, and the accounts it
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
        accounts::unlink(tx, &[id]).await?;
    }
    Ok(owner)
}
