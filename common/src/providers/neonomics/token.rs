use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::{
    config::NeonomicsConfig,
    providers::{
        Operation, ProviderError,
        http::{Call, GuardedClient, Trace, form},
    },
};

/// A token is not used in its last seconds: it would expire on the way.
const MARGIN: TimeDelta = TimeDelta::seconds(30);
/// Assumed when the answer does not say: long enough for a burst of calls, short enough to be safe.
const UNSTATED_LIFE_SECONDS: i64 = 60;
/// A longer promise is not believed, so that a wrong number cannot overflow a date.
const LONGEST_LIFE_SECONDS: i64 = 86_400;

/// Our access token, fetched by one caller at a time. Each process has its own, in memory: one token for all of them would
/// be a secret in the database and a lock that all calls wait for, to save one call an hour for each process.
#[derive(Default)]
pub(super) struct TokenCache {
    held: Mutex<Option<Held>>,
    /// How many fetches have failed.
    failures: AtomicU64,
}

struct Held {
    token: Arc<SecretString>,
    good_until: DateTime<Utc>,
}

impl Held {
    fn new(token: SecretString, ends: DateTime<Utc>) -> Self {
        Self {
            token: Arc::new(token),
            good_until: ends - MARGIN,
        }
    }
}

impl TokenCache {
    /// A token that is good at `now`. Callers that miss together wait for one fetch, and have all failed where that has:
    /// a hundred calls must not ask an unwell provider one after the other. `refused` is a token the bank just turned
    /// down: it is dropped, unless somebody has replaced it already.
    pub(super) async fn get(
        &self,
        http: &GuardedClient,
        config: &NeonomicsConfig,
        trace: Trace,
        now: DateTime<Utc>,
        refused: Option<&Arc<SecretString>>,
    ) -> Result<Arc<SecretString>, ProviderError> {
        let failures = self.failures.load(Ordering::SeqCst);
        let mut held = self.held.lock().await;
        if let Some(Held { token, good_until }) = held.as_ref()
            && *good_until > now
            && refused.is_none_or(|refused| !Arc::ptr_eq(refused, token))
        {
            return Ok(Arc::clone(token));
        }
        if failures != self.failures.load(Ordering::SeqCst) {
            return Err(ProviderError::TokenAwaited);
        }
        *held = None;
        let (token, life) = fetch(http, config, trace).await.map_err(|error| {
            self.failures.fetch_add(1, Ordering::SeqCst);
            ProviderError::Token(Box::new(error))
        })?;
        Ok(Arc::clone(&held.insert(Held::new(token, now + life)).token))
    }

    /// Fetches a token, whether or not the present one is still good. Nobody who wants one waits for this call.
    pub(super) async fn renew(
        &self,
        http: &GuardedClient,
        config: &NeonomicsConfig,
        trace: Trace,
        now: DateTime<Utc>,
    ) -> Result<(), ProviderError> {
        let (token, life) = fetch(http, config, trace).await?;
        *self.held.lock().await = Some(Held::new(token, now + life));
        Ok(())
    }
}

#[derive(Deserialize)]
struct Granted {
    access_token: SecretString,
    expires_in: Option<i64>,
}

async fn fetch(
    http: &GuardedClient,
    config: &NeonomicsConfig,
    trace: Trace,
) -> Result<(SecretString, TimeDelta), ProviderError> {
    let mut headers = HeaderMap::new();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    let body = form(&[
        ("grant_type", "client_credentials"),
        ("client_id", &config.client_id),
        ("client_secret", config.client_secret.expose_secret()),
    ]);
    let call = Call {
        operation: Operation::NeonomicsToken,
        method: Method::POST,
        url: config.token_url.clone(),
        headers,
        body,
        trace,
    };
    http.call(call, |reply| {
        let granted: Granted = super::errors::success(&reply)?.json()?;
        if granted.access_token.expose_secret().is_empty() {
            return Err(ProviderError::Unreadable {
                what: "the access token is empty",
            });
        }
        let life = granted
            .expires_in
            .unwrap_or(UNSTATED_LIFE_SECONDS)
            .clamp(0, LONGEST_LIFE_SECONDS);
        Ok((granted.access_token, TimeDelta::seconds(life)))
    })
    .await
}
