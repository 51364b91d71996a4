//! Linked accounts and their cached balances. Reading them is `balance_reads`.

mod linking;

pub use linking::{Found, Linked, link, unlink};

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgExecutor, PgPool};

use super::{StorageError, Tx, payments::SEND_WITHIN};
use crate::domain::{
    ids::{AccountId, UserId},
    payment_schedule::POLL_FOR,
};

/// An account as its owner sees it.
pub struct Account {
    pub id: AccountId,
    pub bank: String,
    pub account_masked: String,
    pub currency: String,
    /// Minor units, what is on hold already taken off.
    pub balance: Option<i64>,
    pub balance_type: Option<String>,
    /// The bank's own time, where it gave one.
    pub balance_at: Option<DateTime<Utc>>,
    pub balance_synced_at: Option<DateTime<Utc>>,
    pub balance_age_seconds: Option<i64>,
    pub last_read_failed: bool,
}

/// The user's linked accounts, oldest first. At most `limit`.
pub async fn of_user(db: impl PgExecutor<'_>, user: UserId, limit: i64) -> Result<Vec<Account>, StorageError> {
    select(db, user, None, limit).await
}

/// One linked account of this user.
pub async fn find_own(db: impl PgExecutor<'_>, user: UserId, id: AccountId) -> Result<Option<Account>, StorageError> {
    Ok(select(db, user, Some(id), 1).await?.pop())
}

async fn select(
    db: impl PgExecutor<'_>,
    user: UserId,
    only: Option<AccountId>,
    limit: i64,
) -> Result<Vec<Account>, StorageError> {
    Ok(sqlx::query_as!(
        Account,
        r#"SELECT id AS "id: AccountId", bank, account_masked, currency, balance - held AS balance, balance_type, balance_at, balance_synced_at,
                  extract(epoch FROM clock_timestamp() - balance_synced_at)::bigint AS balance_age_seconds,
                  balance_failed_at IS NOT NULL AS "last_read_failed!"
             FROM bank_accounts WHERE user_id = $1 AND status = 'linked' AND ($2::uuid IS NULL OR id = $2) ORDER BY id LIMIT $3"#,
        user.uuid(),
        only.map(AccountId::uuid),
        limit
    )
    .fetch_all(db)
    .await?)
}

/// The bank that an account is at, whoever owns it: for jobs.
pub async fn bank(db: &PgPool, id: AccountId) -> Result<Option<String>, StorageError> {
    Ok(
        sqlx::query_scalar!("SELECT bank FROM bank_accounts WHERE id = $1", id.uuid())
            .fetch_optional(db)
            .await?,
    )
}

/// Locks this user's account for a read that they ask for; the bank that it is at. `None` where it is not theirs, not linked, or
/// its consent is not live.
pub async fn lock_readable(tx: &mut Tx, user: UserId, id: AccountId) -> Result<Option<String>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT a.bank FROM bank_accounts a JOIN bank_consents c ON c.id = a.consent_id
            WHERE a.id = $1 AND a.user_id = $2 AND a.status = 'linked' AND c.status = 'valid' FOR NO KEY UPDATE OF a"#,
        id.uuid(),
        user.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// Takes the accounts that are due for an unattended read, with a live consent, and moves their next read away: each is
/// planned once, whoever plans. At most `limit`, the longest due first.
pub async fn take_due(tx: &mut Tx, limit: usize) -> Result<Vec<AccountId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"UPDATE bank_accounts SET next_sync_at = clock_timestamp() + interval '6 hours'
            WHERE id = ANY (ARRAY(
              SELECT a.id FROM bank_accounts a JOIN bank_consents c ON c.id = a.consent_id
               WHERE a.status = 'linked' AND c.status = 'valid' AND a.next_sync_at <= clock_timestamp()
               ORDER BY a.next_sync_at LIMIT $1 FOR NO KEY UPDATE OF a SKIP LOCKED))
           RETURNING id AS "id: AccountId""#,
        i64::try_from(limit).unwrap_or(i64::MAX)
    )
    .fetch_all(&mut **tx)
    .await?)
}

/// Plans the next unattended read for this moment, and none before it.
pub async fn sync_at(tx: &mut Tx, id: AccountId, at: DateTime<Utc>) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE bank_accounts SET next_sync_at = $2 WHERE id = $1",
        id.uuid(),
        at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The bank wants no unattended read of this account for this long, planned already or not; a longer pause stays. It ends
/// with the consent.
pub async fn back_off(tx: &mut Tx, id: AccountId, pause: Duration) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE bank_accounts SET paused_until = greatest(paused_until, clock_timestamp() + $2::bigint * interval '1 s') WHERE id = $1",
        id.uuid(),
        i64::try_from(pause.as_secs()).unwrap_or(i64::MAX)
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A balance read from the bank.
pub struct Balance<'a> {
    /// Minor units of the account's currency.
    pub amount: i64,
    pub balance_type: &'a str,
    pub at: Option<DateTime<Utc>>,
}

/// Caches a balance. `started_at` is the database's time when the read began: an older answer never overwrites a newer
/// one. The holds of payments that the new balance already contains go with it. Whether the cache is at least as new now:
/// an account that was unlinked meanwhile has none.
pub async fn store_balance(
    tx: &mut Tx,
    account: AccountId,
    balance: Balance<'_>,
    started_at: DateTime<Utc>,
) -> Result<bool, StorageError> {
    let stored = sqlx::query!(
        "UPDATE bank_accounts SET balance = $2, balance_type = $3, balance_at = $4, balance_synced_at = $5, balance_failed_at = NULL,
                next_sync_at = greatest(next_sync_at, clock_timestamp() + interval '6 hours'), updated_at = clock_timestamp()
          WHERE id = $1 AND status = 'linked' AND (balance_synced_at IS NULL OR balance_synced_at < $5)",
        account.uuid(),
        balance.amount,
        balance.balance_type,
        balance.at,
        started_at,
    )
    .execute(&mut **tx)
    .await?;
    if stored.rows_affected() == 1 {
        release_contained(tx, account, started_at).await?;
        return Ok(true);
    }
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM bank_accounts WHERE id = $1 AND status = 'linked') AS "linked!""#,
        account.uuid()
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// Lets go what is held for payments that a balance read from `started_at` on contains. The bank had settled a payment
/// before we wrote down that it is final, and the row's last change is no earlier: a read that began after it contains it.
/// One that began earlier may or may not, so the hold stays; until the next read too little is shown, never too much.
/// What a bank only ever accepts has no such moment: after seven days, when polling ends, it is taken as booked.
async fn release_contained(tx: &mut Tx, account: AccountId, started_at: DateTime<Utc>) -> Result<(), StorageError> {
    sqlx::query!(
        "WITH contained AS (
           SELECT id, hold FROM transactions
            WHERE account_id = $1 AND hold > 0 AND status = 'completed'
              AND (bank_final AND updated_at < $2
                   OR greatest(created_at, expires_at - make_interval(secs => $4)) < $2 - $3::bigint * interval '1 s')
              FOR NO KEY UPDATE),
         zeroed AS (UPDATE transactions t SET hold = 0 FROM contained c WHERE t.id = c.id)
         UPDATE bank_accounts SET held = held - (SELECT coalesce(sum(hold), 0)::bigint FROM contained) WHERE id = $1",
        account.uuid(),
        started_at,
        POLL_FOR.num_seconds(),
        SEND_WITHIN.as_secs_f64(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A read failed: the cache stays and says so. The next unattended read is planned `again` away where the one before was
/// good, else `after_that`; and not before the end of a pause.
pub async fn read_failed(
    tx: &mut Tx,
    account: AccountId,
    again: TimeDelta,
    after_that: TimeDelta,
) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE bank_accounts SET balance_failed_at = clock_timestamp(), updated_at = clock_timestamp(),
                next_sync_at = greatest(paused_until, clock_timestamp()
                  + CASE WHEN balance_failed_at IS NULL THEN $2::bigint ELSE $3::bigint END * interval '1 s')
          WHERE id = $1",
        account.uuid(),
        again.num_seconds(),
        after_that.num_seconds(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
