//! A user's wish for a fresh balance: the wish with their address and its job in one transaction.

use drop_common::{
    domain::ids::{AccountId, UserId},
    queue::{self, Admission, EnqueueOptions, Lane, payloads::RefreshBalance},
    resilience::bank_breaker::{self, BankCircuit},
    storage::{self, Tx, accounts, balance_reads},
};
use poem::Request;
use poem_openapi::payload::Json;
use tokio::time::Instant;

use super::{CachedBalance, Refreshed, own};
use crate::{
    error::{ApiError, Code},
    layers::request_id,
    prefer::Prefer,
    state::State,
};

pub(super) async fn refresh(
    state: &State,
    request: &Request,
    user: UserId,
    account: AccountId,
    prefer: Prefer,
) -> Result<Refreshed, ApiError> {
    let address = state.proxies.client_of(request).map(|address| address.to_string());
    let mut tx = state.begin_for(user).await?;
    let Some(bank) = accounts::lock_readable(&mut tx, user, account).await? else {
        return Err(ApiError::of(Code::NotFound));
    };
    if cannot_be_asked(state, &mut tx, &bank).await? {
        drop(tx);
        return answer(state, user, account, false).await;
    }
    let refresh = balance_reads::request_refresh(&mut tx, user, account, address.as_deref()).await?;
    let options = EnqueueOptions {
        request_id: Some(request_id::current()),
        ..EnqueueOptions::default()
    };
    queue::enqueue_with(&mut tx, &RefreshBalance { refresh }, options).await?;
    tx.commit().await?;
    state.wake.signal(Lane::BalanceUser);

    let deadline = Instant::now() + prefer.patience(state.longest_wait());
    let read =
        || async { Ok::<_, ApiError>(balance_reads::refreshed(&mut *state.begin_for(user).await?, refresh).await?) };
    if let Some(good) = state.waiters.wait_until(refresh.uuid(), deadline, read).await? {
        return answer(state, user, account, good).await;
    }
    let mut tx = storage::begin(&state.db).await?;
    if cannot_be_asked(state, &mut tx, &bank).await? {
        drop(tx);
        return answer(state, user, account, false).await;
    }
    Ok(Refreshed::StillAsking(location(account)))
}

/// Whether the bank cannot be asked soon: its circuit is open, or too many wait for it already.
async fn cannot_be_asked(state: &State, tx: &mut Tx, bank: &str) -> Result<bool, ApiError> {
    if state.settings.aisp.circuit_per_bank && bank_breaker::refuses(tx, &BankCircuit::of(bank)).await? {
        return Ok(true);
    }
    Ok(queue::admit(&mut **tx, Lane::BalanceUser).await? != Admission::Admitted)
}

/// The cache, marked stale unless it was just read; an account that was never read has none.
async fn answer(state: &State, user: UserId, account: AccountId, fresh: bool) -> Result<Refreshed, ApiError> {
    let shown = own(state, user, account).await?.balance;
    Ok(match shown {
        Some(balance) => Refreshed::Cached(Json(CachedBalance {
            stale: balance.stale || !fresh,
            ..balance
        })),
        None => Refreshed::StillAsking(location(account)),
    })
}

fn location(account: AccountId) -> String {
    format!("/v1/bank-accounts/{account}/balance")
}
