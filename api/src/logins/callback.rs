//! The return from `BankID`, checked in the order of the contract: form, state, single use, issuer, error, code.

use drop_common::{
    alerts,
    domain::login::LoginFailure,
    keyring::sha256,
    queue::{self, EnqueueOptions, Lane, payloads::CheckLogin},
    storage::{
        audit::{self, Actor, Entry},
        logins,
    },
};
use poem::{Request, web::cookie::CookieJar};
use secrecy::SecretString;
use serde_json::json;
use subtle::ConstantTimeEq;

use super::{STATE_COOKIE, hand_out, initiate::state_cookie, wire::LoginAnswer};
use crate::{
    client_address,
    error::{ApiError, Code},
    layers::request_id,
    prefer::Prefer,
    rate_limit::BANKID_CALLBACK,
    state::State,
};

const LONGEST_QUERY: usize = 4 * 1024;
const LONGEST_CODE: usize = 2 * 1024;

pub(super) async fn finish(
    state: &State,
    request: &Request,
    cookies: &CookieJar,
    prefer: Prefer,
) -> Result<LoginAnswer, ApiError> {
    let caller = state.proxies.client_of(request).ok_or(ApiError::of(Code::Internal))?;
    BANKID_CALLBACK
        .take(&state.db, &state.metrics, &client_address::bucket(caller))
        .await
        .inspect_err(|refused| state.count_limited_login(refused))?;
    let query = Query::of(request).inspect_err(|_| state.count_lost_login("invalid_callback"))?;
    let invalid_state = |_: &ApiError| state.count_lost_login("invalid_state");
    let state_value = held_state(&query, cookies).inspect_err(invalid_state)?;
    let state_hash = sha256(state_value.as_bytes());

    let mut tx = state.db.begin().await?;
    let login = logins::consume(&mut tx, &state_hash)
        .await?
        .ok_or(ApiError::of(Code::InvalidState))
        .inspect_err(invalid_state)?;
    if let Some(refused) = refusal(state, &query) {
        logins::fail(&mut tx, login.id, refused).await?;
        audit::record(
            &mut tx,
            Entry {
                actor: Actor::User,
                user: None,
                action: "login.refused",
                object: login.id.to_string(),
                detail: json!({ "failure": refused.code() }),
                request_id: Some(request_id::current()),
            },
        )
        .await?;
        tx.commit().await?;
        if let Some(error) = query.error.as_deref().and_then(ours) {
            alerts::raise(&alerts::BANKID_REQUEST_REFUSED, format_args!("{}, {error}", login.id));
        }
        cookies.add(state_cookie(state, "", 0));
        state.count_refused_login(refused);
        return Err(hand_out::refused(refused));
    }
    let code = SecretString::from(query.code.unwrap_or_default());
    logins::put_code(&mut tx, &state.keys, login.id, &code).await?;
    let options = EnqueueOptions {
        request_id: Some(request_id::current()),
        ..EnqueueOptions::default()
    };
    queue::enqueue_with(&mut tx, &CheckLogin { login: login.id }, options).await?;
    tx.commit().await?;
    state.wake.signal(Lane::Login);

    hand_out::when_ready(state, request, cookies, login.id, &state_hash, prefer).await
}

/// The browser's cookie must hold the very state that came back: somebody else's callback ends here, and their login survives.
fn held_state(query: &Query, cookies: &CookieJar) -> Result<String, ApiError> {
    let wrong = || ApiError::of(Code::InvalidState);
    let returned = query.state.clone().ok_or_else(wrong)?;
    let held = cookies.get(STATE_COOKIE).ok_or_else(wrong)?;
    if bool::from(held.value_str().as_bytes().ct_eq(returned.as_bytes())) {
        Ok(returned)
    } else {
        Err(wrong())
    }
}

/// Why no token is asked for, if so. An `error` counts also where a code comes with it; BankID's own text is never shown.
fn refusal(state: &State, query: &Query) -> Option<LoginFailure> {
    let bankid = &state.settings.bankid;
    let issuer_is_wrong = match &query.iss {
        Some(iss) => *iss != bankid.issuer,
        None => bankid.require_iss_param,
    };
    if issuer_is_wrong {
        return Some(LoginFailure::InvalidCallback);
    }
    match query.error.as_deref() {
        Some("access_denied") => return Some(LoginFailure::Cancelled),
        Some(_) => return Some(LoginFailure::BankIdError),
        None => {}
    }
    match query.code.as_deref() {
        Some(code) if !code.is_empty() && code.len() <= LONGEST_CODE => None,
        _ => Some(LoginFailure::InvalidCallback),
    }
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

/// The callback's parameters, each at most once.
struct Query {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

impl Query {
    fn of(request: &Request) -> Result<Self, ApiError> {
        let invalid = || ApiError::of(Code::InvalidCallback);
        let text = request.uri().query().unwrap_or_default();
        if text.len() > LONGEST_QUERY {
            return Err(invalid());
        }
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(text).map_err(|_| invalid())?;
        let repeated = pairs
            .iter()
            .any(|(key, _)| pairs.iter().filter(|(other, _)| other == key).count() > 1);
        if repeated {
            return Err(invalid());
        }
        let value = |name: &str| {
            pairs
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.clone())
        };
        Ok(Self {
            code: value("code"),
            state: value("state"),
            error: value("error"),
            iss: value("iss"),
        })
    }
}
