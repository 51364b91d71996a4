//! Payments: the row the user sees, its attempts, and the writes that move it. Each write is fenced by the row's version.

/// The rows of [`Row`] that this end of the statement leaves.
macro_rules! select {
    ($which:literal, $($parameter:expr),+ $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"SELECT id AS "id: PaymentId", user_id AS "user_id: UserId", account_id AS "account_id: AccountId", idempotency_key,
                  fingerprint, amount, currency, creditor_name, creditor_scheme, creditor_account_masked, remittance_information, product, status,
                  reason, bank_status, bank_final, needs_review, payment_id, sca_redirect, sca_deadline, callback_at, cancellation,
                  withdrawing_at, withdrawn_at, authorisation, bank_change, bank_amount, bank_currency, psu_ip, psu_user_agent, version, created_at,
                  updated_at, expires_at, clock_timestamp() AS "now!"
             FROM transactions "# + $which,
            $($parameter),+
        )
    };
}

mod additions;
mod attempts;
mod moves;
mod named;
mod new;
mod restored;
mod review;
mod story;
mod sweep;
mod wire;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

pub use self::{
    additions::{authorised, is_noted, set_authorisation, set_bank_order},
    attempts::{
        AttemptOutcome, Sending, about_to_send, attempt_ended, attempts_are_ambiguous, is_under_way, may_be_sent,
        may_have_left, unsent_attempts,
    },
    moves::{
        Initiated, Locked, Taken, came_back, forgotten, initiated, is_known, lock, lock_for, needs_review,
        not_withdrawing, set_cancellation, set_state, withdrawing, withdrawn,
    },
    named::{Named, by_bank, by_state},
    new::{AtBank, Debtor, NewPayment, SEND_WITHIN, Standing, insert, standing},
    restored::{
        Forgotten, Here, InDoubt, OrderOfBank, RequestIds, compare, in_doubt, may_have_left_since, note_forgotten,
        prune_forgotten, restored_since,
    },
    review::{
        InReview, ONE_PAYMENT_OF_AN_ID, found_at_bank, in_review, may_be_sent_again, paid_today_beside, reviewed,
    },
    story::{Listed, Moment, Standing as Story, known_as, newest, standing_of, story},
    sweep::{overdue_approvals, unanswered_wishes, unstarted_approvals, without_next_step},
    wire::{Wire, wire},
};
use super::{StorageError, Tx};
use crate::domain::{
    account_number::Scheme,
    bank_order::{Authorisation, BankChange},
    ids::{AccountId, PaymentId, UserId},
    payment_status::{Cancellation, PaymentState},
};

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
    /// What became of the person's wish to take it back.
    pub cancellation: Option<Cancellation>,
    /// When its order was last about to be withdrawn, where nobody knows that it was not: the bank may have been asked.
    pub withdrawing_at: Option<DateTime<Utc>>,
    /// When the bank took our withdrawal of the order.
    pub withdrawn_at: Option<DateTime<Utc>>,
    /// How far the start of the approval is, where the bank wants a call for it.
    pub authorisation: Option<Authorisation>,
    /// What is known of the bank's order, where it accepted ours with a change.
    pub bank_change: Option<BankChange>,
    /// What the bank will pay then, in minor units of its currency.
    pub bank_amount: Option<i64>,
    pub bank_currency: Option<String>,
    /// The person's address and browser when they asked for it; only the bank is told.
    pub psu_ip: Option<String>,
    pub psu_user_agent: Option<String>,
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
    cancellation: Option<String>,
    withdrawing_at: Option<DateTime<Utc>>,
    withdrawn_at: Option<DateTime<Utc>>,
    authorisation: Option<String>,
    bank_change: Option<String>,
    bank_amount: Option<i64>,
    bank_currency: Option<String>,
    psu_ip: Option<String>,
    psu_user_agent: Option<String>,
    version: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
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
            cancellation: row
                .cancellation
                .map(|word| word.parse().map_err(StorageError::corrupt))
                .transpose()?,
            withdrawing_at: row.withdrawing_at,
            withdrawn_at: row.withdrawn_at,
            authorisation: row
                .authorisation
                .map(|word| word.parse().map_err(StorageError::corrupt))
                .transpose()?,
            bank_change: row
                .bank_change
                .map(|word| word.parse().map_err(StorageError::corrupt))
                .transpose()?,
            bank_amount: row.bank_amount,
            bank_currency: row.bank_currency,
            psu_ip: row.psu_ip,
            psu_user_agent: row.psu_user_agent,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            expires_at: row.expires_at,
        })
    }
}

impl Payment {
    /// Whether the bank has it and has said all that its person waits for.
    pub fn is_answered(&self) -> bool {
        let awaits_link = matches!(
            self.authorisation,
            Some(Authorisation::Wanted | Authorisation::Starting)
        );
        self.payment_id.is_some() && !awaits_link
    }

    /// Whether operations had it sent again: then the time to send it began later than the payment, which at first are a
    /// moment of one statement.
    pub fn was_sent_again(&self) -> bool {
        self.may_be_sent_since() > self.created_at + Duration::from_secs(1)
    }

    /// Since when it may be sent: its age is counted from then, and one that operations had sent again is as new as another.
    /// In SQL: `greatest(created_at, expires_at - SEND_WITHIN)`.
    pub fn may_be_sent_since(&self) -> DateTime<Utc> {
        self.created_at.max(self.expires_at - SEND_WITHIN)
    }
}

fn scheme(word: &str) -> Result<Scheme, StorageError> {
    match word {
        "iban" => Ok(Scheme::Iban),
        "bban" => Ok(Scheme::Bban),
        _ => Err(StorageError::corrupt("an unknown account scheme")),
    }
}

/// The payment this user made under this key.
pub async fn by_client_key(tx: &mut Tx, user: UserId, key: &str) -> Result<Option<Payment>, StorageError> {
    let id = sqlx::query_scalar!(
        "SELECT id FROM transactions WHERE user_id = $1 AND client_key = $2",
        user.uuid(),
        key
    )
    .fetch_optional(&mut **tx)
    .await?;
    match id {
        Some(id) => find(&mut **tx, id.into()).await,
        None => Ok(None),
    }
}

/// One payment, whoever owns it: for jobs.
pub async fn find(db: impl PgExecutor<'_>, id: PaymentId) -> Result<Option<Payment>, StorageError> {
    select!("WHERE id = $1", id.uuid())
        .fetch_optional(db)
        .await?
        .map(Payment::try_from)
        .transpose()
}

/// One payment of this user.
pub async fn find_own(db: impl PgExecutor<'_>, user: UserId, id: PaymentId) -> Result<Option<Payment>, StorageError> {
    Ok(find(db, id).await?.filter(|payment| payment.user == user))
}

/// The user's payments, newest first, from before the cursor.
pub async fn list(
    db: impl PgExecutor<'_>,
    user: UserId,
    before: Option<PaymentId>,
    limit: i64,
) -> Result<Vec<Payment>, StorageError> {
    select!(
        "WHERE user_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
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
