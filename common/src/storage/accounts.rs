//! Linked accounts, their cached balances, and the ledger of reads (at most four unattended in any 24 hours).

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;

use super::{StorageError, Tx};
use crate::domain::{
    account_number::AccountNumber,
    ids::{AccountId, ConsentId, RefreshId, UserId},
};
use crate::keyring::Keyring;

/// An account as its owner sees it.
pub struct Account {
    pub id: AccountId,
    pub account_masked: String,
    pub currency: String,
    /// Minor units, what is on hold already taken off.
    pub balance: Option<i64>,
    pub balance_type: Option<String>,
    pub balance_synced_at: Option<DateTime<Utc>>,
    pub balance_age_seconds: Option<i64>,
    pub last_read_failed: bool,
}

/// The user's linked accounts, oldest first.
pub async fn of_user(db: &PgPool, user: UserId) -> Result<Vec<Account>, StorageError> {
    Ok(sqlx::query_as!(
        Account,
        r#"SELECT id AS "id: AccountId", account_masked, currency, balance - held AS balance, balance_type, balance_synced_at,
                  extract(epoch FROM clock_timestamp() - balance_synced_at)::bigint AS balance_age_seconds,
                  balance_failed_at IS NOT NULL AS "last_read_failed!"
             FROM bank_accounts WHERE user_id = $1 AND status = 'linked' ORDER BY id"#,
        user.uuid()
    )
    .fetch_all(db)
    .await?)
}

/// One linked account of this user.
pub async fn find_own(db: &PgPool, user: UserId, id: AccountId) -> Result<Option<Account>, StorageError> {
    Ok(of_user(db, user).await?.into_iter().find(|account| account.id == id))
}

/// The account a payment leaves from: the full number, for its owner only, while it is linked by a live consent.
pub struct Debtor {
    pub account: SecretString,
    pub currency: String,
}

/// Finds the account a payment leaves from.
pub async fn debtor(tx: &mut Tx, keys: &Keyring, user: UserId, id: AccountId) -> Result<Option<Debtor>, StorageError> {
    let row = sqlx::query!(
        "SELECT account_sealed, currency FROM bank_accounts WHERE id = $1 AND user_id = $2 AND status = 'linked'",
        id.uuid(),
        user.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| {
        let account = keys
            .open_text("bank_accounts.account_sealed", id.uuid(), &row.account_sealed)
            .map_err(StorageError::corrupt)?;
        Ok(Debtor {
            account,
            currency: row.currency,
        })
    })
    .transpose()
}

/// An account that a consent opened.
pub struct Found<'a> {
    pub resource_id: &'a str,
    pub number: &'a AccountNumber,
    pub currency: &'a str,
}

/// Links the account; one that was linked before is found again by its number, for the bank's handle changes with each consent.
pub async fn link(
    tx: &mut Tx,
    keys: &Keyring,
    user: UserId,
    consent: ConsentId,
    bank: &str,
    found: Found<'_>,
) -> Result<AccountId, StorageError> {
    let canonical = SecretString::from(found.number.canonical_secret().to_owned());
    let index = keys.blind_index("account", canonical.expose_secret());
    // The ciphertext is bound to its row, so the row's id must be known before it is sealed.
    let known = sqlx::query_scalar!(
        "SELECT id FROM bank_accounts WHERE user_id = $1 AND account_index = $2 FOR NO KEY UPDATE",
        user.uuid(),
        index.as_slice()
    )
    .fetch_optional(&mut **tx)
    .await?;
    let id = known.map_or_else(AccountId::new, AccountId::from);
    let linked = sqlx::query_scalar!(
        r#"INSERT INTO bank_accounts (id, user_id, consent_id, bank, resource_id, account_sealed, account_index, account_masked, currency, next_sync_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, clock_timestamp() + interval '6 hours')
           ON CONFLICT (user_id, account_index) DO UPDATE
              SET consent_id = excluded.consent_id, resource_id = excluded.resource_id, status = 'linked',
                  updated_at = clock_timestamp()
           RETURNING id AS "id: AccountId""#,
        id.uuid(),
        user.uuid(),
        consent.uuid(),
        bank,
        found.resource_id,
        keys.seal("bank_accounts.account_sealed", id.uuid(), canonical.expose_secret().as_bytes()),
        index.as_slice(),
        found.number.masked(),
        found.currency,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(linked)
}

/// Stores a user's wish for a fresh balance, with the address they ask from.
pub async fn request_refresh(
    tx: &mut Tx,
    user: UserId,
    account: AccountId,
    psu_ip: Option<&str>,
) -> Result<RefreshId, StorageError> {
    let id = RefreshId::new();
    sqlx::query!(
        "INSERT INTO balance_refreshes (id, account_id, user_id, psu_ip) VALUES ($1, $2, $3, $4)",
        id.uuid(),
        account.uuid(),
        user.uuid(),
        psu_ip
    )
    .execute(&mut **tx)
    .await?;
    Ok(id)
}

/// What a balance read needs.
pub struct ToRead {
    pub account: AccountId,
    pub consent: ConsentId,
    pub consent_id: SecretString,
    pub resource_id: String,
    pub currency: String,
    pub psu_ip: Option<String>,
}

/// The read that a refresh asks for; `None` when it is finished or the consent is not live.
pub async fn refresh_to_read(db: &PgPool, keys: &Keyring, id: RefreshId) -> Result<Option<ToRead>, StorageError> {
    let row = sqlx::query!(
        r#"SELECT a.id AS "account: AccountId", a.consent_id AS "consent: ConsentId", c.consent_id_sealed, a.resource_id, a.currency, r.psu_ip
             FROM balance_refreshes r JOIN bank_accounts a ON a.id = r.account_id JOIN bank_consents c ON c.id = a.consent_id
            WHERE r.id = $1 AND r.status = 'requested' AND a.status = 'linked' AND c.status = 'valid'"#,
        id.uuid()
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        let sealed = row.consent_id_sealed.unwrap_or_default();
        let consent_id = keys
            .open_text("bank_consents.consent_id_sealed", row.consent.uuid(), &sealed)
            .map_err(StorageError::corrupt)?;
        Ok(ToRead {
            account: row.account,
            consent: row.consent,
            consent_id,
            resource_id: row.resource_id,
            currency: row.currency,
            psu_ip: row.psu_ip,
        })
    })
    .transpose()
}

/// The unattended read of an account with a live consent.
pub async fn sync_to_read(db: &PgPool, keys: &Keyring, id: AccountId) -> Result<Option<ToRead>, StorageError> {
    let row = sqlx::query!(
        r#"SELECT a.consent_id AS "consent: ConsentId", c.consent_id_sealed, a.resource_id, a.currency
             FROM bank_accounts a JOIN bank_consents c ON c.id = a.consent_id
            WHERE a.id = $1 AND a.status = 'linked' AND c.status = 'valid'"#,
        id.uuid()
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        let sealed = row.consent_id_sealed.unwrap_or_default();
        let consent_id = keys
            .open_text("bank_consents.consent_id_sealed", row.consent.uuid(), &sealed)
            .map_err(StorageError::corrupt)?;
        Ok(ToRead {
            account: id,
            consent: row.consent,
            consent_id,
            resource_id: row.resource_id,
            currency: row.currency,
            psu_ip: None,
        })
    })
    .transpose()
}

/// Counts an unattended read before it is made, under the account's lock; `None`: four were made in the window, nothing is sent.
/// The window is 24 h and the call's deadline, so that a read that leaves late cannot make five (RTS 2018/389 art. 36(5)(b)).
pub async fn count_unattended(tx: &mut Tx, account: AccountId) -> Result<Option<i64>, StorageError> {
    sqlx::query!(
        "SELECT 1 AS one FROM bank_accounts WHERE id = $1 FOR NO KEY UPDATE",
        account.uuid()
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(sqlx::query_scalar!(
        "INSERT INTO balance_reads (account_id, attended)
         SELECT $1, false
          WHERE (SELECT count(*) FROM balance_reads WHERE account_id = $1 AND NOT attended
                    AND read_at > clock_timestamp() - interval '24 hours 45 seconds') < 4
         RETURNING id",
        account.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// A balance read from the bank.
pub struct Balance<'a> {
    /// Minor units of the account's currency.
    pub amount: i64,
    pub balance_type: &'a str,
    pub at: Option<DateTime<Utc>>,
}

/// Caches a balance. `started_at` is the database's time when the read began: an older answer never overwrites a newer one.
pub async fn store_balance(
    tx: &mut Tx,
    account: AccountId,
    balance: Balance<'_>,
    started_at: DateTime<Utc>,
) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE bank_accounts SET balance = $2, balance_type = $3, balance_at = $4, balance_synced_at = $5,
                balance_failed_at = NULL, next_sync_at = clock_timestamp() + interval '6 hours', updated_at = clock_timestamp()
          WHERE id = $1 AND (balance_synced_at IS NULL OR balance_synced_at < $5)",
        account.uuid(),
        balance.amount,
        balance.balance_type,
        balance.at,
        started_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A read failed: the cache stays and says so.
pub async fn read_failed(tx: &mut Tx, account: AccountId) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE bank_accounts SET balance_failed_at = clock_timestamp(), next_sync_at = clock_timestamp() + interval '6 hours',
                updated_at = clock_timestamp()
          WHERE id = $1",
        account.uuid()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The refresh has ended, with a balance or without.
pub async fn finish_refresh(tx: &mut Tx, id: RefreshId, good: bool) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE balance_refreshes SET status = CASE WHEN $2 THEN 'done' ELSE 'failed' END, finished_at = clock_timestamp(), psu_ip = NULL
          WHERE id = $1 AND status = 'requested'",
        id.uuid(),
        good
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Accounts due for an unattended read: a live consent, the time has come.
pub async fn due(tx: &mut Tx) -> Result<Vec<AccountId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT a.id AS "id: AccountId" FROM bank_accounts a JOIN bank_consents c ON c.id = a.consent_id
            WHERE a.status = 'linked' AND c.status = 'valid' AND a.next_sync_at <= clock_timestamp()
            ORDER BY a.next_sync_at LIMIT 5000"#
    )
    .fetch_all(&mut **tx)
    .await?)
}
