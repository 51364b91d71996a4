//! The end of a login: the session goes out once, to whoever proves that they started it.

use drop_common::{
    domain::{ids::LoginId, login::LoginFailure, session::Channel},
    storage::logins::{self, Ended, Outcome, ProvenLogin},
};
use poem::{Request, web::cookie::CookieJar};
use poem_openapi::payload::Json;
use tokio::time::Instant;

use super::{
    cookies, location,
    wire::{LoggedIn, LoginAnswer},
};
use crate::{
    browser::prefers_page,
    error::{ApiError, Code},
    prefer::Prefer,
    sessions,
    state::State,
};

/// Asks again for a browser's login, with the cookies as proof.
pub(super) async fn again(
    state: &State,
    request: &Request,
    jar: &CookieJar,
    id: &str,
    prefer: Prefer,
) -> Result<LoginAnswer, ApiError> {
    let unknown = || ApiError::of(Code::NotFound);
    let id: LoginId = id.parse().map_err(|_| unknown())?;
    let (held, binding) = (cookies::held_state_hashes(request), cookies::binding(state, request));
    let login = logins::proven_by_browser(&state.db, id, &held, binding).await?;
    to_browser(state, request, jar, login.ok_or_else(unknown)?, prefer).await
}

/// Gives the browser the session, or tells it why there is none or where to ask again.
pub(super) async fn to_browser(
    state: &State,
    request: &Request,
    jar: &CookieJar,
    login: ProvenLogin,
    prefer: Prefer,
) -> Result<LoginAnswer, ApiError> {
    let Some(ended) = wait(state, login, prefer).await? else {
        return Ok(LoginAnswer::StillChecking(location::of_outcome(login.id())));
    };
    let answer = match ended.outcome {
        Outcome::Refused(failure) => Err(refused(failure)),
        Outcome::Granted { return_to } => {
            let session = open_session(state, request, jar, login, Channel::Web).await?;
            Ok(if prefers_page(request) {
                LoginAnswer::GoOn(return_to.unwrap_or_else(|| "/".to_owned()))
            } else {
                LoginAnswer::SignedIn(Json(session))
            })
        }
    };
    if !ended.overtaken {
        cookies::take_away(state, jar);
    }
    answer
}

/// Waits for the worker's verdict, for as long as the caller may wait.
pub(super) async fn wait(state: &State, login: ProvenLogin, prefer: Prefer) -> Result<Option<Ended>, ApiError> {
    let deadline = Instant::now() + prefer.patience(state.longest_wait());
    let read = || async { Ok::<_, ApiError>(logins::outcome(&state.db, login).await?) };
    state.waiters.wait_until(login.id().uuid(), deadline, read).await
}

/// A login is handed out with its session or not at all.
pub(super) async fn open_session(
    state: &State,
    request: &Request,
    jar: &CookieJar,
    login: ProvenLogin,
    channel: Channel,
) -> Result<LoggedIn, ApiError> {
    let (user, grant) = sessions::open(state, request, channel, login).await?;
    let tokens = grant.hand_out(state, jar);
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
        LoginFailure::Erased => Code::Unauthenticated,
    })
}
