//! Payments after the database was restored to a point in time: what was written later is forgotten here, and not at the bank.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{
    super::{StorageError, Tx},
    attempts::attempts_are_ambiguous,
};
use crate::domain::{
    ids::{PaymentId, UserId},
    money::Amount,
};

/// The `X-Request-ID`s that a payment goes by. They follow from its key and from no row, so that the same order is the same to the bank
/// even where we have forgotten that it was made.
#[derive(Debug, Clone, Copy)]
pub struct RequestIds {
    /// The client's key, where it is a UUID: unless another payment goes by it, this is the one.
    pub of_client: Option<Uuid>,
    /// Else this: it follows from whose key it is, and nobody else's key leads to it.
    pub own: Uuid,
}

impl RequestIds {
    /// Those of the payment that this user makes under this key.
    pub fn of(user: UserId, client_key: &str) -> Self {
        Self {
            of_client: Uuid::try_parse(client_key).ok(),
            own: Uuid::new_v5(&user.uuid(), client_key.as_bytes()),
        }
    }
}

/// An order as the bank has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderOfBank {
    /// Its `X-Request-ID`.
    pub request_id: Uuid,
    /// The bank's id of it.
    pub payment_id: String,
    /// How much is paid.
    pub amount: Amount,
    /// To whom, as [`AccountNumber::masked`] writes it.
    ///
    /// [`AccountNumber::masked`]: crate::domain::account_number::AccountNumber::masked
    pub creditor_account_masked: String,
}

/// What the bank has under the key that somebody asks with, and a restore has forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forgotten {
    /// What they ask for.
    Same {
        request_id: Uuid,
        /// The bank's id of it.
        payment_id: String,
    },
    /// An order of theirs, of another amount or payee.
    Another { request_id: Uuid },
    /// It may be theirs or not: of another amount or payee, under a key that somebody else may have sent too; or nobody wrote down
    /// what it is of.
    Unclear,
}

/// An open payment of which no row says that the bank has it.
#[derive(Debug, Clone, Copy)]
pub struct InDoubt {
    pub id: PaymentId,
    /// Its `X-Request-ID`.
    pub request_id: Uuid,
    /// Its order did not leave before.
    pub created_at: DateTime<Utc>,
}

/// All of these, whoever looks at them already: their orders may have left after the moment that was restored.
pub async fn in_doubt(db: &mut PgConnection) -> Result<Vec<InDoubt>, StorageError> {
    Ok(sqlx::query_as!(
        InDoubt,
        r#"SELECT id AS "id: PaymentId", idempotency_key AS request_id, created_at FROM transactions
            WHERE NOT bank_final AND payment_id IS NULL ORDER BY id"#
    )
    .fetch_all(db)
    .await?)
}

/// The earliest moment to which the database was restored since payments were last taken on, where what was forgotten by then is
/// not known yet.
pub async fn restored_since(tx: &mut Tx) -> Result<Option<DateTime<Utc>>, StorageError> {
    Ok(sqlx::query_scalar!(
        "SELECT min((detail #>> '{found,restored_to}')::timestamptz) FROM audit_log
          WHERE actor = 'operator' AND action = 'restored.closed'
            AND id > (SELECT coalesce(max(id), 0) FROM audit_log WHERE actor = 'operator' AND action = 'restored.opened')"
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// Writes down that an order of the payment may have left, which the restore has forgotten: it is neither taken back here nor
/// sent again. Nothing is known of its body.
pub async fn may_have_left_since(tx: &mut Tx, id: PaymentId) -> Result<(), StorageError> {
    attempts_are_ambiguous(tx, id).await?;
    sqlx::query!(
        "INSERT INTO payment_attempts (transaction_id, job_attempt, body_hash, outcome, finished_at)
         SELECT $1, 0, decode(repeat('00', 32), 'hex'), 'ambiguous', clock_timestamp()
          WHERE NOT EXISTS (SELECT FROM payment_attempts WHERE transaction_id = $1 AND outcome = 'ambiguous')",
        id.uuid()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What an order of the bank's is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Here {
    /// Nothing: it is forgotten.
    Forgotten,
    /// A payment that has it, and says the same of it.
    Known,
    /// One of which nobody knew whether the bank has it, and which says the same of it.
    InDoubt(PaymentId),
    /// What is written here and what the bank has cannot both be true, of this payment if it is one's.
    Conflict(Option<PaymentId>, &'static str),
}

/// Compares an order of the bank's with what is here, and locks its payment.
pub async fn compare(tx: &mut Tx, order: &OrderOfBank) -> Result<Here, StorageError> {
    let OrderOfBank {
        request_id,
        payment_id,
        amount,
        creditor_account_masked,
    } = order;
    // The other one is the payment that has the bank's id and not this X-Request-ID.
    let other = sqlx::query_scalar!(
        r#"SELECT id AS "id: PaymentId" FROM transactions WHERE payment_id = $1 AND idempotency_key <> $2"#,
        payment_id,
        request_id
    )
    .fetch_optional(&mut **tx)
    .await?;
    if other.is_some() {
        return Ok(Here::Conflict(other, "the bank has it under another X-Request-ID"));
    }
    let row = sqlx::query!(
        r#"SELECT id AS "id: PaymentId", payment_id, bank_final,
                  amount = $2 AND currency = $3 AND creditor_account_masked = $4 AS "agrees!"
             FROM transactions WHERE idempotency_key = $1 FOR NO KEY UPDATE"#,
        request_id,
        amount.minor,
        amount.currency.code(),
        creditor_account_masked
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else {
        let noted = sqlx::query_scalar!(
            "SELECT payment_id FROM forgotten_orders WHERE request_id = $1",
            request_id
        );
        return Ok(match noted.fetch_optional(&mut **tx).await? {
            Some(noted) if noted != *payment_id => Here::Conflict(None, "the bank has two orders of one X-Request-ID"),
            Some(_) | None => Here::Forgotten,
        });
    };
    let conflict = |why| Here::Conflict(Some(row.id), why);
    Ok(match row.payment_id {
        _ if !row.agrees => conflict("the bank's order is of another amount or payee"),
        Some(known) if known == *payment_id => Here::Known,
        Some(_) => conflict("the bank has two orders of its X-Request-ID"),
        None if row.bank_final => conflict("it ended here as one that the bank does not have"),
        None => Here::InDoubt(row.id),
    })
}

/// Notes an order that was forgotten here. False: it was noted before.
pub async fn note_forgotten(tx: &mut Tx, order: &OrderOfBank) -> Result<bool, StorageError> {
    let noted = sqlx::query!(
        "INSERT INTO forgotten_orders (request_id, payment_id, amount, currency, creditor_account_masked)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        order.request_id,
        order.payment_id,
        order.amount.minor,
        order.amount.currency.code(),
        order.creditor_account_masked,
    )
    .execute(&mut **tx)
    .await?;
    Ok(noted.rows_affected() == 1)
}

/// Deletes what was noted half a year ago: nobody asks under those keys any more.
pub async fn prune_forgotten(db: &PgPool) -> Result<u64, StorageError> {
    let pruned = sqlx::query!("DELETE FROM forgotten_orders WHERE noted_at < clock_timestamp() - interval '180 days'")
        .execute(db)
        .await?;
    Ok(pruned.rows_affected())
}
