use std::sync::Arc;

use reqwest::{
    Method,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{BankId, LoginRefused};
use crate::providers::{
    Operation, ProviderError,
    http::{Call, Reply, Trace, form},
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
    ) -> Result<UnverifiedTokens, LoginRefused> {
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let body = form(&[
            ("grant_type", "authorization_code"),
            ("code", code.expose_secret()),
            ("redirect_uri", &self.config.redirect_uri),
            ("client_id", &self.config.client_id),
            ("client_secret", self.credentials.client_secret.expose_secret()),
            ("code_verifier", code_verifier.expose_secret()),
        ]);
        let url = self.config.token_url.clone();
        let call = Call {
            operation: Operation::BankIdToken,
            method: Method::POST,
            url,
            headers,
            body,
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
        return reply.json();
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
