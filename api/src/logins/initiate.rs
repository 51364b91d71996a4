//! The start of a login: fresh state, nonce and PKCE verifier, kept on the server.

use drop_common::{
    domain::{ids::LoginId, return_path::ReturnPath},
    keyring::sha256,
    providers::bankid::{AuthorizationRequest, authorization_url, code_challenge},
    storage::{
        self,
        logins::{self, Holder, LIFE_MINUTES, NewLogin},
    },
};
use poem::{Request, web::cookie::CookieJar};
use poem_openapi::payload::Json;
use secrecy::{ExposeSecret, SecretString};

use super::{
    cookies, location,
    wire::{AppLogin, AppLoginStarted, NewAppLogin, ToBankId, UiLocale},
};
use crate::{
    error::{ApiError, Code},
    rate_limit::BANKID_INITIATE,
    state::State,
};

pub(super) async fn by_browser(
    state: &State,
    request: &Request,
    jar: &CookieJar,
    return_to: Option<&str>,
    locale: Option<UiLocale>,
) -> Result<ToBankId, ApiError> {
    if !is_navigation(request) {
        return Err(ApiError::of(Code::Forbidden));
    }
    take_limit(state, request).await?;
    let return_to = return_to
        .map(|path| ReturnPath::parse(path, &state.settings.api.return_pages))
        .transpose()
        .map_err(|_| ApiError::field("return_to", "is not a page of this site"))?;
    let (binding, held) = (state.keys.random_token(), cookies::held_state_hashes(request));
    let holder = Holder::Browser {
        binding_hash: &sha256(binding.expose_secret().as_bytes()),
        return_to: return_to.as_ref().map(ReturnPath::as_str),
        held_state_hashes: &held,
    };
    let started = start(state, holder, locale).await?;
    cookies::give(state, jar, &started.state, &binding);
    Ok(ToBankId::SeeOther(started.authorization_url))
}

/// Whether the browser goes here, as far as it tells. A foreign page that embeds the address, as an image or a frame, would
/// use up its visitor's limit. `Sec-Fetch-Mode` says no more of a browser, and is not the browser's where the web backend
/// forwards with `fetch`: Node writes `cors` over it.
fn is_navigation(request: &Request) -> bool {
    request
        .header("sec-fetch-dest")
        .is_none_or(|destination| destination == "document")
}

pub(super) async fn by_app(state: &State, request: &Request, body: &NewAppLogin) -> Result<AppLoginStarted, ApiError> {
    if state.settings.api.app_link.is_none() {
        // Nobody could come back from it.
        return Err(ApiError::of(Code::NotFound));
    }
    take_limit(state, request).await?;
    let holder = Holder::App {
        challenge: &body.app_challenge,
    };
    let started = start(state, holder, body.ui_locales).await?;
    let login = AppLogin {
        id: started.id.to_string(),
        authorization_url: started.authorization_url,
        expires_in: i64::from(LIFE_MINUTES) * 60,
    };
    Ok(AppLoginStarted::Started(
        Json(login),
        location::of_redemption(started.id),
    ))
}

/// Both ways to start share one limit: the contract's is about BankID, which sees no difference.
async fn take_limit(state: &State, request: &Request) -> Result<(), ApiError> {
    BANKID_INITIATE
        .take_from_address(state, request)
        .await
        .inspect_err(|refused| state.count_limited_login(refused))
}

struct Started {
    id: LoginId,
    state: SecretString,
    authorization_url: String,
}

async fn start(state: &State, holder: Holder<'_>, locale: Option<UiLocale>) -> Result<Started, ApiError> {
    let (id, login_state, nonce, verifier) = (
        LoginId::new(),
        state.keys.random_token(),
        state.keys.random_token(),
        state.keys.random_token(),
    );
    let request = AuthorizationRequest {
        state: &login_state,
        nonce: &nonce,
        code_challenge: &code_challenge(&verifier),
        ui_locales: locale.map(UiLocale::as_str),
    };
    let authorization_url = authorization_url(&state.settings.bankid, &request).ok_or(ApiError::of(Code::Internal))?;
    let mut tx = storage::begin(&state.db).await?;
    let login = NewLogin {
        id,
        state_hash: &sha256(login_state.expose_secret().as_bytes()),
        nonce: &nonce,
        verifier: &verifier,
        holder,
    };
    logins::start(&mut tx, &state.keys, login).await?;
    tx.commit().await?;
    Ok(Started {
        id,
        state: login_state,
        authorization_url,
    })
}
