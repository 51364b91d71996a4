//! A payment order as the person confirmed it: parsed once, canonical from then on.

use std::fmt;

use sha2::{Digest, Sha256};

use super::account_number::{AccountNumber, AccountNumberError, Scheme};
use super::ids::AccountId;
use super::money::{Amount, AmountError, Currency};
use super::payment_text::{PaymentText, PaymentTextError};

/// The longest creditor name.
pub const MAX_CREDITOR_NAME: usize = 70;

/// The longest remittance text. Some banks take less.
pub const MAX_REMITTANCE: usize = 140;

/// The body of the request, as text.
#[derive(Clone, Copy)]
pub struct OrderInput<'a> {
    /// `accountId`: the debtor's account, prefixed.
    pub account: &'a str,
    /// `instructedAmount.amount`: decimal text.
    pub amount: &'a str,
    /// `instructedAmount.currency`.
    pub currency: &'a str,
    /// `creditorName`.
    pub creditor_name: &'a str,
    /// `creditorAccount.iban`.
    pub creditor_iban: Option<&'a str>,
    /// `creditorAccount.bban`.
    pub creditor_bban: Option<&'a str>,
    /// `remittanceInformation`; blank is the same as none.
    pub remittance: Option<&'a str>,
}

/// A payment that may be sent, once the person and the limits allow it. `Debug` shows no person.
#[derive(Clone, PartialEq, Eq)]
pub struct PaymentOrder {
    debtor: AccountId,
    amount: Amount,
    creditor_name: PaymentText,
    creditor_account: AccountNumber,
    remittance: Option<PaymentText>,
}

impl PaymentOrder {
    /// Reads every field and names everything that is wrong, not only the first.
    pub fn parse(input: &OrderInput<'_>) -> Result<Self, Vec<FieldProblem>> {
        let mut problems = Vec::new();
        let debtor = keep(
            &mut problems,
            "accountId",
            input.account.parse().map_err(|_| OrderError::AccountId),
        );
        let amount = parse_amount(&mut problems, input.amount, input.currency);
        let name = PaymentText::parse(input.creditor_name, MAX_CREDITOR_NAME);
        let creditor_name = keep(&mut problems, "creditorName", name.map_err(OrderError::Text));
        let creditor_account = parse_creditor(&mut problems, input.creditor_iban, input.creditor_bban);
        let remittance = match input.remittance {
            Some(text) if !text.trim_matches(' ').is_empty() => {
                let text = PaymentText::parse(text, MAX_REMITTANCE);
                keep(&mut problems, "remittanceInformation", text.map_err(OrderError::Text))
            }
            Some(_) | None => None,
        };
        match (debtor, amount, creditor_name, creditor_account) {
            (Some(debtor), Some(amount), Some(creditor_name), Some(creditor_account)) if problems.is_empty() => {
                Ok(Self {
                    debtor,
                    amount,
                    creditor_name,
                    creditor_account,
                    remittance,
                })
            }
            _ => Err(problems),
        }
    }

    /// The account that pays; whether it is the person's is checked against its row.
    pub const fn debtor(&self) -> AccountId {
        self.debtor
    }

    /// How much, always above zero.
    pub const fn amount(&self) -> Amount {
        self.amount
    }

    /// Who is paid.
    pub const fn creditor_name(&self) -> &PaymentText {
        &self.creditor_name
    }

    /// The account that is paid.
    pub const fn creditor_account(&self) -> &AccountNumber {
        &self.creditor_account
    }

    /// The text that goes along.
    pub const fn remittance(&self) -> Option<&PaymentText> {
        self.remittance.as_ref()
    }

    /// Whether the money would go to the account that it comes from.
    pub fn pays_itself(&self, debtor: &AccountNumber) -> bool {
        self.creditor_account == *debtor
    }

    /// SHA-256 over the route and the canonical fields: what tells the same request from another one under the same
    /// idempotency key. `10.0` and `10.00`, or a BBAN and its IBAN, are the same.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        let mut field = |bytes: &[u8]| {
            // The length in front keeps text from moving between neighbouring fields.
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        field(b"POST /v1/transactions");
        field(self.debtor.uuid().as_bytes());
        field(&self.amount.minor.to_be_bytes());
        field(self.amount.currency.code().as_bytes());
        field(self.creditor_name.as_str().as_bytes());
        field(self.creditor_account.canonical_secret().as_bytes());
        field(self.remittance.as_ref().map_or("", PaymentText::as_str).as_bytes());
        Fingerprint(hash.finalize().into())
    }
}

impl fmt::Debug for PaymentOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PaymentOrder")
            .field("debtor", &self.debtor)
            .finish_non_exhaustive()
    }
}

/// What identifies a request's contents. It is made of account numbers and names, so `Debug` hides it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The digest, for its column.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Fingerprint {
    fn from(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(hidden)")
    }
}

/// One field that is wrong; becomes one entry of the answer's `errors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldProblem {
    /// The member's path in the body.
    pub field: &'static str,
    /// What is wrong with it; its text can be shown.
    pub error: OrderError,
}

/// What can be wrong with a field. No variant carries the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Not an `acc_` id.
    #[error("not an account id")]
    AccountId,
    /// Not a decimal text that the currency can hold.
    #[error(transparent)]
    Amount(AmountError),
    /// Zero or less.
    #[error("the amount must be above zero")]
    NotPositive,
    /// Not a known upper-case code.
    #[error("unknown currency")]
    Currency,
    /// Not a text that banks carry.
    #[error(transparent)]
    Text(PaymentTextError),
    /// Neither or both of `iban` and `bban`.
    #[error("give exactly one of iban and bban")]
    OneAccount,
    /// Not an account number.
    #[error(transparent)]
    Account(AccountNumberError),
}

fn keep<T>(problems: &mut Vec<FieldProblem>, field: &'static str, parsed: Result<T, OrderError>) -> Option<T> {
    parsed
        .map_err(|error| problems.push(FieldProblem { field, error }))
        .ok()
}

fn parse_amount(problems: &mut Vec<FieldProblem>, amount: &str, currency: &str) -> Option<Amount> {
    let currency: Result<Currency, _> = currency.parse();
    let currency = keep(
        problems,
        "instructedAmount.currency",
        currency.map_err(|_| OrderError::Currency),
    )?;
    let parsed = match Amount::parse(amount, currency) {
        Ok(amount) if amount.minor <= 0 => Err(OrderError::NotPositive),
        other => other.map_err(OrderError::Amount),
    };
    keep(problems, "instructedAmount.amount", parsed)
}

fn parse_creditor(problems: &mut Vec<FieldProblem>, iban: Option<&str>, bban: Option<&str>) -> Option<AccountNumber> {
    let (field, scheme, text) = match (iban, bban) {
        (Some(text), None) => ("creditorAccount.iban", Scheme::Iban, text),
        (None, Some(text)) => ("creditorAccount.bban", Scheme::Bban, text),
        (Some(_), Some(_)) | (None, None) => {
            return keep(problems, "creditorAccount", Err(OrderError::OneAccount));
        }
    };
    keep(
        problems,
        field,
        AccountNumber::parse(scheme, text).map_err(OrderError::Account),
    )
}
