//! BankID login (contract 3.1): where to send the person, the one token request, and the checks that turn a token into
//! [`VerifiedClaims`].

mod authorize;
mod claims;
mod client_assertion;
mod discovery;
mod exchange;
mod id_token;
mod jwks;
mod refusal;
mod verify;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use reqwest::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;

pub use authorize::{AuthorizationRequest, authorization_url, code_challenge};
pub use claims::VerifiedClaims;
pub use discovery::{DiscoveryError, discovered};
pub use exchange::UnverifiedTokens;
use jwks::KeyCache;
pub use refusal::{Check, LoginRefused};

use crate::{
    config::{BankIdConfig, BankIdCredentials},
    providers::{
        ProviderError, SharedObserver,
        http::{GuardedClient, Limits, Reply},
    },
};

/// Neither tokens nor keys are ever this large.
const BODY_CAP: usize = 256 * 1024;

/// The token side of BankID, for the worker.
pub struct BankId {
    http: GuardedClient,
    config: BankIdConfig,
    credentials: BankIdCredentials,
    keys: Arc<KeyCache>,
}

impl BankId {
    /// A client for the configured addresses.
    pub fn new(
        config: BankIdConfig,
        credentials: BankIdCredentials,
        observer: SharedObserver,
    ) -> Result<Self, ProviderError> {
        let limits = |total| Limits {
            total: Duration::from_secs(total),
            body: BODY_CAP,
            ..Limits::default()
        };
        // Each client may reach its own address only: a code never goes to the key server.
        let http = GuardedClient::new([config.token_url.as_str()], &limits(10), Arc::clone(&observer))?;
        let keys = GuardedClient::new([config.jwks_url.as_str()], &limits(5), observer)?;
        let keys = KeyCache::new(keys, config.jwks_url.clone(), config.jwks_ttl);
        Ok(Self {
            http,
            config,
            credentials,
            keys: Arc::new(keys),
        })
    }
}

/// An answer as JSON. One that calls itself something else is none, whatever it looks like: the standards name the type
/// of each (RFC 6749 section 5.1, RFC 7517 section 8.5, `OpenID` Connect Discovery 4.2).
fn json<T: DeserializeOwned>(reply: &Reply) -> Result<T, ProviderError> {
    let declared = reply.header(&CONTENT_TYPE).map(str::to_ascii_lowercase);
    let is_json = |declared: String| {
        let kind = declared.split(';').next().unwrap_or_default().trim();
        kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
    };
    if declared.is_none_or(is_json) {
        reply.json()
    } else {
        Err(ProviderError::Unreadable {
            what: "the answer is of another type than JSON",
        })
    }
}
