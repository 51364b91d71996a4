//! Who may ask: the contract's Bearer token, or the signed headers of the real provider.

use chrono::{DateTime, Utc};
use ring::hmac;
use serde_json::json;

use crate::{
    call::{Call, Reply},
    encoding::hmac_hex,
};

/// A signed request's time may differ from ours by this much, seconds.
const SKEW: i64 = 60;

/// What the client was given: sent as Bearer alone, or sent with a signature that its secret made.
#[derive(Clone)]
pub(super) struct AppToken {
    pub(super) token: String,
    pub(super) secret: String,
}

pub(super) fn check(
    now: DateTime<Utc>,
    call: &Call,
    bearer_accepted: bool,
    app_tokens: &[AppToken],
) -> Result<(), Reply> {
    let bearer = call
        .header("authorization")
        .and_then(|value| value.strip_prefix("Bearer "));
    let allowed = match bearer {
        Some(token) => bearer_accepted && app_tokens.iter().any(|known| known.token == token),
        None => is_signed(now, call, app_tokens),
    };
    if allowed {
        Ok(())
    } else {
        Err(refused(401, "Request signature mismatch or wrong app token"))
    }
}

fn is_signed(now: DateTime<Utc>, call: &Call, app_tokens: &[AppToken]) -> bool {
    let Some((token, ts, signature)) = call
        .header("x-app-token")
        .zip(call.header("x-app-access-ts"))
        .zip(call.header("x-app-access-sig"))
        .map(|((token, ts), signature)| (token, ts, signature))
    else {
        return false;
    };
    let Some(AppToken { secret, .. }) = app_tokens.iter().find(|known| known.token == token) else {
        return false;
    };
    let fresh = ts.parse::<i64>().is_ok_and(|at| (now.timestamp() - at).abs() <= SKEW);
    // The real provider has no path prefix; a client that signs its path before the base address is joined is as right here.
    let bare = call.path.strip_prefix("/sumsub").unwrap_or(&call.path);
    let signed = [call.path.as_str(), bare]
        .into_iter()
        .any(|path| signature == self::signature(secret, ts, &call.method, path, &call.query, &call.body));
    fresh && signed
}

fn signature(secret: &str, ts: &str, method: &str, path: &str, query: &str, body: &[u8]) -> String {
    let separator = if query.is_empty() { "" } else { "?" };
    let parts = [ts, method, path, separator, query].map(str::as_bytes);
    let [ts, method, path, separator, query] = parts;
    hmac_hex(
        hmac::HMAC_SHA256,
        secret.as_bytes(),
        &[ts, method, path, separator, query, body],
    )
}

/// Sumsub's error body.
pub(super) fn refused(status: u16, description: &str) -> Reply {
    let correlation = uuid::Uuid::new_v4().simple().to_string();
    Reply::json(
        status,
        &json!({ "description": description, "code": status, "correlationId": correlation }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_has_the_two_worked_values() {
        let get = signature(
            "example-app-secret",
            "1700000000",
            "GET",
            "/resources/applicants/-;externalUserId=usr_abc123def456gh78/one",
            "",
            b"",
        );
        assert_eq!(get, "c2753386a96f86889f2822b92eb8e7054381e1f18cd92f209be177510eb66ccf");
        let body = br#"{"externalUserId":"usr_abc123def456gh78"}"#;
        let post = signature(
            "example-app-secret",
            "1700000000",
            "POST",
            "/resources/applicants",
            "levelName=basic-kyc-level",
            body,
        );
        assert_eq!(post, "efe788d0c9a980377f154266130cae113f4c12af8b58234de9b5be7d0e113798");
    }
}
