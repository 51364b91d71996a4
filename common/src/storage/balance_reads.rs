//! Reads of balances: the ledger that every read enters before its call, and the wishes that cause attended ones.
//!
//! At most four unattended reads of an account leave in any 24 hours. The account's row is locked while that is
//! decided, so of two workers that race for the fourth one is refused and sends nothing.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use sqlx::{PgExecutor, PgPool};

use super::{StorageError, Tx};
use crate::domain::{
    account::{CALL_DEADLINE, room_at},
    ids::{AccountId, ConsentId, RefreshId, UserId},
};
use crate::keyring::Keyring;

/// Why an account is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its owner asked and their address goes along: attended, not limited.
    OwnerIsThere,
    /// Its owner asked, but the bank does not learn their address: one of the four.
    OwnerAsked,
    /// The schedule: one of the four.
    Planned,
}

/// What a balance read needs.
pub struct ToRead {
    pub account: AccountId,
    pub consent: ConsentId,
    pub consent_id: SecretString,
    /// When the consent was first seen to be valid.
    pub authorised_at: Option<DateTime<Utc>>,
    pub resource_id: String,
    pub currency: String,
    /// Its row in the ledger.
    pub entry: i64,
    /// The database's time when it was entered: balances are ordered by it.
    pub started_at: DateTime<Utc>,
}

/// Whether a read may leave.
pub enum Begun {
    /// It is in the ledger: commit, then call.
    Read(Box<ToRead>),
    /// The account is not linked, or its consent is not live.
    NotLive,
    /// Somebody else reads the account now, or for a planned read: is about to.
    Busy,
    /// Too many unattended reads, or the bank wants a pause; the next may leave at this time.
    Full(DateTime<Utc>),
}

/// Enters a read of the account into the ledger, before the call. A call that fails has used its place.
pub async fn begin(tx: &mut Tx, keys: &Keyring, account: AccountId, why: Why) -> Result<Begun, StorageError> {
    let found = sqlx::query!(
        r#"SELECT a.consent_id AS "consent: ConsentId", c.consent_id_sealed, c.authorised_at, a.resource_id, a.currency, a.paused_until,
                  clock_timestamp() AS "now!"
             FROM bank_accounts a JOIN bank_consents c ON c.id = a.consent_id
            WHERE a.id = $1 AND a.status = 'linked' AND c.status = 'valid'
              AND (c.valid_until IS NULL OR c.valid_until >= (clock_timestamp() AT TIME ZONE 'Europe/Oslo')::date)
              FOR NO KEY UPDATE OF a"#,
        account.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(found) = found else { return Ok(Begun::NotLive) };
    let unattended = unattended(tx, account).await?;
    let under_way = |read: &Unattended| read.outcome.is_none() && read.read_at > found.now - CALL_DEADLINE;
    if unattended.iter().any(under_way) || (why == Why::Planned && waiting_refresh(tx, account).await?.is_some()) {
        return Ok(Begun::Busy);
    }
    if why != Why::OwnerIsThere {
        let times: Vec<_> = unattended.iter().map(|read| read.read_at).collect();
        let paused = found.paused_until.filter(|until| *until > found.now);
        if let Some(until) = paused.max(room_at(&times)) {
            return Ok(Begun::Full(until));
        }
    }
    let entry = sqlx::query!(
        "INSERT INTO balance_reads (account_id, attended) VALUES ($1, $2) RETURNING id, read_at",
        account.uuid(),
        why == Why::OwnerIsThere
    )
    .fetch_one(&mut **tx)
    .await?;
    let sealed = found.consent_id_sealed.unwrap_or_default();
    let consent_id = keys
        .open_text("bank_consents.consent_id_sealed", found.consent.uuid(), &sealed)
        .map_err(StorageError::corrupt)?;
    Ok(Begun::Read(Box::new(ToRead {
        account,
        consent: found.consent,
        consent_id,
        authorised_at: found.authorised_at,
        resource_id: found.resource_id,
        currency: found.currency,
        entry: entry.id,
        started_at: entry.read_at,
    })))
}

struct Unattended {
    read_at: DateTime<Utc>,
    outcome: Option<String>,
}

/// The unattended reads that count, the newest first: of 24 h and the call's deadline (RTS 2018/389 art. 36(5)(b)).
async fn unattended(tx: &mut Tx, account: AccountId) -> Result<Vec<Unattended>, StorageError> {
    Ok(sqlx::query_as!(
        Unattended,
        "SELECT read_at, outcome FROM balance_reads
          WHERE account_id = $1 AND NOT attended AND read_at > clock_timestamp() - interval '24 hours 45 seconds'
          ORDER BY read_at DESC, id DESC",
        account.uuid()
    )
    .fetch_all(&mut **tx)
    .await?)
}

/// Forgets reads and wishes of more than a week ago, in short transactions; the rule looks back a day. Returns how many.
pub async fn prune(db: &PgPool) -> Result<u64, StorageError> {
    let mut pruned = 0;
    loop {
        let reads = sqlx::query!(
            "DELETE FROM balance_reads WHERE id = ANY (ARRAY(
               SELECT id FROM balance_reads WHERE read_at < clock_timestamp() - interval '7 days'
                ORDER BY read_at LIMIT 5000 FOR UPDATE SKIP LOCKED))"
        )
        .execute(db)
        .await?;
        let wishes = sqlx::query!(
            "DELETE FROM balance_refreshes WHERE id = ANY (ARRAY(
               SELECT id FROM balance_refreshes WHERE created_at < clock_timestamp() - interval '7 days'
                ORDER BY created_at LIMIT 5000 FOR UPDATE SKIP LOCKED))"
        )
        .execute(db)
        .await?;
        let batch = reads.rows_affected() + wishes.rows_affected();
        pruned += batch;
        if batch == 0 {
            return Ok(pruned);
        }
    }
}

/// How a read ended, in a closed word. It is no longer under way.
pub async fn end(tx: &mut Tx, entry: i64, outcome: &str) -> Result<(), StorageError> {
    sqlx::query!("UPDATE balance_reads SET outcome = $2 WHERE id = $1", entry, outcome)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The read has certainly not reached the bank, which cannot have counted it: it never was.
pub async fn take_back(tx: &mut Tx, entry: i64) -> Result<(), StorageError> {
    sqlx::query!("DELETE FROM balance_reads WHERE id = $1", entry)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The account's refresh that waits for its turn or is under way, and that somebody may still wait for: there is at most
/// one, and it is the newest.
async fn waiting_refresh(tx: &mut Tx, account: AccountId) -> Result<Option<RefreshId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT id AS "id: RefreshId"
             FROM (SELECT id, status, created_at FROM balance_refreshes WHERE account_id = $1 ORDER BY created_at DESC LIMIT 1) newest
            WHERE status = 'requested' AND created_at > clock_timestamp() - interval '5 minutes'"#,
        account.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// Stores a user's wish for a fresh balance, with the address they ask from. One that waits already serves this wish too.
/// The caller holds the account's lock, which decides between two wishes.
pub async fn request_refresh(
    tx: &mut Tx,
    user: UserId,
    account: AccountId,
    psu_ip: Option<&str>,
) -> Result<RefreshId, StorageError> {
    if let Some(waiting) = waiting_refresh(tx, account).await? {
        return Ok(waiting);
    }
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

/// A refresh that waits for its turn.
pub struct Refresh {
    pub account: AccountId,
    /// The owner's address, while they can still be taken to be there.
    pub psu_ip: Option<String>,
}

/// The refresh, unless it has ended. After five minutes nobody waits for it any more, and the read is unattended.
pub async fn refresh(db: &PgPool, id: RefreshId) -> Result<Option<Refresh>, StorageError> {
    Ok(sqlx::query_as!(
        Refresh,
        r#"SELECT account_id AS "account: AccountId",
                  CASE WHEN created_at > clock_timestamp() - interval '5 minutes' THEN psu_ip END AS psu_ip
             FROM balance_refreshes WHERE id = $1 AND status = 'requested'"#,
        id.uuid()
    )
    .fetch_optional(db)
    .await?)
}

/// Whether the refresh brought a balance; `None` while it has not ended.
pub async fn refreshed(db: impl PgExecutor<'_>, id: RefreshId) -> Result<Option<bool>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT status = 'done' AS "good!" FROM balance_refreshes WHERE id = $1 AND status <> 'requested'"#,
        id.uuid()
    )
    .fetch_optional(db)
    .await?)
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
