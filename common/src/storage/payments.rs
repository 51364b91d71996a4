//! Payments: the row the user sees, its attempts, and the writes that move it. Each write is fenced by the row's version.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use uuid::Uuid;

use super::{StorageError, Tx};
use crate::domain::{
    account_number::{AccountNumber, Scheme},
    bank_status::BankStatus,
    ids::{AccountId, PaymentId, UserId},
    payment_status::{FailureReason, PaymentState, PaymentStatus},
};
use crate::keyring::{Keyring, sha256};

/// How long an unsent payment may still be sent, in seconds (reliability.md P11).
pub const SEND_WITHIN_SECONDS: i32 = 300;
/// How long the person has at the bank's page, in seconds (contract 3.3).
pub const SCA_SECONDS: i32 = 300;

/// A payment as it is stored, without its account numbers.
#[derive(Clone)]
pub struct Payment {
    pub id: PaymentId,
    pub user: UserId,
    pub account: AccountId,
    pub idempotency_key: Uuid,
    pub fingerprint: Vec<u8>,
    /// Minor units of the currency.
    pub amount: i64,
    pub currency: String,
    pub creditor_name: String,
    /// How the creditor's account is written to the bank.
    pub creditor_scheme: Scheme,
    pub creditor_account_masked: String,
    pub remittance_information: String,
    pub product: String,
    pub state: PaymentState,
    pub needs_review: bool,
    pub payment_id: Option<String>,
    pub sca_redirect: Option<String>,
    pub sca_deadline: Option<DateTime<Utc>>,
    pub callback_at: Option<DateTime<Utc>>,
    pub psu_ip: Option<String>,
    pub version: i32,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

struct Row {
    id: PaymentId,
    user_id: UserId,
    account_id: AccountId,
    idempotency_key: Uuid,
    fingerprint: Vec<u8>,
    amount: i64,
    currency: String,
    creditor_name: String,
    creditor_scheme: String,
    creditor_account_masked: String,
    remittance_information: String,
    product: String,
    status: String,
    reason: Option<String>,
    bank_status: Option<String>,
    bank_final: bool,
    needs_review: bool,
    payment_id: Option<String>,
    sca_redirect: Option<String>,
    sca_deadline: Option<DateTime<Utc>>,
    callback_at: Option<DateTime<Utc>>,
    psu_ip: Option<String>,
    version: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

impl TryFrom<Row> for Payment {
    type Error = StorageError;
    fn try_from(row: Row) -> Result<Self, StorageError> {
        Ok(Self {
            id: row.id,
            user: row.user_id,
            account: row.account_id,
            idempotency_key: row.idempotency_key,
            fingerprint: row.fingerprint,
            amount: row.amount,
            currency: row.currency,
            creditor_name: row.creditor_name,
            creditor_scheme: scheme(&row.creditor_scheme)?,
            creditor_account_masked: row.creditor_account_masked,
            remittance_information: row.remittance_information,
            product: row.product,
            state: PaymentState {
                status: row.status.parse().map_err(StorageError::corrupt)?,
                reason: row
                    .reason
                    .map(|word| word.parse().map_err(StorageError::corrupt))
                    .transpose()?,
                bank_status: row
                    .bank_status
                    .map(|word| word.parse().map_err(StorageError::corrupt))
                    .transpose()?,
                bank_final: row.bank_final,
            },
            needs_review: row.needs_review,
            payment_id: row.payment_id,
            sca_redirect: row.sca_redirect,
            sca_deadline: row.sca_deadline,
            callback_at: row.callback_at,
            psu_ip: row.psu_ip,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            expires_at: row.expires_at,
        })
    }
}

impl Payment {
    /// The same payment after one more write of this transaction.
    #[must_use]
    pub fn one_version_later(&self) -> Self {
        Self {
            version: self.version + 1,
            ..self.clone()
        }
    }
}

fn scheme_word(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Iban => "iban",
        Scheme::Bban => "bban",
    }
}

fn scheme(word: &str) -> Result<Scheme, StorageError> {
    match word {
        "iban" => Ok(Scheme::Iban),
        "bban" => Ok(Scheme::Bban),
        _ => Err(StorageError::corrupt("an unknown account scheme")),
    }
}

/// What a new payment stores.
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

/// Stores the payment; false where this user already used the key.
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
         ON CONFLICT (user_id, client_key) DO NOTHING",
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
        f64::from(SEND_WITHIN_SECONDS),
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

/// True where some payment already goes by this `X-Request-ID`.
pub async fn idempotency_key_is_taken(tx: &mut Tx, key: Uuid) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM transactions WHERE idempotency_key = $1) AS "taken!""#,
        key
    )
    .fetch_one(&mut **tx)
    .await?)
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

/// The payment this user made under this key.
pub async fn by_client_key(db: &PgPool, user: UserId, key: &str) -> Result<Option<Payment>, StorageError> {
    let id = sqlx::query_scalar!(
        "SELECT id FROM transactions WHERE user_id = $1 AND client_key = $2",
        user.uuid(),
        key
    )
    .fetch_optional(db)
    .await?;
    match id {
        Some(id) => find(db, id.into()).await,
        None => Ok(None),
    }
}

/// One payment, whoever owns it: for jobs.
pub async fn find(db: &PgPool, id: PaymentId) -> Result<Option<Payment>, StorageError> {
    sqlx::query_as!(
        Row,
        r#"SELECT id AS "id: PaymentId", user_id AS "user_id: UserId", account_id AS "account_id: AccountId", idempotency_key,
                  fingerprint, amount, currency, creditor_name, creditor_scheme, creditor_account_masked, remittance_information, product, status,
                  reason, bank_status, bank_final, needs_review, payment_id, sca_redirect, sca_deadline, callback_at, psu_ip,
                  version, created_at, updated_at, expires_at
             FROM transactions WHERE id = $1"#,
        id.uuid()
    )
    .fetch_optional(db)
    .await?
    .map(Payment::try_from)
    .transpose()
}

/// One payment of this user.
pub async fn find_own(db: &PgPool, user: UserId, id: PaymentId) -> Result<Option<Payment>, StorageError> {
    Ok(find(db, id).await?.filter(|payment| payment.user == user))
}

/// The user's payments, newest first, from before the cursor.
pub async fn list(
    db: &PgPool,
    user: UserId,
    before: Option<PaymentId>,
    limit: i64,
) -> Result<Vec<Payment>, StorageError> {
    sqlx::query_as!(
        Row,
        r#"SELECT id AS "id: PaymentId", user_id AS "user_id: UserId", account_id AS "account_id: AccountId", idempotency_key,
                  fingerprint, amount, currency, creditor_name, creditor_scheme, creditor_account_masked, remittance_information, product, status,
                  reason, bank_status, bank_final, needs_review, payment_id, sca_redirect, sca_deadline, callback_at, psu_ip,
                  version, created_at, updated_at, expires_at
             FROM transactions WHERE user_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3"#,
        user.uuid(),
        before.map(PaymentId::uuid),
        limit
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(Payment::try_from)
    .collect()
}

/// What this user has paid or is about to pay today (Europe/Oslo), in minor units. The caller holds the user's lock.
pub async fn total_today(tx: &mut Tx, user: UserId, currency: &str) -> Result<i64, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT coalesce(sum(amount), 0)::bigint AS "total!" FROM transactions
            WHERE user_id = $1 AND currency = $2 AND status IN ('processing', 'completed')
              AND created_at >= date_trunc('day', clock_timestamp() AT TIME ZONE 'Europe/Oslo') AT TIME ZONE 'Europe/Oslo'"#,
        user.uuid(),
        currency
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// An open payment of the same user, payee and amount. The caller holds the user's lock.
pub async fn lookalike(
    tx: &mut Tx,
    keys: &Keyring,
    user: UserId,
    creditor: &AccountNumber,
    amount: i64,
) -> Result<Option<PaymentId>, StorageError> {
    let index = keys.blind_index("account", creditor.canonical_secret());
    let id = sqlx::query_scalar!(
        "SELECT id FROM transactions WHERE user_id = $1 AND creditor_account_index = $2 AND amount = $3 AND NOT bank_final
          ORDER BY id LIMIT 1",
        user.uuid(),
        index.as_slice(),
        amount
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(id.map(PaymentId::from))
}

/// The account numbers and the redirect state that the bank's request carries.
pub struct Wire {
    pub debtor: SecretString,
    pub creditor: SecretString,
    pub state: Option<SecretString>,
    pub pis_consent_id: Option<SecretString>,
}

/// Opens what only the request to the bank may hold.
pub async fn wire(db: &PgPool, keys: &Keyring, payment: &Payment) -> Result<Wire, StorageError> {
    let row = sqlx::query!(
        "SELECT t.creditor_account_sealed, t.callback_state_sealed, a.account_sealed
           FROM transactions t JOIN bank_accounts a ON a.id = t.account_id WHERE t.id = $1",
        payment.id.uuid()
    )
    .fetch_one(db)
    .await?;
    let open =
        |column: &str, row: Uuid, sealed: &[u8]| keys.open_text(column, row, sealed).map_err(StorageError::corrupt);
    Ok(Wire {
        debtor: open(
            "bank_accounts.account_sealed",
            payment.account.uuid(),
            &row.account_sealed,
        )?,
        creditor: open(
            "transactions.creditor_account_sealed",
            payment.id.uuid(),
            &row.creditor_account_sealed,
        )?,
        state: row
            .callback_state_sealed
            .map(|sealed| open("transactions.callback_state_sealed", payment.id.uuid(), &sealed))
            .transpose()?,
        pis_consent_id: None,
    })
}

/// An attempt that may leave now, or why none may.
pub enum Sending {
    /// The attempt's row is written; commit, then send.
    Go { attempt: i64 },
    /// The user is no longer approved, or is gone.
    NotAllowed,
    /// The time to send has passed and nothing ever left.
    TooLate,
    /// Already sent or already over.
    NothingToDo,
    /// An earlier attempt has no outcome: its process died, so the bank may have it.
    Unknown,
}

/// Writes "about to send". Committed before the request leaves, so that "never sent" stays decidable after a crash.
pub async fn about_to_send(
    tx: &mut Tx,
    id: PaymentId,
    job_attempt: i32,
    body_hash: &[u8; 32],
) -> Result<Sending, StorageError> {
    let row = sqlx::query!(
        r#"SELECT u.kyc_status = 'approved' AND u.erased_at IS NULL AS "allowed!", t.status, t.payment_id,
                  t.expires_at <= clock_timestamp() AS "late!", t.needs_review,
                  EXISTS (SELECT 1 FROM payment_attempts a WHERE a.transaction_id = t.id AND a.outcome = 'sending') AS "unknown!",
                  EXISTS (SELECT 1 FROM payment_attempts a WHERE a.transaction_id = t.id AND a.outcome IN ('accepted', 'transient', 'ambiguous')) AS "reached!"
             FROM transactions t JOIN users u ON u.id = t.user_id WHERE t.id = $1 FOR NO KEY UPDATE OF t FOR SHARE OF u"#,
        id.uuid()
    )
    .fetch_one(&mut **tx)
    .await?;
    if row.status != "processing" || row.payment_id.is_some() || row.needs_review {
        return Ok(Sending::NothingToDo);
    }
    if row.unknown {
        return Ok(Sending::Unknown);
    }
    if row.late && !row.reached {
        return Ok(Sending::TooLate);
    }
    if !row.allowed && !row.reached {
        return Ok(Sending::NotAllowed);
    }
    let attempt = sqlx::query_scalar!(
        "INSERT INTO payment_attempts (transaction_id, job_attempt, body_hash) VALUES ($1, $2, $3) RETURNING id",
        id.uuid(),
        job_attempt,
        body_hash.as_slice()
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(Sending::Go { attempt })
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    Accepted,
    Transient,
    NotSent,
    Ambiguous,
    Refused,
}

/// Writes how the attempt ended.
pub async fn attempt_ended(
    tx: &mut Tx,
    attempt: i64,
    outcome: AttemptOutcome,
    http_status: Option<u16>,
) -> Result<(), StorageError> {
    let word = match outcome {
        AttemptOutcome::Accepted => "accepted",
        AttemptOutcome::Transient => "transient",
        AttemptOutcome::NotSent => "not_sent",
        AttemptOutcome::Ambiguous => "ambiguous",
        AttemptOutcome::Refused => "refused",
    };
    sqlx::query!(
        "UPDATE payment_attempts SET outcome = $2, http_status = $3, finished_at = clock_timestamp() WHERE id = $1 AND outcome = 'sending'",
        attempt,
        word,
        http_status.map(i32::from)
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// An attempt whose process died is ambiguous from now on: the bank may have it.
pub async fn attempts_are_ambiguous(tx: &mut Tx, id: PaymentId) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE payment_attempts SET outcome = 'ambiguous', finished_at = clock_timestamp() WHERE transaction_id = $1 AND outcome = 'sending'",
        id.uuid()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The bank has the payment: its id, and the one link the person is ever given. Starts the SCA deadline.
pub async fn initiated(
    tx: &mut Tx,
    id: PaymentId,
    payment_id: &str,
    sca_redirect: Option<&str>,
) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE transactions SET payment_id = $2, sca_redirect = coalesce(sca_redirect, $3), callback_state_sealed = NULL,
                sca_deadline = coalesce(sca_deadline, clock_timestamp() + make_interval(secs => $4)),
                version = version + 1, updated_at = clock_timestamp()
          WHERE id = $1 AND payment_id IS NULL",
        id.uuid(),
        payment_id,
        sca_redirect,
        f64::from(SCA_SECONDS),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Moves the payment to a state that the domain decided on; false where somebody else moved it first. A hold goes when the
/// payment ends without money having moved; after completion it goes with the next balance.
pub async fn set_state(tx: &mut Tx, payment: &Payment, state: &PaymentState) -> Result<bool, StorageError> {
    // Nothing moves any more: what was held is the person's again. After completion the next balance takes it over.
    let release = state.bank_final && matches!(state.status, PaymentStatus::Failed | PaymentStatus::Cancelled);
    let moved = sqlx::query!(
        "WITH held AS (SELECT id, account_id, hold FROM transactions WHERE id = $1 AND version = $2 FOR NO KEY UPDATE),
              freed AS (UPDATE bank_accounts a SET held = a.held - held.hold FROM held WHERE a.id = held.account_id AND $7)
         UPDATE transactions t SET status = $3, reason = $4, bank_status = $5, bank_final = $6,
                hold = CASE WHEN $7 THEN 0 ELSE t.hold END, version = t.version + 1, updated_at = clock_timestamp()
           FROM held WHERE t.id = held.id",
        payment.id.uuid(),
        payment.version,
        state.status.as_str(),
        state.reason.map(FailureReason::as_str),
        state.bank_status.map(BankStatus::as_str),
        state.bank_final,
        release,
    )
    .execute(&mut **tx)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// A person must look at this payment; it stays as it is. False: that was known before.
pub async fn needs_review(tx: &mut Tx, id: PaymentId) -> Result<bool, StorageError> {
    let marked = sqlx::query!(
        "UPDATE transactions SET needs_review = true, version = version + 1, updated_at = clock_timestamp()
          WHERE id = $1 AND NOT needs_review",
        id.uuid()
    )
    .execute(&mut **tx)
    .await?;
    Ok(marked.rows_affected() == 1)
}

/// Notes that the person came back from the bank. Found by the bank's payment id for its owner, or by our id and state.
pub async fn callback_of_owner(tx: &mut Tx, user: UserId, payment_id: &str) -> Result<Option<PaymentId>, StorageError> {
    let id = sqlx::query_scalar!(
        "UPDATE transactions SET callback_at = coalesce(callback_at, clock_timestamp()) WHERE payment_id = $1 AND user_id = $2 RETURNING id",
        payment_id,
        user.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(id.map(PaymentId::from))
}

/// As [`callback_of_owner`], for the holder of the state in the redirect address.
pub async fn callback_of_state(tx: &mut Tx, id: PaymentId, state: &str) -> Result<Option<PaymentId>, StorageError> {
    let state_hash = sha256(state.as_bytes());
    let id = sqlx::query_scalar!(
        "UPDATE transactions SET callback_at = coalesce(callback_at, clock_timestamp()) WHERE id = $1 AND callback_state_hash = $2 RETURNING id",
        id.uuid(),
        state_hash.as_slice()
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(id.map(PaymentId::from))
}
