//! The start of a login: fresh state, nonce and PKCE verifier, kept on the server.

use drop_common::{
    domain::{ids::LoginId, login::ReturnPath},
    keyring::sha256,
    providers::bankid::{AuthorizationRequest, authorization_url, code_challenge},
    storage::logins::{self, LIFE_MINUTES, NewLogin},
};
use poem::{
    Request,
    web::cookie::{Cookie, CookieJar, SameSite},
};
use secrecy::ExposeSecret;

use super::{STATE_COOKIE, wire::ToBankId};
use crate::{
    client_address,
    error::{ApiError, Code, FieldError},
    rate_limit::BANKID_INITIATE,
    state::State,
};

pub(super) async fn start(
    state: &State,
    request: &Request,
    cookies: &CookieJar,
    return_to: Option<&str>,
) -> Result<ToBankId, ApiError> {
    let caller = state.proxies.client_of(request).ok_or(ApiError::of(Code::Internal))?;
    BANKID_INITIATE
        .take(&state.db, &state.metrics, &client_address::bucket(caller))
        .await
        .inspect_err(|refused| state.count_limited_login(refused))?;
    let return_to = return_to
        .map(ReturnPath::parse)
        .transpose()
        .map_err(|_| ApiError::validation(vec![FieldError::new("return_to", "is not a path of this site")]))?;

    let (state_value, nonce, verifier) = (
        state.keys.random_token(),
        state.keys.random_token(),
        state.keys.random_token(),
    );
    let mut tx = state.db.begin().await?;
    let login = NewLogin {
        id: LoginId::new(),
        state_hash: &sha256(state_value.expose_secret().as_bytes()),
        nonce: &nonce,
        verifier: &verifier,
        return_to: return_to.as_ref().map(ReturnPath::as_str),
    };
    logins::start(&mut tx, &state.keys, login).await?;
    tx.commit().await?;

    cookies.add(state_cookie(
        state,
        state_value.expose_secret(),
        i64::from(LIFE_MINUTES) * 60,
    ));
    let request = AuthorizationRequest {
        state: &state_value,
        nonce: &nonce,
        code_challenge: &code_challenge(&verifier),
        ui_locales: None,
    };
    authorization_url(&state.settings.bankid, &request)
        .map(ToBankId::SeeOther)
        .ok_or(ApiError::of(Code::Internal))
}

/// The contract's cookie; an age of zero takes it away.
pub(super) fn state_cookie(state: &State, value: &str, seconds: i64) -> Cookie {
    let mut cookie = Cookie::new_with_str(STATE_COOKIE, value);
    cookie.set_http_only(true);
    cookie.set_secure(state.settings.api.public_url.starts_with("https:"));
    cookie.set_same_site(SameSite::Lax);
    cookie.set_path("/");
    cookie.set_max_age(std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
    cookie
}
