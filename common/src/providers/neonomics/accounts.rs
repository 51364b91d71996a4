use std::fmt;

use reqwest::Method;
use serde::Deserialize;

use super::{CallContext, Neonomics, client::Outgoing, errors::consent_bound};
use crate::{
    domain::account::BalanceType,
    providers::{Field, Operation, ProviderError, http::path_segment},
};

/// An account of a consent. Its id is constant only within that consent.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The bank's id for the account, under this consent; the standard lets a bank leave it out.
    pub resource_id: Option<String>,
    /// As the bank writes it.
    pub iban: Option<String>,
    /// As the bank writes it.
    pub bban: Option<String>,
    /// ISO 4217, when the bank says it.
    pub currency: Option<String>,
}

/// Account numbers are personal data.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Account(redacted)")
    }
}

/// One balance of an account, as the bank wrote it.
#[derive(Clone, PartialEq, Eq)]
pub struct Balance {
    /// `interimAvailable`, `expected`, …; open.
    pub kind: String,
    /// The wire text; parsing it to minor units is the caller's, never through a float.
    pub amount: String,
    /// ISO 4217.
    pub currency: String,
    /// Whether a credit limit is in the amount.
    pub credit_limit_included: Option<bool>,
    /// The bank's time, as text.
    pub last_change: Option<String>,
}

/// Amounts are personal data.
impl fmt::Debug for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balance")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Kinds of balance that banks send and nobody is shown.
const NOT_SHOWN: [&str; 4] = ["authorised", "information", "nonInvoiced", "openingBooked"];

impl Neonomics {
    /// The accounts a consent covers.
    pub async fn accounts(&self, consent_id: &str, context: &CallContext) -> Result<Vec<Account>, ProviderError> {
        let outgoing =
            Outgoing::new(Operation::Accounts, Method::GET, "/v1/accounts".to_owned()).with_consent(consent_id)?;
        self.send_with_token(outgoing, context, |reply| {
            let list: AccountList = consent_bound(&reply)?.json()?;
            Ok(list.accounts.into_iter().map(AccountWire::into_account).collect())
        })
        .await
    }

    /// The balances of one account. The four-reads rule is the caller's: it counts before it calls.
    pub async fn balances(
        &self,
        account_id: &str,
        consent_id: &str,
        context: &CallContext,
    ) -> Result<Vec<Balance>, ProviderError> {
        let path = format!("/v1/accounts/{}/balances", path_segment(account_id)?);
        let outgoing = Outgoing::new(Operation::Balances, Method::GET, path).with_consent(consent_id)?;
        self.send_with_token(outgoing, context, |reply| {
            let list: BalanceList = consent_bound(&reply)?.json()?;
            for balance in &list.balances {
                let kind = balance.balance_type.as_str();
                if kind.parse::<BalanceType>().is_err() && !NOT_SHOWN.contains(&kind) {
                    self.unknown(Field::BalanceType, kind);
                }
            }
            Ok(list.balances.into_iter().map(BalanceWire::into_balance).collect())
        })
        .await
    }
}

#[derive(Deserialize)]
struct AccountList {
    accounts: Vec<AccountWire>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccountWire {
    resource_id: Option<String>,
    iban: Option<String>,
    bban: Option<String>,
    currency: Option<String>,
}

impl AccountWire {
    fn into_account(self) -> Account {
        let Self {
            resource_id,
            iban,
            bban,
            currency,
        } = self;
        Account {
            resource_id,
            iban,
            bban,
            currency,
        }
    }
}

#[derive(Deserialize)]
struct BalanceList {
    balances: Vec<BalanceWire>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BalanceWire {
    balance_type: String,
    balance_amount: Amount,
    credit_limit_included: Option<bool>,
    last_change_date_time: Option<String>,
}

/// The amount must be a JSON string: a number would have gone through a float at the bank.
#[derive(Deserialize)]
struct Amount {
    currency: String,
    amount: String,
}

impl BalanceWire {
    fn into_balance(self) -> Balance {
        Balance {
            kind: self.balance_type,
            amount: self.balance_amount.amount,
            currency: self.balance_amount.currency,
            credit_limit_included: self.credit_limit_included,
            last_change: self.last_change_date_time,
        }
    }
}
