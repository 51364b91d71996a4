use chrono::{DateTime, TimeDelta, Utc};
use ring::rand::SystemRandom;
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use crate::{config::BankIdClientKey, keyring::base64url};

/// What `client_assertion_type` must say (RFC 7523 section 2.2).
pub(super) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The call it goes with is over by then.
const LIFE: TimeDelta = TimeDelta::seconds(60);

/// A token that proves to the token endpoint, once and for a minute, that we hold the key (`private_key_jwt`, OIDC Core
/// section 9).
pub(super) fn client_assertion(
    key: &BankIdClientKey,
    client_id: &str,
    token_url: &str,
    now: DateTime<Utc>,
) -> SecretString {
    let header = json!({ "alg": "ES256", "typ": "JWT", "kid": key.id });
    let claims = json!({
        "iss": client_id,
        "sub": client_id,
        // OIDC Core asks for the token endpoint. Any provider accepts it, and one that was led to another's endpoint
        // gets a token that is worth nothing at the right one.
        "aud": token_url,
        "jti": Uuid::new_v4(),
        "iat": now.timestamp(),
        "exp": (now + LIFE).timestamp(),
    });
    let part = |value: serde_json::Value| base64url(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = key
        .pair
        .sign(&SystemRandom::new(), signed.as_bytes())
        .expect("the operating system gives random bytes");
    SecretString::from(format!("{signed}.{}", base64url(signature.as_ref())))
}
