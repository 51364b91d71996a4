//! The shapes of payments on the wire.

use chrono::{DateTime, Utc};
use drop_common::{
    domain::{
        bank_status::BankStatus,
        money::{Amount, Currency},
        payment_status::{Cancellation, FailureReason},
    },
    storage::payments::Payment,
};
use futures_util::stream::BoxStream;
use poem_openapi::{
    ApiResponse, Object, Union,
    payload::{EventStream, Json},
    types::Example,
};

use crate::{
    error::{ApiError, Code},
    text::Text,
};

/// An amount.
#[derive(Object)]
#[oai(example)]
pub struct InstructedAmount {
    /// A decimal number, such as `2010.00`, without a sign and with no more decimals than the currency has.
    pub amount: Text,
    /// ISO 4217, in capitals.
    pub currency: Text,
}

/// Where the money goes: exactly one of the two.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct CreditorAccount {
    /// An IBAN, in groups or not.
    pub iban: Option<Text>,
    /// A national account number: eleven digits for a Norwegian one, else at most 30 letters and digits, apart from dashes.
    pub bban: Option<Text>,
}

/// A payment to be made.
#[derive(Object)]
#[oai(rename_all = "camelCase", example, skip_serializing_if_is_none)]
pub struct NewTransaction {
    /// The account to pay from, `acc_…`.
    pub account_id: Text,
    /// How much.
    pub instructed_amount: InstructedAmount,
    /// To whom: at most 70 characters that banks carry; æ, ø and å are written out, and æ counts as two.
    pub creditor_name: Text,
    /// Where the money goes.
    pub creditor_account: CreditorAccount,
    /// What the payee reads: at most 140 of the same characters. Blank is the same as none.
    pub remittance_information: Option<Text>,
    /// The equal payment under way, `tx_…`, that this one is to be made beside: the id in `Location` of `possible_duplicate`.
    pub confirm_duplicate_of: Option<Text>,
}

/// A payment.
#[derive(Object)]
#[oai(rename_all = "camelCase", example, skip_serializing_if_is_none)]
pub struct Transaction {
    /// The transaction's id, `tx_…`.
    pub id: String,
    /// `processing`, `completed`, `failed` or `cancelled`.
    pub status: String,
    /// Only with `failed`: why.
    ///
    /// - `bank_rejected`: the bank rejected it.
    /// - `refused`: the bank did not take the order.
    /// - `rate_limited`: the bank took no more orders at that moment; a new payment may be made.
    /// - `not_sent`: it could not be sent in time, and never will be; a new payment may be made.
    /// - `sca_timeout`: nobody approved it in time. Until `bankFinal` the bank may still complete it.
    /// - `consent_expired`: the bank has to be linked again first.
    /// - `kyc_required`: the person was no longer verified when it was to be sent.
    pub reason: Option<String>,
    /// The bank's own word (ISO 20022).
    ///
    /// Before the approval: `RCVD`, `PDNG`, `PATC`, `ACTC`. Accepted: `ACCP`, `ACFC`, `ACWC`, `ACSP`, `ACWP`. The last word, with
    /// `bankFinal`: `ACSC` or `ACCC` (paid), `RJCT`, `CANC`.
    pub bank_status: Option<String>,
    /// Nothing more comes from the bank.
    pub bank_final: bool,
    /// Where the person approves the payment, while it waits for that.
    pub sca_redirect: Option<String>,
    /// What became of the wish to take it back: `requested`, `done`, `refused` or `unconfirmed`.
    pub cancellation: Option<String>,
    /// The account that pays, `acc_…`.
    pub account_id: String,
    /// How much.
    pub instructed_amount: InstructedAmount,
    /// What the bank pays, where it accepted the payment with a change.
    pub bank_amount: Option<InstructedAmount>,
    /// To whom.
    pub creditor_name: String,
    /// Where the money goes, masked.
    pub creditor_account: String,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// Grows with each change.
    pub version: i32,
}

/// A page of payments.
#[derive(Object)]
#[oai(example)]
pub struct Transactions {
    /// Newest first.
    pub transactions: Vec<Transaction>,
}

/// The answer to a payment.
#[derive(ApiResponse)]
pub enum Initiation {
    /// The payment exists, whatever became of it: see its status.
    #[oai(status = 201)]
    Created(
        Json<Transaction>,
        /// `true` when the key was used before.
        #[oai(header = "Idempotent-Replayed")]
        Option<String>,
    ),
    /// The bank is still being asked: look at `Location`.
    #[oai(status = 202)]
    StillAsking(
        Json<Transaction>,
        /// Where to look.
        #[oai(header = "Location")]
        String,
    ),
}

/// A payment's states as they come.
#[derive(ApiResponse)]
pub enum Events {
    /// Each event holds the whole payment.
    #[oai(status = 200)]
    Stream(
        EventStream<BoxStream<'static, Transaction>>,
        /// Asks proxies to pass events on at once.
        #[oai(header = "X-Accel-Buffering")]
        String,
        /// Nothing of it is kept.
        #[oai(header = "Cache-Control")]
        String,
    ),
    /// The bank has spoken its last word, and it was seen.
    #[oai(status = 204)]
    Over,
}

/// The answer to the wish to take a payment back.
#[derive(ApiResponse)]
pub enum Cancelling {
    /// What became of it: see `cancellation` and `status`.
    #[oai(status = 200)]
    Answered(Json<Transaction>),
    /// The bank is still being asked: look at `Location`.
    #[oai(status = 202)]
    StillAsking(
        Json<Transaction>,
        /// Where to look.
        #[oai(header = "Location")]
        String,
    ),
}

/// The answer to somebody who came back from the bank.
#[expect(clippy::large_enum_variant, reason = "made once for a request and sent at once")]
#[derive(ApiResponse)]
pub enum CameBack {
    /// The payment: all of it in a session of its owner, else where it stands.
    #[oai(status = 200)]
    Shown(Json<Returned>),
    /// A browser is sent on to the page that shows the result.
    #[oai(status = 303)]
    GoOn(
        /// The page.
        #[oai(header = "Location")]
        String,
    ),
}

/// A payment that somebody came back with.
#[expect(clippy::large_enum_variant, reason = "made once for a request and sent at once")]
#[derive(Union)]
pub enum Returned {
    /// In a session of its owner.
    Transaction(Transaction),
    /// For whoever holds the redirect's `state`.
    Standing(Standing),
}

/// Where a payment stands; nothing about whose it is or what it pays.
#[derive(Object)]
#[oai(rename_all = "camelCase", example)]
pub struct Standing {
    /// The transaction's id, `tx_…`.
    pub id: String,
    /// `processing`, `completed`, `failed` or `cancelled`.
    pub status: String,
    /// Nothing more comes from the bank.
    pub bank_final: bool,
}

impl Standing {
    /// The payment as anybody may see it who was sent back with it.
    pub(super) fn of(payment: &Payment) -> Self {
        Self {
            id: payment.id.to_string(),
            status: payment.state.status.as_str().to_owned(),
            bank_final: payment.state.bank_final,
        }
    }
}

impl InstructedAmount {
    fn of(minor: i64, currency: &str) -> Result<Self, ApiError> {
        let currency: Currency = currency.parse().map_err(|_| ApiError::of(Code::Internal))?;
        Ok(Self {
            amount: Text::from(Amount { minor, currency }.to_decimal()),
            currency: text(currency.code()),
        })
    }
}

impl Transaction {
    /// The payment as its owner sees it.
    pub(super) fn of(payment: Payment) -> Result<Self, ApiError> {
        let open = payment.state.status.as_str() == "processing";
        Ok(Self {
            id: payment.id.to_string(),
            status: payment.state.status.as_str().to_owned(),
            reason: payment.state.reason.map(FailureReason::as_str).map(str::to_owned),
            bank_status: payment.state.bank_status.map(BankStatus::as_str).map(str::to_owned),
            bank_final: payment.state.bank_final,
            sca_redirect: payment.sca_redirect.filter(|_| open),
            cancellation: payment.cancellation.map(Cancellation::as_str).map(str::to_owned),
            account_id: payment.account.to_string(),
            instructed_amount: InstructedAmount::of(payment.amount, &payment.currency)?,
            bank_amount: payment
                .bank_amount
                .zip(payment.bank_currency)
                .map(|(minor, currency)| InstructedAmount::of(minor, &currency))
                .transpose()?,
            creditor_name: payment.creditor_name,
            creditor_account: payment.creditor_account_masked,
            created_at: payment.created_at,
            updated_at: payment.updated_at,
            version: payment.version,
        })
    }
}

fn text(value: &str) -> Text {
    Text::from(value.to_owned())
}

impl Example for InstructedAmount {
    fn example() -> Self {
        Self {
            amount: text("2010.00"),
            currency: text("NOK"),
        }
    }
}

impl Example for CreditorAccount {
    fn example() -> Self {
        Self {
            iban: None,
            bban: Some(text("265-1234567-89")),
        }
    }
}

impl Example for NewTransaction {
    fn example() -> Self {
        Self {
            account_id: text("acc_0190a5a47c7e7d5ab8a1f2d3c4b5a697"),
            instructed_amount: InstructedAmount::example(),
            creditor_name: text("Marko Petrovic"),
            creditor_account: CreditorAccount::example(),
            remittance_information: Some(text("Drop remittance tx_rem_abc123")),
            confirm_duplicate_of: None,
        }
    }
}

impl Example for Transaction {
    fn example() -> Self {
        let at = "2026-02-23T10:00:00Z".parse().expect("a time");
        Self {
            id: "tx_0190a5a47c7e7d5ab8a1f2d3c4b5a697".into(),
            status: "processing".into(),
            reason: None,
            bank_status: Some("RCVD".into()),
            bank_final: false,
            sca_redirect: Some("https://dnb.no/sca/pay/abc123".into()),
            cancellation: None,
            account_id: "acc_0190a5a47c7e7d5ab8a1f2d3c4b5a697".into(),
            instructed_amount: InstructedAmount::example(),
            bank_amount: None,
            creditor_name: "Marko Petrovic".into(),
            creditor_account: "2651*****789".into(),
            created_at: at,
            updated_at: at,
            version: 2,
        }
    }
}

impl Example for Standing {
    fn example() -> Self {
        Self {
            id: "tx_0190a5a47c7e7d5ab8a1f2d3c4b5a697".into(),
            status: "processing".into(),
            bank_final: false,
        }
    }
}

impl Example for Transactions {
    fn example() -> Self {
        Self {
            transactions: vec![Transaction::example()],
        }
    }
}
