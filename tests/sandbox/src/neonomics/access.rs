//! Who may ask: the access token and the headers every call needs.

use chrono::TimeDelta;
use serde_json::json;
use uuid::Uuid;

use super::{
    Neonomics, State,
    refusal::{format_error, refused},
};
use crate::{
    call::{Call, Reply, single},
    journal::Effect,
    locked,
};

/// Client credentials for a Bearer token.
pub(super) fn token(neonomics: &Neonomics, call: &Call) -> Reply {
    let oauth_error = |status, error: &str| Reply::json(status, &json!({ "error": error }));
    let Some(form) = call.form() else {
        return oauth_error(400, "invalid_request");
    };
    let mut state = locked(&neonomics.state);
    let secret = single(&form, "client_secret");
    if single(&form, "client_id") != Some(&neonomics.shared.config.neonomics_client_id)
        || !state.client_secrets.iter().any(|known| secret == Some(known))
    {
        return oauth_error(401, "invalid_client");
    }
    if single(&form, "grant_type") != Some("client_credentials") {
        return oauth_error(400, "unsupported_grant_type");
    }
    let seconds = state.settings.token_seconds;
    let token = format!("neo-{}", Uuid::new_v4().simple());
    state.tokens.insert(
        token.clone(),
        neonomics.shared.clock.now() + TimeDelta::seconds(seconds),
    );
    Reply::json(
        200,
        &json!({ "access_token": token, "token_type": "Bearer", "expires_in": seconds }),
    )
    .header("cache-control", "no-store")
    .effect(Effect::new("token_issued", "", ""))
}

/// The call's `X-Request-ID`, once token and headers are in order.
pub(super) fn request_id(neonomics: &Neonomics, state: &State, call: &Call) -> Result<String, Reply> {
    let token = call
        .header("authorization")
        .and_then(|value| value.strip_prefix("Bearer "));
    let known = token.and_then(|token| state.tokens.get(token));
    match known {
        None if token.is_none() => return Err(refused(401, "TOKEN_INVALID", "a Bearer token is required")),
        None => return Err(refused(401, "TOKEN_UNKNOWN", "the access token is unknown")),
        Some(ends) if *ends <= neonomics.shared.clock.now() => {
            return Err(refused(401, "TOKEN_EXPIRED", "the access token has expired"));
        }
        Some(_) => {}
    }
    let id = call.header("x-request-id").and_then(|text| Uuid::try_parse(text).ok());
    id.map(|id| id.to_string())
        .ok_or_else(|| format_error("X-Request-ID must be one UUID"))
}

/// The user's address; a call with it counts as made for a user who is present.
pub(super) fn psu_address(call: &Call) -> Option<&str> {
    call.header("psu-ip-address").filter(|address| !address.is_empty())
}

/// What a request that will send the user to the bank must carry besides: the addresses to come back to.
pub(super) fn redirects(state: &State, call: &Call) -> Result<(String, String), Reply> {
    let address = psu_address(call);
    if address.is_some_and(|address| address.parse::<std::net::IpAddr>().is_err()) {
        return Err(format_error("PSU-IP-Address is not an address"));
    }
    if address.is_none() && state.settings.require_psu_address {
        return Err(format_error("PSU-IP-Address is missing"));
    }
    let redirect = call
        .header("tpp-redirect-uri")
        .filter(|uri| reqwest::Url::parse(uri).is_ok());
    let redirect = redirect.ok_or_else(|| format_error("TPP-Redirect-URI is missing or not an address"))?;
    let nok = call.header("tpp-nok-redirect-uri").unwrap_or(redirect);
    Ok((redirect.to_owned(), nok.to_owned()))
}
