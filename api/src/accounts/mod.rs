//! Linked accounts and their cached balances (contract 3.2). The API never calls a bank.

use chrono::{DateTime, Utc};
use drop_common::{
    domain::{
        account::is_stale,
        ids::AccountId,
        money::{Amount, Currency},
    },
    storage::accounts::{self, Account},
};
use poem_openapi::{ApiResponse, Object, OpenApi, param::Path, payload::Json, types::Example};

use crate::{
    error::{ApiError, Code},
    health::Chapter,
    session::Session,
    state::State,
};

/// The operations.
pub struct AccountsApi {
    state: State,
}

impl AccountsApi {
    /// The operations over the shared state.
    pub fn new(state: State) -> Self {
        Self { state }
    }
}

/// A linked account.
#[derive(Object)]
#[oai(rename_all = "camelCase", example, skip_serializing_if_is_none)]
pub struct BankAccount {
    /// The account's id, `acc_…`.
    pub id: String,
    /// The number, masked.
    pub iban: String,
    /// ISO 4217.
    pub currency: String,
    /// The cached balance; absent until the first read.
    pub balance: Option<CachedBalance>,
}

/// A balance as it was last read, less what is on hold for payments under way.
#[derive(Object)]
#[oai(rename_all = "camelCase", example, skip_serializing_if_is_none)]
pub struct CachedBalance {
    /// A decimal number.
    pub amount: String,
    /// ISO 4217.
    pub currency: String,
    /// What the number means, in the bank's word.
    pub r#type: Option<String>,
    /// When it was read.
    pub synced_at: DateTime<Utc>,
    /// Seconds since then.
    pub age_seconds: i64,
    /// Older than 6 hours, or the last read failed: do not rely on it.
    pub stale: bool,
}

/// The user's linked accounts.
#[derive(Object)]
#[oai(example)]
pub struct BankAccounts {
    /// Oldest first.
    pub accounts: Vec<BankAccount>,
}

impl Example for CachedBalance {
    fn example() -> Self {
        Self {
            amount: "45230.00".into(),
            currency: "NOK".into(),
            r#type: Some("expected".into()),
            synced_at: "2026-02-23T08:00:00Z".parse().expect("a time"),
            age_seconds: 12,
            stale: false,
        }
    }
}

impl Example for BankAccount {
    fn example() -> Self {
        Self {
            id: "acc_0190a5a47c7e7d5ab8a1f2d3c4b5a697".into(),
            iban: "NO93********947".into(),
            currency: "NOK".into(),
            balance: Some(CachedBalance::example()),
        }
    }
}

impl Example for BankAccounts {
    fn example() -> Self {
        Self {
            accounts: vec![BankAccount::example()],
        }
    }
}

impl BankAccount {
    fn of(account: Account, now: DateTime<Utc>) -> Result<Self, ApiError> {
        let currency: Currency = account.currency.parse().map_err(|_| ApiError::of(Code::Internal))?;
        let balance = account
            .balance
            .zip(account.balance_synced_at)
            .map(|(minor, synced_at)| CachedBalance {
                amount: Amount { minor, currency }.to_decimal(),
                currency: account.currency.clone(),
                r#type: account.balance_type,
                synced_at,
                age_seconds: account.balance_age_seconds.unwrap_or_default().max(0),
                stale: is_stale(Some(synced_at), account.last_read_failed, false, now),
            });
        Ok(Self {
            id: account.id.to_string(),
            iban: account.account_masked,
            currency: account.currency,
            balance,
        })
    }
}

/// The answer to a look at a balance.
#[derive(ApiResponse)]
pub enum BalanceAnswer {
    /// The cached balance.
    #[oai(status = 200)]
    Cached(Json<CachedBalance>),
    /// The first read is under way.
    #[oai(status = 202)]
    NotReadYet,
}

#[OpenApi(tag = "Chapter::Accounts")]
impl AccountsApi {
    /// List the linked accounts.
    ///
    /// With their cached balances; no bank is called.
    #[oai(path = "/v1/bank-accounts", method = "get", operation_id = "listBankAccounts")]
    async fn list(&self, session: Session) -> Result<Json<BankAccounts>, ApiError> {
        let now = self.state.clock.now();
        let own = accounts::of_user(&self.state.db, session.user.into()).await?;
        let accounts = own
            .into_iter()
            .map(|account| BankAccount::of(account, now))
            .collect::<Result<_, _>>()?;
        Ok(Json(BankAccounts { accounts }))
    }

    /// Show a linked account.
    ///
    /// With its cached balance; no bank is called.
    #[oai(path = "/v1/bank-accounts/:id", method = "get", operation_id = "getBankAccount")]
    async fn show(
        &self,
        session: Session,
        /// The account's id, `acc_…`.
        id: Path<String>,
    ) -> Result<Json<BankAccount>, ApiError> {
        let id: AccountId = id.0.parse().map_err(|_| ApiError::of(Code::NotFound))?;
        let own = accounts::find_own(&self.state.db, session.user.into(), id).await?;
        Ok(Json(BankAccount::of(
            own.ok_or(ApiError::of(Code::NotFound))?,
            self.state.clock.now(),
        )?))
    }

    /// Show the cached balance of a linked account.
    ///
    /// `stale` says whether to rely on it. No bank is called.
    #[oai(path = "/v1/bank-accounts/:id/balance", method = "get", operation_id = "getBalance")]
    async fn balance(
        &self,
        session: Session,
        /// The account's id, `acc_…`.
        id: Path<String>,
    ) -> Result<BalanceAnswer, ApiError> {
        let account = self.show(session, id).await?.0;
        Ok(account.balance.map_or(BalanceAnswer::NotReadYet, |balance| {
            BalanceAnswer::Cached(Json(balance))
        }))
    }
}
