use openidconnect::{PkceCodeChallenge, PkceCodeVerifier};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use crate::config::BankIdConfig;

/// What is fresh for every login. State and nonce hold 256 random bits each, base64url.
pub struct AuthorizationRequest<'a> {
    /// Comes back on the callback; ties it to this browser.
    pub state: &'a SecretString,
    /// Comes back in the ID token; ties it to this login.
    pub nonce: &'a SecretString,
    /// [`code_challenge`] of the verifier that stays on the server.
    pub code_challenge: &'a str,
    /// `no` or `en`, optional.
    pub ui_locales: Option<&'a str>,
}

/// Where the person is sent to log in. Holds state and nonce: a redirect target, never a log line.
/// The configured address was checked at start; `None` only if it is no URL after all.
pub fn authorization_url(config: &BankIdConfig, request: &AuthorizationRequest<'_>) -> Option<String> {
    let mut url = Url::parse(&config.authorization_url).ok()?;
    {
        let mut query = url.query_pairs_mut();
        query
            .append_pair("client_id", &config.client_id)
            .append_pair("redirect_uri", &config.redirect_uri)
            .append_pair("response_type", "code")
            .append_pair("scope", &config.scope)
            .append_pair("state", request.state.expose_secret())
            .append_pair("nonce", request.nonce.expose_secret())
            .append_pair("code_challenge", request.code_challenge)
            .append_pair("code_challenge_method", "S256");
        if !config.acr_values.is_empty() {
            query.append_pair("acr_values", &config.acr_values);
        }
        if let Some(locale) = request.ui_locales {
            query.append_pair("ui_locales", locale);
        }
    }
    Some(url.into())
}

/// The S256 challenge of a PKCE verifier (RFC 7636), which must have 43 to 128 characters.
pub fn code_challenge(verifier: &SecretString) -> String {
    let verifier = PkceCodeVerifier::new(verifier.expose_secret().to_owned());
    PkceCodeChallenge::from_code_verifier_sha256(&verifier)
        .as_str()
        .to_owned()
}
