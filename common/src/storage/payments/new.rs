//! Storing a payment, and what is asked about the user's others before. The caller holds the user's lock.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use uuid::Uuid;

use super::{
    super::{StorageError, Tx},
    Forgotten, RequestIds,
};
use crate::domain::{
    account_number::{AccountNumber, Scheme},
    ids::{AccountId, PaymentId, UserId},
    payment::PaymentOrder,
};
use crate::keyring::{Keyring, sha256};
use crate::queue::{Admission, CLOSED_RETRY, Lane, NewJob};

/// How long an unsent payment may still be sent: nobody is charged for an order they have given up on.
pub const SEND_WITHIN: Duration = Duration::from_mins(5);

/// An order that the bank has already, of which there is no link: its person has approved it, or does while the bank waits.
#[derive(Clone, Copy)]
pub struct AtBank<'a> {
    /// Its `X-Request-ID`.
    pub request_id: Uuid,
    /// The bank's id.
    pub payment_id: &'a str,
    /// How long its person may still take to approve it.
    pub sca_timeout: Duration,
}

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
    /// The bank's order, where the bank has it already.
    pub at_bank: Option<AtBank<'a>>,
    pub psu_ip: Option<&'a str>,
    pub psu_user_agent: Option<&'a str>,
    /// The payment that the person says this one does not repeat.
    pub confirmed_duplicate_of: Option<PaymentId>,
    /// The one that it does seem to repeat, and may.
    pub repeats: Option<PaymentId>,
    /// The request that asks for it.
    pub request_id: Uuid,
    /// What is done about it first.
    pub job: &'a NewJob,
}

/// Stores the payment with its audit row and its first job, in one statement, for its person waits for every round trip; false
/// where this user already used the key, or another payment goes by this `X-Request-ID`.
pub async fn insert(tx: &mut Tx, keys: &Keyring, new: NewPayment<'_>) -> Result<bool, StorageError> {
    let row = new.id.uuid();
    let creditor = new.creditor_account.canonical_secret();
    let creditor_index = keys.blind_index("account", creditor);
    let state_hash = sha256(new.state.expose_secret().as_bytes());
    let made = sqlx::query_scalar!(
        "WITH made AS (
         INSERT INTO transactions (id, user_id, account_id, client_key, idempotency_key, fingerprint, amount, currency, creditor_name,
            creditor_account_sealed, creditor_account_index, creditor_account_masked, remittance_information, product,
            callback_state_hash, callback_state_sealed, psu_ip, psu_user_agent, confirmed_duplicate_of, hold, expires_at, creditor_scheme,
            payment_id, sca_deadline)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $7,
            clock_timestamp() + make_interval(secs => $20), $21, $25, clock_timestamp() + make_interval(secs => $26))
         ON CONFLICT DO NOTHING RETURNING account_id, amount),
         audited AS (INSERT INTO audit_log (actor, user_id, action, object, detail, request_id)
                     SELECT 'user', $2, 'payment.requested', $22, $23, $24 FROM made),
         held AS (UPDATE bank_accounts a SET held = a.held + made.amount FROM made WHERE a.id = made.account_id)
         SELECT jobs_enqueue($27, $28, $29, $30, $31, $32, $33, $34) FROM made",
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
        new.id.to_string(),
        json!({
            "account": new.account.to_string(),
            "confirmed_duplicate_of": new.confirmed_duplicate_of.map(|id| id.to_string()),
            "repeats": new.repeats.map(|id| id.to_string()),
        }),
        new.request_id,
        new.at_bank.map(|order| order.payment_id),
        new.at_bank.map(|order| order.sca_timeout.as_secs_f64()),
        new.job.lane.id(),
        new.job.kind,
        new.job.unique_key,
        new.job.payload,
        new.job.max_attempts,
        new.job.expires_in_ms,
        new.job.request_id,
        new.job.delay_ms,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(made.is_some())
}

/// The account a payment leaves from: the full number, for its owner only, while it is linked by a live consent.
pub struct Debtor {
    pub account: SecretString,
    pub currency: String,
}

/// How a new payment stands: the account it leaves, and the user's other payments.
pub struct Standing {
    pub debtor: Option<Debtor>,
    /// They already made a payment under this key.
    pub key_is_used: bool,
    /// What they have paid or are about to pay today (Europe/Oslo), in minor units: a payment that the bank may still
    /// complete counts, and on the day since which it may be sent, which operations may have made a later one.
    pub paid_today: i64,
    /// Their open payment of the same payee and amount that may be sent since some time in the last seven days.
    pub lookalike: Option<PaymentId>,
    /// An equal payment of the last minute that is over by now. Another one is allowed; the audit names the two together,
    /// for whoever clicked twice.
    pub just_made: Option<PaymentId>,
    /// Whether it could be sent about now. Since a restore, until operations know what the bank has, no payment is taken on: asked
    /// in one statement with [`Standing::forgotten`], or what is noted between the two would be paid twice.
    pub admission: Admission,
    /// What the bank has under this key and a restore has forgotten.
    pub forgotten: Option<Forgotten>,
}

/// Looks at the account and at the user's other payments, in one statement: a payment waits for every round trip. The caller
/// holds the user's lock, and took it in a statement before this one, which therefore sees whatever was committed under it.
pub async fn standing(
    tx: &mut Tx,
    keys: &Keyring,
    user: UserId,
    client_key: &str,
    request_ids: RequestIds,
    order: &PaymentOrder,
) -> Result<Standing, StorageError> {
    let (account, amount) = (order.debtor(), order.amount());
    // Stored under the key of its day: a payment from before a rotation is under way all the same.
    let indexes = keys.blind_indexes("account", order.creditor_account().canonical_secret());
    let indexes: Vec<&[u8]> = indexes.iter().map(<[u8; 32]>::as_slice).collect();
    let row = sqlx::query!(
        r#"SELECT debtor.account_sealed AS "account_sealed?", debtor.currency AS "currency?",
                  EXISTS (SELECT FROM transactions WHERE user_id = $1 AND client_key = $2) AS "key_is_used!",
                  (SELECT coalesce(sum(amount), 0)::bigint FROM transactions
                    WHERE user_id = $1 AND currency = $5 AND (status IN ('processing', 'completed') OR NOT bank_final)
                      AND greatest(created_at, expires_at - make_interval(secs => $6))
                          >= date_trunc('day', clock_timestamp() AT TIME ZONE 'Europe/Oslo') AT TIME ZONE 'Europe/Oslo'
                  ) AS "paid_today!",
                  (SELECT id FROM transactions
                    WHERE user_id = $1 AND creditor_account_index = ANY ($3) AND amount = $4 AND currency = $5
                      AND NOT bank_final
                      AND greatest(created_at, expires_at - make_interval(secs => $6)) > clock_timestamp() - interval '7 days'
                    ORDER BY id LIMIT 1
                  ) AS "lookalike: PaymentId",
                  (SELECT id FROM transactions
                    WHERE user_id = $1 AND creditor_account_index = ANY ($3) AND amount = $4 AND currency = $5
                      AND bank_final AND created_at > clock_timestamp() - interval '60 s' ORDER BY id DESC LIMIT 1
                  ) AS "just_made: PaymentId",
                  lane.circuit_open, lane.overloaded,
                  forgotten.request_id AS "forgotten_request_id?", forgotten.payment_id AS "forgotten_payment_id?",
                  forgotten.agrees AS "forgotten_agrees?"
             FROM lane_admission($9, $12) AS lane
             LEFT JOIN (SELECT request_id, payment_id,
                               amount = $4 AND currency = $5 AND creditor_account_masked = $10 AS agrees
                          FROM forgotten_orders WHERE request_id IN ($8, $11)
                         ORDER BY request_id = $8 DESC LIMIT 1) forgotten ON true
             LEFT JOIN (SELECT a.account_sealed, a.currency FROM bank_accounts a JOIN bank_consents c ON c.id = a.consent_id
                         WHERE a.id = $7 AND a.user_id = $1 AND a.status = 'linked' AND c.status = 'valid') debtor ON true"#,
        user.uuid(),
        client_key,
        &indexes as &[&[u8]],
        amount.minor,
        amount.currency.code(),
        SEND_WITHIN.as_secs_f64(),
        account.uuid(),
        request_ids.own,
        Lane::PaymentSend.id(),
        order.creditor_account().masked(),
        request_ids.of_client,
        CLOSED_RETRY.cast_signed(),
    )
    .fetch_one(&mut **tx)
    .await?;
    let debtor = row.account_sealed.zip(row.currency).map(|(sealed, currency)| {
        let number = keys.open_text("bank_accounts.account_sealed", account.uuid(), &sealed);
        number.map(|account| Debtor { account, currency })
    });
    Ok(Standing {
        debtor: debtor.transpose().map_err(StorageError::corrupt)?,
        key_is_used: row.key_is_used,
        paid_today: row.paid_today,
        lookalike: row.lookalike,
        just_made: row.just_made,
        admission: Admission::of(row.circuit_open, row.overloaded),
        forgotten: row
            .forgotten_request_id
            .zip(row.forgotten_payment_id)
            .map(|(request_id, payment_id)| match row.forgotten_agrees {
                Some(true) => Forgotten::Same { request_id, payment_id },
                Some(false) if request_id == request_ids.own => Forgotten::Another { request_id },
                Some(false) | None => Forgotten::Unclear,
            }),
    })
}

fn scheme_word(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Iban => "iban",
        Scheme::Bban => "bban",
    }
}
