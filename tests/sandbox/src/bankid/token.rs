//! The ID token: its claims, its signature, and the ways a test can spoil it.

use chrono::{DateTime, Utc};
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    authorize::Grant,
    keys::{Algorithm, Keys},
};
use crate::{
    encoding::{base64url, sha256},
    shared::Shared,
};

/// Life of ID and access token, seconds (contract 3.1).
pub(super) const TOKEN_SECONDS: i64 = 300;

/// One way to spoil an ID token. In JSON: `{"kind":"wrongNonce"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub enum Mutation {
    /// Another nonce than the one sent.
    WrongNonce,
    /// Another issuer.
    WrongIssuer,
    /// Another audience.
    WrongAudience,
    /// Ended an hour ago.
    Expired,
    /// Issued an hour in the future.
    FromTheFuture,
    /// `alg: none` and no signature.
    AlgorithmNone,
    /// HS256 under the client secret.
    SymmetricSignature,
    /// A `kid` that is not published.
    UnknownKid,
    /// No `kid`.
    MissingKid,
    /// One bit of the signature turned.
    FlippedSignature,
    /// No `pid`.
    MissingPid,
    /// An `at_hash` of another access token.
    WrongAccessTokenHash,
    /// A claim set to a value; null removes it.
    Claim {
        /// Its name.
        name: String,
        /// Its value.
        #[serde(default)]
        value: Value,
    },
    /// A header member set to a value; null removes it.
    Header {
        /// Its name.
        name: String,
        /// Its value.
        #[serde(default)]
        value: Value,
    },
}

/// A signed ID token for this login.
pub(super) fn id_token(
    shared: &Shared,
    keys: &Keys,
    algorithm: Algorithm,
    grant: &Grant,
    access_token: &str,
    mutations: &[Mutation],
) -> String {
    let mut claims = claims(shared, grant, access_token);
    let mut header = Map::from_iter([
        ("alg".to_owned(), json!(algorithm.name())),
        ("kid".to_owned(), json!(keys.kid(algorithm))),
        ("typ".to_owned(), json!("JWT")),
    ]);
    for mutation in mutations {
        spoil(mutation, &mut header, &mut claims, shared.clock.now());
    }
    let signing_input = format!("{}.{}", encode(&header), encode(&claims));
    let message = signing_input.as_bytes();
    let mut signature = keys.sign(algorithm, message);
    for mutation in mutations {
        match mutation {
            Mutation::AlgorithmNone => signature.clear(),
            Mutation::SymmetricSignature => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, shared.config.client_secret.as_bytes());
                signature = hmac::sign(&key, message).as_ref().to_vec();
            }
            Mutation::FlippedSignature => signature[10] ^= 1,
            _ => {}
        }
    }
    format!("{signing_input}.{}", base64url(&signature))
}

fn claims(shared: &Shared, grant: &Grant, access_token: &str) -> Map<String, Value> {
    let now = shared.clock.now().timestamp();
    let person = &grant.person;
    let mut claims = Map::new();
    let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    set("iss", json!(shared.bankid_issuer()));
    set("sub", json!(person.subject()));
    set("aud", json!(shared.config.client_id));
    set("azp", json!(shared.config.client_id));
    set("exp", json!(now + TOKEN_SECONDS));
    set("iat", json!(now));
    set("auth_time", json!(grant.at.timestamp()));
    set("nonce", json!(grant.nonce));
    set("acr", json!("urn:bankid:bid"));
    set("typ", json!("ID"));
    set("name", json!(person.name()));
    set("given_name", json!(person.given_name));
    set("family_name", json!(person.family_name));
    set("at_hash", json!(access_token_hash(access_token)));
    if let Some(number) = &person.national_id {
        set("pid", json!(number));
    }
    if let Some(birthdate) = &person.birthdate {
        set("birthdate", json!(birthdate));
    }
    claims
}

/// The left half of the access token's SHA-256 (OIDC Core section 3.1.3.6).
fn access_token_hash(access_token: &str) -> String {
    base64url(&sha256(access_token.as_bytes())[..16])
}

fn spoil(mutation: &Mutation, header: &mut Map<String, Value>, claims: &mut Map<String, Value>, now: DateTime<Utc>) {
    let now = now.timestamp();
    match mutation {
        Mutation::WrongNonce => put(claims, "nonce", json!("a-nonce-of-another-login")),
        Mutation::WrongIssuer => put(claims, "iss", json!("https://auth.bankid.invalid/auth/realms/prod")),
        Mutation::WrongAudience => put(claims, "aud", json!("another-client")),
        Mutation::Expired => {
            put(claims, "iat", json!(now - 3600 - TOKEN_SECONDS));
            put(claims, "exp", json!(now - 3600));
        }
        Mutation::FromTheFuture => {
            put(claims, "iat", json!(now + 3600));
            put(claims, "exp", json!(now + 3600 + TOKEN_SECONDS));
        }
        Mutation::AlgorithmNone => put(header, "alg", json!("none")),
        Mutation::SymmetricSignature => put(header, "alg", json!("HS256")),
        Mutation::UnknownKid => put(header, "kid", json!("never-published")),
        Mutation::MissingKid => put(header, "kid", Value::Null),
        Mutation::MissingPid => put(claims, "pid", Value::Null),
        Mutation::WrongAccessTokenHash => put(claims, "at_hash", json!(access_token_hash("another-access-token"))),
        Mutation::Claim { name, value } => put(claims, name, value.clone()),
        Mutation::Header { name, value } => put(header, name, value.clone()),
        // Done to the signature, once there is one.
        Mutation::FlippedSignature => {}
    }
}

fn put(members: &mut Map<String, Value>, name: &str, value: Value) {
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
}

fn encode(members: &Map<String, Value>) -> String {
    base64url(Value::Object(members.clone()).to_string().as_bytes())
}
