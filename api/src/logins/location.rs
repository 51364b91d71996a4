//! Where a login goes on.

use drop_common::domain::{ids::LoginId, login::LoginFailure};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    error::{ApiError, Code},
    state::State,
};

/// Where a browser asks for the outcome. Beside the other addresses of its login: the web backend forwards these and no more.
pub(super) fn of_outcome(id: LoginId) -> String {
    format!("/api/auth/bankid/logins/{id}")
}

/// Where the app redeems its code. The start of an app's login names it too: the app can do nothing else with its login.
pub(super) fn of_redemption(id: LoginId) -> String {
    format!("/v1/auth/bankid/logins/{id}/redeem")
}

/// Into the app, with what it redeems. That may stand in an address: without the app's verifier it opens nothing.
pub(super) fn in_app(state: &State, id: LoginId, code: &SecretString) -> Result<String, ApiError> {
    app(state, id, "login_code", code.expose_secret())
}

/// Into the app, with the reason why there is nothing to redeem.
pub(super) fn in_app_refused(state: &State, id: LoginId, failure: LoginFailure) -> Result<String, ApiError> {
    app(state, id, "error", failure.code())
}

/// Ids, codes and random tokens are of characters that an address takes as they are.
fn app(state: &State, id: LoginId, name: &str, value: &str) -> Result<String, ApiError> {
    // A login that was started before apps were turned off.
    let link = state.settings.api.app_link.as_deref();
    let link = link.ok_or(ApiError::of(Code::InvalidState))?;
    Ok(format!("{link}?login={id}&{name}={value}"))
}
