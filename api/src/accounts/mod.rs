//! Linked accounts and their cached balances (contract 3.2). The API never calls a bank.

mod refresh;
mod wire;

use drop_common::{
    domain::ids::{AccountId, UserId},
    resilience::bank_breaker::Open,
    storage::accounts,
};
use poem::Request;
use poem_openapi::{
    OpenApi,
    param::{Header, Path},
    payload::Json,
};

pub use wire::{BalanceAnswer, BankAccount, BankAccounts, CachedBalance, Refreshed};

use crate::{
    error::{ApiError, Code},
    health::Chapter,
    prefer::Prefer,
    rate_limit::REFRESHES,
    session::Session,
    state::State,
};

/// Accounts in one list: far more than anybody links.
pub(crate) const LISTED: i64 = 200;

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

#[OpenApi(tag = "Chapter::Accounts")]
impl AccountsApi {
    /// List the linked accounts.
    ///
    /// The oldest 200, with their cached balances; no bank is called.
    #[oai(path = "/v1/bank-accounts", method = "get", operation_id = "listBankAccounts")]
    async fn list(&self, session: Session) -> Result<Json<BankAccounts>, ApiError> {
        let open = open_circuits(&self.state).await?;
        let user = session.user.into();
        let own = accounts::of_user(&mut *self.state.begin_for(user).await?, user, LISTED).await?;
        let accounts = own
            .into_iter()
            .filter_map(|account| BankAccount::of(account, &open))
            .collect();
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
        Ok(Json(own(&self.state, session.user.into(), account_id(&id.0)?).await?))
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

    /// Refresh the balance of a linked account.
    ///
    /// Lets the bank be asked now, because its owner is there. Where the bank gives no balance or cannot be asked, the
    /// cached one is answered with `stale` set. `not_found` for an account that is not the user's or no longer linked. 120
    /// requests in 60 s of one user, then `rate_limited`.
    #[oai(
        path = "/v1/bank-accounts/:id/balance/refresh",
        method = "post",
        operation_id = "refreshBalance"
    )]
    async fn refresh(
        &self,
        request: &Request,
        session: Session,
        /// The account's id, `acc_…`.
        id: Path<String>,
        /// How long to wait for the outcome (RFC 7240): `wait=N` seconds, or `respond-async`, which is not at all. The
        /// service's own limit, 10 to 15 s, holds without it and is never exceeded. What is not there by then is 202.
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
    ) -> Result<Refreshed, ApiError> {
        REFRESHES.take_from_user(&self.state, session).await?;
        let prefer = Prefer::parse(prefer.0.as_deref());
        refresh::refresh(&self.state, request, session.user.into(), account_id(&id.0)?, prefer).await
    }
}

fn account_id(text: &str) -> Result<AccountId, ApiError> {
    text.parse().map_err(|_| ApiError::of(Code::NotFound))
}

/// The account as its owner sees it now.
async fn own(state: &State, user: UserId, id: AccountId) -> Result<BankAccount, ApiError> {
    let own = accounts::find_own(&mut *state.begin_for(user).await?, user, id).await?;
    let open = open_circuits(state).await?;
    let shown = own.and_then(|account| BankAccount::of(account, &open));
    shown.ok_or(ApiError::of(Code::NotFound))
}

async fn open_circuits(state: &State) -> Result<Open, ApiError> {
    Ok(Open::read(&state.db, state.settings.aisp.circuit_per_bank).await?)
}
