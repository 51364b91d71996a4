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
        http::{GuardedClient, Limits},
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
