//! The end of a login: the session goes out once, to the browser that holds the login's state.

use drop_common::{
    domain::{
        ids::LoginId,
        login::{LoginFailure, LoginStatus},
        session::Channel,
    },
    keyring::sha256,
    storage::{
        logins::{self, Standing},
        users,
    },
};
use poem::{Request, http::header, web::cookie::CookieJar};
use poem_openapi::payload::Json;
use tokio::time::Instant;

use super::{
    STATE_COOKIE,
    initiate::state_cookie,
    wire::{LoggedIn, LoginAnswer},
};
use crate::{
    error::{ApiError, Code},
    prefer::Prefer,
    sessions,
    state::State,
};

/// Asks again for a login, with the cookie as proof.
pub(super) async fn again(
    state: &State,
    request: &Request,
    cookies: &CookieJar,
    id: &str,
    prefer: Prefer,
) -> Result<LoginAnswer, ApiError> {
    let id: LoginId = id.parse().map_err(|_| ApiError::of(Code::NotFound))?;
    let held = cookies.get(STATE_COOKIE).ok_or(ApiError::of(Code::NotFound))?;
    when_ready(
        state,
        request,
        cookies,
        id,
        &sha256(held.value_str().as_bytes()),
        prefer,
    )
    .await
}

/// Waits for the worker's verdict, for as long as the caller may wait, and hands it out.
pub(super) async fn when_ready(
    state: &State,
    request: &Request,
    cookies: &CookieJar,
    id: LoginId,
    state_hash: &[u8; 32],
    prefer: Prefer,
) -> Result<LoginAnswer, ApiError> {
    let deadline = Instant::now() + prefer.patience(state.longest_wait());
    let finished = state
        .waiters
        .wait_until(id.uuid(), deadline, || async {
            let standing = logins::standing(&state.db, id, state_hash)
                .await?
                .ok_or(ApiError::of(Code::NotFound))?;
            let over = matches!(standing.status, LoginStatus::Succeeded | LoginStatus::Failed);
            Ok::<_, ApiError>(over.then_some(standing))
        })
        .await?;
    let Some(Standing { failure, return_to, .. }) = finished else {
        return Ok(LoginAnswer::StillChecking(format!("/v1/auth/bankid/logins/{id}")));
    };
    cookies.add(state_cookie(state, "", 0));
    if let Some(failure) = failure {
        return Err(refused(failure));
    }
    let session = open_session(state, request, cookies, id, state_hash).await?;
    let wants_page = request
        .header(header::ACCEPT)
        .is_some_and(|accept| accept.contains("text/html"));
    if wants_page {
        return Ok(LoginAnswer::GoOn(return_to.unwrap_or_else(|| "/".to_owned())));
    }
    Ok(LoginAnswer::SignedIn(Json(session)))
}

/// The outcome and the session row are one transaction: a login is handed out with its session or not at all.
async fn open_session(
    state: &State,
    request: &Request,
    cookies: &CookieJar,
    id: LoginId,
    state_hash: &[u8; 32],
) -> Result<LoggedIn, ApiError> {
    let mut tx = state.db.begin().await?;
    let user = logins::hand_out(&mut tx, id, state_hash)
        .await?
        .ok_or(ApiError::of(Code::InvalidState))?;
    let grant = sessions::open(state, &mut tx, request, user, Channel::Web, id).await?;
    tx.commit().await?;
    let user = users::find(&state.db, user)
        .await?
        .ok_or(ApiError::of(Code::Unauthenticated))?;
    let tokens = grant.hand_out(state, cookies);
    Ok(LoggedIn {
        user: user.into(),
        access_token: tokens.access_token,
        refresh_token: tokens.refresh_token,
        token_type: tokens.token_type,
        expires_in: tokens.expires_in,
    })
}

/// The contract's answer to a login that ended without a session (3.1), and ours where it names none.
pub(super) fn refused(failure: LoginFailure) -> ApiError {
    ApiError::of(match failure {
        LoginFailure::Cancelled => Code::BankidCancelled,
        LoginFailure::InvalidCallback => Code::InvalidCallback,
        LoginFailure::TokenExchangeFailed => Code::TokenExchangeFailed,
        LoginFailure::JwksVerificationFailed => Code::JwksVerificationFailed,
        LoginFailure::Underage => Code::Underage,
        LoginFailure::AgeUnverified => Code::AgeUnverified,
        LoginFailure::InvalidIdentityClaim => Code::InvalidIdentityClaim,
        LoginFailure::BankIdError => Code::BankidError,
    })
}
