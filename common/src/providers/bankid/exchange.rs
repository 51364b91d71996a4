use std::sync::Arc;

use chrono::{DateTime, Utc};
use reqwest::{
    Method,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{
    BankId, LoginRefused,
    client_assertion::{ASSERTION_TYPE, client_assertion},
    json,
};
use crate::{
    config::BankIdCredentials,
    providers::{
        Operation, ProviderError,
        http::{Call, Reply, Trace, form},
    },
};

/// What the token endpoint gave. Nothing in it is to be believed before `verify`; both are dropped
/// right after it.
#[derive(Debug)]
pub struct UnverifiedTokens {
    pub(super) id_token: SecretString,
    pub(super) access_token: Option<SecretString>,
}

impl BankId {
    /// Exchanges the code, once. Whatever the answer, the code is spent: the login starts again.
    pub async fn exchange(
        &self,
        code: &SecretString,
        code_verifier: &SecretString,
        trace: Trace,
        now: DateTime<Utc>,
    ) -> Result<UnverifiedTokens, LoginRefused> {
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let call = Call {
            operation: Operation::BankIdToken,
            method: Method::POST,
            url: self.config.token_url.clone(),
            headers,
            body: self.token_request(code, code_verifier, now),
            trace,
        };
        let granted: Granted = self.http.call(call, |reply| read(&reply)).await.map_err(refusal)?;
        // Older versions wrote `bearer`.
        let bearer = granted
            .token_type
            .is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
        let id_token = granted
            .id_token
            .filter(|token| bearer && !token.expose_secret().is_empty());
        let id_token = id_token.ok_or(LoginRefused::Unusable)?;
        Ok(UnverifiedTokens {
            id_token,
            access_token: granted.access_token,
        })
    }

    fn token_request(&self, code: &SecretString, code_verifier: &SecretString, now: DateTime<Utc>) -> Vec<u8> {
        let request = [
            ("grant_type", "authorization_code"),
            ("code", code.expose_secret()),
            ("redirect_uri", &self.config.redirect_uri),
            ("client_id", &self.config.client_id),
            ("code_verifier", code_verifier.expose_secret()),
        ];
        match &self.credentials {
            BankIdCredentials::Secret(secret) => {
                form(&[&request[..], &[("client_secret", secret.expose_secret())]].concat())
            }
            BankIdCredentials::Key(key) => {
                let assertion = client_assertion(key, &self.config.client_id, &self.config.token_url, now);
                let proof = [
                    ("client_assertion_type", ASSERTION_TYPE),
                    ("client_assertion", assertion.expose_secret()),
                ];
                form(&[&request[..], &proof].concat())
            }
        }
    }
}

#[derive(Deserialize)]
struct Granted {
    id_token: Option<SecretString>,
    access_token: Option<SecretString>,
    token_type: Option<String>,
}

#[derive(Deserialize)]
struct Denied {
    error: String,
}

fn read(reply: &Reply) -> Result<Granted, ProviderError> {
    if reply.status == 200 {
        return json(reply);
    }
    // Only words we know: the rest of the answer is never kept.
    let denied = reply.json::<Denied>().ok().map(|denied| denied.error);
    let code = denied.filter(|error| {
        matches!(
            error.as_str(),
            "invalid_grant" | "invalid_client" | "unauthorized_client"
        )
    });
    Err(ProviderError::from_status(reply.status, code, reply.retry_after()))
}

fn refusal(error: ProviderError) -> LoginRefused {
    match error {
        ProviderError::Refused {
            status: 400 | 401,
            code: Some(code),
        } if code == "invalid_grant" => LoginRefused::CodeRefused,
        ProviderError::Refused {
            status: 400 | 401,
            code: Some(_),
        } => LoginRefused::ClientRefused,
        other => LoginRefused::Exchange(Arc::new(other)),
    }
}
