//! Accounts are linked by their number when a consent opens them, and unlinked with it.

use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{StorageError, Tx};
use crate::{
    domain::{
        account_number::AccountNumber,
        ids::{AccountId, ConsentId, UserId},
    },
    keyring::Keyring,
};

/// An account that a consent opened.
pub struct Found<'a> {
    pub resource_id: &'a str,
    pub number: &'a AccountNumber,
    pub currency: &'a str,
}

/// An account that is linked now.
pub struct Linked {
    pub id: AccountId,
    /// The other consent that it was read with before.
    pub taken_from: Option<ConsentId>,
}

/// Links the account; one that was linked before is found again by its number, for the bank's handle changes with each consent.
pub async fn link(
    tx: &mut Tx,
    keys: &Keyring,
    user: UserId,
    consent: ConsentId,
    bank: &str,
    found: Found<'_>,
) -> Result<Linked, StorageError> {
    let canonical = SecretString::from(found.number.canonical_secret().to_owned());
    let index = keys.blind_index("account", canonical.expose_secret());
    let known = known(tx, keys, user, canonical.expose_secret()).await?;
    // The ciphertext is bound to its row, so the row's id must be known before it is sealed.
    let id = known.as_ref().map_or_else(AccountId::new, |known| known.id);
    let sealed = keys.seal(
        "bank_accounts.account_sealed",
        id.uuid(),
        canonical.expose_secret().as_bytes(),
    );
    if let Some(known) = known {
        if known.currency != found.currency {
            release_completed(tx, id).await?;
        }
        // While keys rotate, the row may still be filed under the one before. What was cached in another currency is not
        // this account's balance. What payments under way hold is money of their currency: until they have ended, it stays.
        sqlx::query!(
            "UPDATE bank_accounts SET consent_id = $2, resource_id = $3, account_sealed = $4, account_index = $5, status = 'linked',
                    paused_until = CASE WHEN consent_id = $2 THEN paused_until END,
                    next_sync_at = CASE WHEN consent_id = $2 THEN next_sync_at ELSE clock_timestamp() + interval '6 hours' END,
                    currency = CASE WHEN held > 0 THEN currency ELSE $6 END,
                    balance = CASE WHEN held > 0 OR currency = $6 THEN balance END,
                    balance_synced_at = CASE WHEN held > 0 OR currency = $6 THEN balance_synced_at END, updated_at = clock_timestamp()
              WHERE id = $1",
            id.uuid(),
            consent.uuid(),
            found.resource_id,
            sealed,
            index.as_slice(),
            found.currency,
        )
        .execute(&mut **tx)
        .await?;
        return Ok(Linked {
            id,
            taken_from: Some(known.consent).filter(|before| *before != consent),
        });
    }
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
        sealed,
        index.as_slice(),
        found.number.masked(),
        found.currency,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(Linked {
        id: linked,
        taken_from: None,
    })
}

struct Known {
    id: AccountId,
    consent: ConsentId,
    currency: String,
}

/// The user's row of this number, under whichever key it was filed, locked.
async fn known(tx: &mut Tx, keys: &Keyring, user: UserId, canonical: &str) -> Result<Option<Known>, StorageError> {
    let indexes: Vec<Vec<u8>> = keys
        .blind_indexes("account", canonical)
        .into_iter()
        .map(Vec::from)
        .collect();
    Ok(sqlx::query_as!(
        Known,
        r#"SELECT id AS "id: AccountId", consent_id AS "consent: ConsentId", currency
             FROM bank_accounts WHERE user_id = $1 AND account_index = ANY ($2)
            ORDER BY account_index = $3 DESC LIMIT 1 FOR NO KEY UPDATE"#,
        user.uuid(),
        &indexes,
        indexes.first()
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// Lets go what is held for completed payments, whose money has left: no balance in their currency comes any more that
/// would say so. While another payment keeps the balance that is shown, which may not contain theirs, it is kept with them.
async fn release_completed(tx: &mut Tx, account: AccountId) -> Result<(), StorageError> {
    sqlx::query!(
        "WITH completed AS (
           SELECT id, hold FROM transactions
            WHERE account_id = $1 AND hold > 0 AND status = 'completed'
              AND NOT EXISTS (SELECT FROM transactions WHERE account_id = $1 AND hold > 0 AND status <> 'completed')
              FOR NO KEY UPDATE),
         zeroed AS (UPDATE transactions t SET hold = 0 FROM completed c WHERE t.id = c.id)
         UPDATE bank_accounts SET held = held - (SELECT coalesce(sum(hold), 0)::bigint FROM completed) WHERE id = $1",
        account.uuid(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Unlinks the accounts that these consents opened and no other has taken over. What was cached of them goes: it is kept
/// only while they are linked.
pub async fn unlink(tx: &mut Tx, consents: &[ConsentId]) -> Result<u64, StorageError> {
    let consents: Vec<Uuid> = consents.iter().map(|consent| consent.uuid()).collect();
    let unlinked = sqlx::query!(
        "UPDATE bank_accounts SET status = 'unlinked', balance = NULL, balance_type = NULL, balance_at = NULL,
                balance_synced_at = NULL, balance_failed_at = NULL, updated_at = clock_timestamp()
          WHERE consent_id = ANY ($1) AND status = 'linked'",
        &consents
    )
    .execute(&mut **tx)
    .await?;
    Ok(unlinked.rows_affected())
}
