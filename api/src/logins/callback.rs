//! The return from `BankID`, checked in the order of the contract: form, state, single use, issuer, error, code.

use drop_common::{
    alerts,
    domain::login::LoginFailure,
    keyring::sha256,
    queue::{self, EnqueueOptions, Lane, payloads::CheckLogin},
    storage::{
        self, Tx,
        audit::{self, Actor, Entry},
        logins::{self, Consumed, Returning},
    },
};
use poem::{Request, web::cookie::CookieJar};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use subtle::ConstantTimeEq;

use super::{cookies, hand_out, location, returned::Returned, wire::LoginAnswer};
use crate::{
    error::{ApiError, Code},
    layers::request_id,
    prefer::Prefer,
    rate_limit::BANKID_CALLBACK,
    state::State,
};

const LONGEST_CODE: usize = 2 * 1024;

pub(super) async fn finish(
    state: &State,
    request: &Request,
    jar: &CookieJar,
    prefer: Prefer,
) -> Result<LoginAnswer, ApiError> {
    BANKID_CALLBACK
        .take_from_address(state, request)
        .await
        .inspect_err(|refused| state.count_limited_login(refused))?;
    let returned = Returned::of(request).inspect_err(|_| state.count_lost_login("invalid_callback"))?;

    let (refusal, code) = match code(state, &returned) {
        Ok(code) => (None, Some(code)),
        Err(failure) => (Some(failure), None),
    };
    let mut tx = storage::begin(&state.db).await?;
    let login = consume(state, &mut tx, request, &returned, code.as_ref())
        .await?
        .ok_or(ApiError::of(Code::InvalidState))
        .inspect_err(|_| state.count_lost_login("invalid_state"))?;
    if let Some(failure) = refusal {
        return refuse(state, tx, jar, &login, &returned, failure).await;
    }
    let options = EnqueueOptions {
        request_id: Some(request_id::current()),
        ..EnqueueOptions::default()
    };
    queue::enqueue_with(&mut tx, &CheckLogin { login: login.id() }, options).await?;
    match login {
        Consumed::Browser(login) => {
            tx.commit().await?;
            state.wake.signal(Lane::Login);
            hand_out::to_browser(state, request, jar, login, prefer).await
        }
        // No wait here: this browser has no part in the session. The app waits, when it redeems.
        Consumed::App(id) => {
            let login_code = state.keys.random_token();
            let into_app = location::in_app(state, id, &login_code)?;
            logins::give_login_code(&mut tx, id, &sha256(login_code.expose_secret().as_bytes())).await?;
            tx.commit().await?;
            state.wake.signal(Lane::Login);
            Ok(LoginAnswer::GoOn(into_app))
        }
    }
}

/// Uses the login up that this state belongs to. A browser's login asks for its cookies in the same statement: somebody
/// else's callback ends there, and the login is left to its browser. The app's login asks for none: the person may have
/// signed in with any browser of the device, and what comes of it takes the app's verifier.
async fn consume(
    state: &State,
    tx: &mut Tx,
    request: &Request,
    returned: &Returned,
    code: Option<&SecretString>,
) -> Result<Option<Consumed>, ApiError> {
    let Some(returned) = returned.state.as_deref().map(str::as_bytes) else {
        return Ok(None);
    };
    let returning = Returning {
        state_hash: &sha256(returned),
        cookie_holds_state: cookies::held_states(request).any(|held| held.as_bytes().ct_eq(returned).into()),
        binding: cookies::binding(state, request),
        code,
    };
    Ok(logins::consume(tx, &state.keys, returning).await?)
}

/// The code to ask a token for, or why none is asked for. An `error` counts also where a code comes with it; BankID's own
/// text is never shown.
fn code(state: &State, returned: &Returned) -> Result<SecretString, LoginFailure> {
    let bankid = &state.settings.bankid;
    let issuer_is_wrong = match &returned.iss {
        Some(iss) => *iss != bankid.issuer,
        None => bankid.require_iss_param,
    };
    if issuer_is_wrong {
        return Err(LoginFailure::InvalidCallback);
    }
    match returned.error.as_deref() {
        Some("access_denied") => return Err(LoginFailure::Cancelled),
        Some(_) => return Err(LoginFailure::BankIdError),
        None => {}
    }
    match returned.code.as_deref() {
        Some(code) if !code.is_empty() && code.len() <= LONGEST_CODE => Ok(code.into()),
        _ => Err(LoginFailure::InvalidCallback),
    }
}

/// Ends the login without asking for a token, and tells whoever started it.
async fn refuse(
    state: &State,
    mut tx: Tx,
    jar: &CookieJar,
    login: &Consumed,
    returned: &Returned,
    failure: LoginFailure,
) -> Result<LoginAnswer, ApiError> {
    let (id, into_app) = match login {
        Consumed::Browser(login) => (login.id(), None),
        Consumed::App(id) => (*id, Some(location::in_app_refused(state, *id, failure)?)),
    };
    logins::fail(&mut tx, id, failure, None).await?;
    let entry = Entry {
        actor: Actor::User,
        user: None,
        action: "login.refused",
        object: id.to_string(),
        detail: json!({ "failure": failure.code() }),
        request_id: Some(request_id::current()),
    };
    audit::record(&mut tx, entry).await?;
    tx.commit().await?;
    if let Some(error) = returned.error.as_deref().and_then(ours) {
        alerts::raise_for(&alerts::BANKID_REQUEST_REFUSED, error, format_args!("{id}, {error}"));
    }
    state.count_refused_login(failure);
    if let Some(place) = into_app {
        return Ok(LoginAnswer::GoOn(place));
    }
    cookies::take_away(state, jar);
    Err(hand_out::refused(failure))
}

/// The error with which BankID says that our request was at fault, as a word of ours: the parameter is the caller's text.
fn ours(error: &str) -> Option<&'static str> {
    const OURS: [&str; 4] = [
        "invalid_request",
        "invalid_scope",
        "unauthorized_client",
        "unsupported_response_type",
    ];
    OURS.into_iter().find(|word| *word == error)
}
