//! The token endpoint: a code for tokens, once.

use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use super::{BankId, token};
use crate::{
    call::{Call, Reply, single},
    encoding::{base64url, sha256},
    journal::Effect,
    locked,
};

/// A code not redeemed by then is worthless.
const CODE_LIFE: TimeDelta = TimeDelta::seconds(60);

pub(super) fn redeem(bankid: &BankId, call: &Call) -> Reply {
    let Some(form) = call.form() else {
        return refused(400, "invalid_request", "a form body is expected");
    };
    let config = &bankid.shared.config;
    // The client is registered for client_secret_post; Basic is refused even with the right secret.
    let secret = single(&form, "client_secret");
    let is_one = |known: &String| secret == Some(known.as_str());
    let known = single(&form, "client_id") == Some(&config.client_id)
        && locked(&bankid.state).client_secrets.iter().any(is_one);
    if call.headers.contains_key("authorization") || !known {
        return refused(401, "invalid_client", "client authentication failed");
    }
    match single(&form, "grant_type") {
        Some("authorization_code") => {}
        Some(_) => return refused(400, "unsupported_grant_type", "only authorization_code is served"),
        None => return refused(400, "invalid_request", "grant_type is missing"),
    }
    let Some(code) = single(&form, "code") else {
        return refused(400, "invalid_request", "code is missing");
    };

    let now = bankid.shared.clock.now();
    let mut state = locked(&bankid.state);
    let Some(grant) = state.grants.get_mut(code) else {
        return refused(400, "invalid_grant", "unknown code");
    };
    if grant.used {
        return refused(400, "invalid_grant", "the code was used before");
    }
    // Whatever comes of it: the code has had its one try.
    grant.used = true;
    let grant = grant.clone();
    if now - grant.at > CODE_LIFE {
        return refused(400, "invalid_grant", "the code is too old");
    }
    if single(&form, "redirect_uri") != Some(&grant.redirect_uri) {
        return refused(400, "invalid_grant", "redirect_uri differs from the login's");
    }
    if !state.ignores_pkce && !verifier_fits(grant.challenge.as_deref(), single(&form, "code_verifier")) {
        return refused(400, "invalid_grant", "PKCE verification failed");
    }

    let access_token = format!("bankid-at-{}", uuid::Uuid::new_v4().simple());
    let mut mutations = state.always.clone();
    mutations.extend(state.next.pop_front().unwrap_or_default());
    let id_token = token::id_token(
        &bankid.shared,
        &state.keys,
        state.algorithm,
        &grant,
        &access_token,
        &mutations,
    );
    let mut body = Map::from_iter([
        ("id_token".to_owned(), json!(id_token)),
        ("access_token".to_owned(), json!(access_token)),
        ("token_type".to_owned(), json!("Bearer")),
        ("expires_in".to_owned(), json!(token::TOKEN_SECONDS)),
        ("scope".to_owned(), json!("openid profile")),
    ]);
    token::spoil_answer(&mut body, &mutations);
    let reply = Reply::json(200, &Value::Object(body))
        .header("cache-control", "no-store")
        .header("pragma", "no-cache");
    reply.effect(Effect::new("code_redeemed", &grant.person.key, ""))
}

/// A verifier without a challenge is refused as well: it would be a login whose challenge somebody removed (RFC 9700).
fn verifier_fits(challenge: Option<&str>, verifier: Option<&str>) -> bool {
    match (challenge, verifier) {
        (None, None) => true,
        (Some(challenge), Some(verifier)) => {
            (43..=128).contains(&verifier.len()) && base64url(&sha256(verifier.as_bytes())) == challenge
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn refused(status: u16, error: &str, description: &str) -> Reply {
    let body = json!({ "error": error, "error_description": description });
    Reply::json(status, &body).header("cache-control", "no-store")
}
