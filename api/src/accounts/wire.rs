//! Accounts and balances as they are sent.

use chrono::{DateTime, TimeDelta, Utc};
use drop_common::{
    domain::{
        account::is_stale,
        money::{Amount, Currency},
    },
    resilience::bank_breaker::Open,
    storage::accounts::Account,
};
use poem_openapi::{ApiResponse, Object, payload::Json, types::Example};

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
    /// When the bank last changed it, by the bank's own word; absent where it gives none.
    pub bank_time: Option<DateTime<Utc>>,
    /// When it was read.
    pub synced_at: DateTime<Utc>,
    /// Seconds since then.
    pub age_seconds: i64,
    /// Older than 6 hours, the last read failed, or the bank cannot be asked now: do not rely on it.
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
            bank_time: Some("2026-02-23T07:58:30Z".parse().expect("a time")),
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
    /// As its owner sees it; behind an open circuit no balance is called fresh. `None`: it is in a currency whose amounts we
    /// cannot write, and must not take the others away with it.
    pub(super) fn of(account: Account, open: &Open) -> Option<Self> {
        let currency: Currency = account.currency.parse().ok()?;
        let circuit_open = open.cuts_off(&account.bank);
        // The database's clock says how old it is; this process's may be wrong.
        let age = account.balance_age_seconds.map(TimeDelta::seconds);
        let balance = account
            .balance
            .zip(account.balance_synced_at)
            .map(|(minor, synced_at)| CachedBalance {
                amount: Amount { minor, currency }.to_decimal(),
                currency: account.currency.clone(),
                r#type: account.balance_type,
                bank_time: account.balance_at,
                synced_at,
                age_seconds: account.balance_age_seconds.unwrap_or_default().max(0),
                stale: is_stale(age, account.last_read_failed, circuit_open),
            });
        Some(Self {
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
    /// The first read is under way: ask again in some seconds.
    #[oai(status = 202)]
    NotReadYet,
}

/// The answer to a wish for a fresh balance.
#[derive(ApiResponse)]
pub enum Refreshed {
    /// The balance: as the bank gave it just now, or the cached one with `stale` set where it gave none.
    #[oai(status = 200)]
    Cached(Json<CachedBalance>),
    /// The bank is still being asked: look at `Location`.
    #[oai(status = 202)]
    StillAsking(
        /// Where to look.
        #[oai(header = "Location")]
        String,
    ),
}
