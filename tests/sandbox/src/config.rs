//! What the sandbox is told when it starts.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
};

/// Settings of one sandbox. The default suits local use: a free loopback port and made-up credentials.
#[derive(Clone)]
pub struct SandboxConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The address clients use, without a trailing slash, when it differs from the listener (behind a container's name).
    pub public_url: Option<String>,
    /// The OIDC client that BankID knows.
    pub client_id: String,
    /// Its secret, sent in the body of the token request.
    pub client_secret: String,
    /// Redirect addresses registered for that client; compared byte by byte.
    pub redirect_uris: Vec<String>,
    /// Refuse a login without PKCE, as BankID does since API version 4. Off, because the contract does not mention it;
    /// a challenge that was sent is enforced either way.
    pub require_pkce: bool,
    /// The client that Neonomics knows.
    pub neonomics_client_id: String,
    /// Its secret.
    pub neonomics_client_secret: String,
    /// The app token Sumsub expects in `Authorization: Bearer` or `X-App-Token`.
    pub sumsub_app_token: String,
    /// The secret that signs requests in Sumsub's signed mode; not the webhook's secret.
    pub sumsub_app_secret: String,
    /// The secret that signs webhooks.
    pub sumsub_secret_key: String,
    /// The KYC level applicants are created for; case matters.
    pub sumsub_level: String,
    /// Where webhooks are sent. Can be set later.
    pub sumsub_webhook_url: Option<String>,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            public_url: None,
            client_id: "drop-local".to_owned(),
            client_secret: "bankid-secret-for-local-use".to_owned(),
            redirect_uris: vec!["http://127.0.0.1:8080/api/auth/bankid/callback".to_owned()],
            require_pkce: false,
            neonomics_client_id: "drop-local".to_owned(),
            neonomics_client_secret: "neonomics-secret-for-local-use".to_owned(),
            sumsub_app_token: "sbx:app-token-for-local-use".to_owned(),
            sumsub_app_secret: "app-secret-for-local-use".to_owned(),
            sumsub_secret_key: "webhook-secret-for-local-use".to_owned(),
            sumsub_level: "basic-kyc-level".to_owned(),
            sumsub_webhook_url: None,
        }
    }
}

// By hand: a derived one would print the secrets.
impl fmt::Debug for SandboxConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxConfig")
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}
