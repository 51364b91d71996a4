//! The ID token: its claims, its signature, and the ways a test can spoil it.

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

/// One way to spoil an ID token, or the answer that it comes in. In JSON: `{"kind":"claim","name":"iss","value":"…"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub enum Mutation {
    /// A claim set to a value; null removes it.
    Claim {
        /// Its name.
        name: String,
        /// Its value.
        #[serde(default)]
        value: Value,
    },
    /// A claim set to a moment.
    Time {
        /// Its name.
        name: String,
        /// Seconds from now; negative ones are past.
        seconds: i64,
    },
    /// A header member set to a value; null removes it.
    Header {
        /// Its name.
        name: String,
        /// Its value.
        #[serde(default)]
        value: Value,
    },
    /// A member of the token endpoint's answer set to a value; null removes it. The ID token is one of them.
    Answer {
        /// Its name.
        name: String,
        /// Its value.
        #[serde(default)]
        value: Value,
    },
    /// Another signature than the key in use makes.
    Signature {
        /// How it is made.
        made: Forgery,
    },
    /// A claim set to a value when the token is signed already; null removes it.
    ClaimAfterSigning {
        /// Its name.
        name: String,
        /// Its value.
        #[serde(default)]
        value: Value,
    },
}

/// How a wrong signature is made. The header stays as it is: what it says about the signature is another mutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Forgery {
    /// There is none.
    Empty,
    /// One bit of the right one is turned.
    Flipped,
    /// By a key that is not published.
    ByAnotherKey,
    /// HMAC-SHA-256 under the client secret.
    WithTheClientSecret,
    /// HMAC-SHA-256 under the published key, as it is written in the key set.
    WithThePublicKey,
}

impl Mutation {
    /// A claim set to a value; null removes it.
    pub fn claim(name: &str, value: impl Into<Value>) -> Self {
        let (name, value) = (name.to_owned(), value.into());
        Self::Claim { name, value }
    }

    /// A claim set to a moment, so many seconds from now.
    pub fn time(name: &str, seconds: i64) -> Self {
        let name = name.to_owned();
        Self::Time { name, seconds }
    }

    /// A header member set to a value; null removes it.
    pub fn header(name: &str, value: impl Into<Value>) -> Self {
        let (name, value) = (name.to_owned(), value.into());
        Self::Header { name, value }
    }

    /// A member of the token endpoint's answer set to a value; null removes it.
    pub fn answer(name: &str, value: impl Into<Value>) -> Self {
        let (name, value) = (name.to_owned(), value.into());
        Self::Answer { name, value }
    }

    /// Another signature.
    pub fn signature(made: Forgery) -> Self {
        Self::Signature { made }
    }
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
    let now = shared.clock.now().timestamp();
    let mut claims = claims(shared, grant, access_token);
    let mut header = Map::from_iter([
        ("alg".to_owned(), json!(algorithm.name())),
        ("kid".to_owned(), json!(keys.kid(algorithm))),
        ("typ".to_owned(), json!("JWT")),
    ]);
    let mut swapped = Vec::new();
    let mut forgery = None;
    for mutation in mutations {
        match mutation {
            Mutation::Claim { name, value } => put(&mut claims, name, value.clone()),
            Mutation::Time { name, seconds } => put(&mut claims, name, json!(now + seconds)),
            Mutation::Header { name, value } => put(&mut header, name, value.clone()),
            Mutation::Signature { made } => forgery = Some(*made),
            Mutation::ClaimAfterSigning { name, value } => swapped.push((name, value.clone())),
            // Done to the answer that the token goes into.
            Mutation::Answer { .. } => {}
        }
    }
    let header = encode(&header);
    let message = format!("{header}.{}", encode(&claims));
    let message = message.as_bytes();
    let signature = match forgery {
        None => keys.sign(algorithm, message),
        Some(Forgery::Empty) => Vec::new(),
        Some(Forgery::Flipped) => {
            let mut signature = keys.sign(algorithm, message);
            signature[10] ^= 1;
            signature
        }
        Some(Forgery::ByAnotherKey) => keys.sign_unpublished(message),
        Some(Forgery::WithTheClientSecret) => mac(&shared.config.client_secret, message),
        Some(Forgery::WithThePublicKey) => mac(&keys.jwk(algorithm).to_string(), message),
    };
    for (name, value) in swapped {
        put(&mut claims, name, value);
    }
    format!("{header}.{}.{}", encode(&claims), base64url(&signature))
}

/// The token endpoint's answer after what the mutations do to it.
pub(super) fn spoil_answer(answer: &mut Map<String, Value>, mutations: &[Mutation]) {
    for mutation in mutations {
        if let Mutation::Answer { name, value } = mutation {
            put(answer, name, value.clone());
        }
    }
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
    // The left half of the access token's SHA-256 (OIDC Core section 3.1.3.6).
    set("at_hash", json!(base64url(&sha256(access_token.as_bytes())[..16])));
    if let Some(number) = &person.national_id {
        set("pid", json!(number));
    }
    if let Some(birthdate) = &person.birthdate {
        set("birthdate", json!(birthdate));
    }
    claims
}

fn mac(key: &str, message: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    hmac::sign(&key, message).as_ref().to_vec()
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
