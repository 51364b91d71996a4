//! Storing a payment, and what is asked about the user's others before. The caller holds the user's lock.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::super::{StorageError, Tx};
use crate::domain::{
    account_number::{AccountNumber, Scheme},
    ids::{AccountId, PaymentId, UserId},
    money::Amount,
};
use crate::keyring::{Keyring, sha256};

/// How long an unsent payment may still be sent: nobody is charged for an order they have given up on.
pub const SEND_WITHIN: Duration = Duration::from_mins(5);

/// What a new payment stores.
#[derive(Clone, Copy)]
pub struct NewPayment<'a> {
    pub id: PaymentId,
    pub user: UserId,
    pub account: AccountId,
    pub client_key: &'a str,
    pub idempotency_key: Uuid,
    pub fingerprint: [u8; 32],
    pub amount: i64,
    pub currency: &'a str,
    pub creditor_name: &'a str,
    pub creditor_account: &'a AccountNumber,
    pub remittance_information: &'a str,
    pub product: &'a str,
    pub state: &'a SecretString,
    pub psu_ip: Option<&'a str>,
    pub psu_user_agent: Option<&'a str>,
    pub confirmed_duplicate_of: Option<PaymentId>,
}

/// Stores the payment; false where this user already used the key, or another payment goes by this `X-Request-ID`.
pub async fn insert(tx: &mut Tx, keys: &Keyring, new: NewPayment<'_>) -> Result<bool, StorageError> {
    let row = new.id.uuid();
    let creditor = new.creditor_account.canonical_secret();
    let creditor_index = keys.blind_index("account", creditor);
    let state_hash = sha256(new.state.expose_secret().as_bytes());
    let made = sqlx::query!(
        "INSERT INTO transactions (id, user_id, account_id, client_key, idempotency_key, fingerprint, amount, currency, creditor_name,
            creditor_account_sealed, creditor_account_index, creditor_account_masked, remittance_information, product,
            callback_state_hash, callback_state_sealed, psu_ip, psu_user_agent, confirmed_duplicate_of, hold, expires_at, creditor_scheme)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $7,
            clock_timestamp() + make_interval(secs => $20), $21)
         ON CONFLICT DO NOTHING",
        row,
        new.user.uuid(),
        new.account.uuid(),
        new.client_key,
        new.idempotency_key,
        new.fingerprint.as_slice(),
        new.amount,
        new.currency,
        new.creditor_name,
        keys.seal(
            "transactions.creditor_account_sealed",
            row,
            new.creditor_account.wire_secret().as_bytes()
        ),
        creditor_index.as_slice(),
        new.creditor_account.masked(),
        new.remittance_information,
        new.product,
        state_hash.as_slice(),
        keys.seal("transactions.callback_state_sealed", row, new.state.expose_secret().as_bytes()),
        new.psu_ip,
        new.psu_user_agent,
        new.confirmed_duplicate_of.map(PaymentId::uuid),
        SEND_WITHIN.as_secs_f64(),
        scheme_word(new.creditor_account.scheme()),
    )
    .execute(&mut **tx)
    .await?;
    if made.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query!(
        "UPDATE bank_accounts SET held = held + $2 WHERE id = $1",
        new.account.uuid(),
        new.amount
    )
    .execute(&mut **tx)
    .await?;
    Ok(true)
}

/// True where this user already made a payment under this key. The caller holds the user's lock.
pub async fn client_key_is_used(tx: &mut Tx, user: UserId, key: &str) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM transactions WHERE user_id = $1 AND client_key = $2) AS "used!""#,
        user.uuid(),
        key
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// What this user has paid today (Europe/Oslo) or may still pay, in minor units: one that the person was told has failed or
/// is cancelled counts until the bank has said so too. The caller holds the user's lock.
pub async fn total_today(tx: &mut Tx, user: UserId, currency: &str) -> Result<i64, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT coalesce(sum(amount), 0)::bigint AS "total!" FROM transactions
            WHERE user_id = $1 AND currency = $2 AND (status IN ('processing', 'completed') OR NOT bank_final)
              AND created_at >= date_trunc('day', clock_timestamp() AT TIME ZONE 'Europe/Oslo') AT TIME ZONE 'Europe/Oslo'"#,
        user.uuid(),
        currency
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// An open payment of the same user, payee and amount, of the last seven days. The caller holds the user's lock.
pub async fn lookalike(
    tx: &mut Tx,
    keys: &Keyring,
    user: UserId,
    creditor: &AccountNumber,
    amount: Amount,
) -> Result<Option<PaymentId>, StorageError> {
    // Stored under the key of its day: a payment from before a rotation is under way all the same.
    let indexes = keys.blind_indexes("account", creditor.canonical_secret());
    let indexes: Vec<&[u8]> = indexes.iter().map(<[u8; 32]>::as_slice).collect();
    let id = sqlx::query_scalar!(
        "SELECT id FROM transactions WHERE user_id = $1 AND creditor_account_index = ANY ($2) AND amount = $3 AND currency = $4
            AND NOT bank_final AND created_at > clock_timestamp() - interval '7 days' ORDER BY id LIMIT 1",
        user.uuid(),
        &indexes as &[&[u8]],
        amount.minor,
        amount.currency.code(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(id.map(PaymentId::from))
}

/// An equal payment of the last minute that is over by now. Another one is allowed; the audit names the two together, for
/// whoever clicked twice. The caller holds the user's lock.
pub async fn just_made(
    tx: &mut Tx,
    keys: &Keyring,
    user: UserId,
    creditor: &AccountNumber,
    amount: Amount,
) -> Result<Option<PaymentId>, StorageError> {
    let indexes = keys.blind_indexes("account", creditor.canonical_secret());
    let indexes: Vec<&[u8]> = indexes.iter().map(<[u8; 32]>::as_slice).collect();
    let id = sqlx::query_scalar!(
        "SELECT id FROM transactions WHERE user_id = $1 AND creditor_account_index = ANY ($2) AND amount = $3 AND currency = $4
            AND bank_final AND created_at > clock_timestamp() - interval '60 s' ORDER BY id DESC LIMIT 1",
        user.uuid(),
        &indexes as &[&[u8]],
        amount.minor,
        amount.currency.code(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(id.map(PaymentId::from))
}

fn scheme_word(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Iban => "iban",
        Scheme::Bban => "bban",
    }
}
