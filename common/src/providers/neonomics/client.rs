use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use reqwest::{
    Method,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{
    channel::{Channel, NotSetUp},
    errors,
};
use crate::{
    config::{ConsentHeader, NeonomicsConfig},
    providers::{
        Field, Operation, ProviderError, SharedObserver,
        http::{Call, Reply, Trace, sensitive},
    },
};

/// How long getting ready may take. With a call's own 30 s it ends before the lease of a probe, so that there is never a
/// second one; what waited longer for a token is not sent, and finds the token there the next time.
const READY_WITHIN: Duration = Duration::from_secs(5);

/// The bank side, one attempt per call. Only a token that expired on the way is replaced once.
pub struct Neonomics {
    pub(super) config: NeonomicsConfig,
    pub(super) observer: SharedObserver,
    /// Whoever has taken it keeps it until their call has ended, so that a new one cuts nothing off.
    channel: RwLock<Arc<Channel>>,
    pub(super) ready_within: Duration,
}

/// What every call is told from outside.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// `X-Request-ID`. For a payment its idempotency key, the same on every attempt; else a new one.
    pub request_id: Uuid,
    /// Our own request's id, sent as `x-correlation-id`.
    pub correlation_id: Option<Uuid>,
    /// The user, only when a live request of theirs caused the call. Never invented.
    pub psu: Option<Psu>,
    /// The injected clock: decides whether the access token is still good.
    pub now: DateTime<Utc>,
    /// The end of the lease under which the call is made: past it nothing leaves.
    pub not_after: Option<Instant>,
}

/// The user whose request caused a call.
#[derive(Clone)]
pub struct Psu {
    /// The real client address, from trusted proxies only.
    pub ip: IpAddr,
    /// `User-Agent` of the request.
    pub user_agent: Option<String>,
    /// `Accept-Language` of the request.
    pub accept_language: Option<String>,
}

/// An address is personal data.
impl std::fmt::Debug for Psu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Psu(redacted)")
    }
}

/// Where the bank sends the user afterwards.
#[derive(Clone, Copy)]
pub struct Redirects<'a> {
    /// `TPP-Redirect-URI`.
    pub success: &'a str,
    /// `TPP-Nok-Redirect-URI`; banks may ignore it.
    pub failure: Option<&'a str>,
}

/// A request before its token is known, because it may be sent with two tokens.
pub(super) struct Outgoing {
    pub(super) operation: Operation,
    pub(super) method: Method,
    /// Path below the base address, segments already encoded.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    /// The consent under which the call is made.
    consent: Option<HeaderValue>,
    pub(super) body: Vec<u8>,
}

impl Neonomics {
    /// A client for the configured addresses.
    pub fn new(config: NeonomicsConfig, observer: SharedObserver) -> Result<Self, NotSetUp> {
        let channel = Channel::configured(&config, Arc::clone(&observer))?;
        Ok(Self {
            channel: RwLock::new(Arc::new(channel)),
            config,
            observer,
            ready_within: READY_WITHIN,
        })
    }

    /// Whether Neonomics answers at all: fetches an access token, which costs nobody anything.
    pub async fn answers(&self, trace: Trace, now: DateTime<Utc>) -> Result<(), ProviderError> {
        self.channel().renew_token(&self.config, trace, now).await
    }

    /// What calls go through from here on.
    pub(super) fn channel(&self) -> Arc<Channel> {
        Arc::clone(&self.channel.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn replace_channel(&self, channel: Channel) {
        *self.channel.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(channel);
    }

    pub(super) fn unknown(&self, field: Field, word: &str) {
        self.channel().http.unknown(field, word);
    }

    /// Sends `outgoing`; when the bank turns the token down, fetches one and repeats the call once
    /// with the same `X-Request-ID`.
    pub(super) async fn send_with_token<T>(
        &self,
        outgoing: Outgoing,
        context: &CallContext,
        read: impl Fn(Reply) -> Result<T, ProviderError>,
    ) -> Result<T, ProviderError> {
        let trace = Trace {
            request_id: context.request_id,
            correlation_id: context.correlation_id,
            not_after: context.not_after,
        };
        // The token call is a call of its own: a payment's key must not appear on it.
        let token_trace = Trace {
            request_id: Uuid::new_v5(&context.request_id, b"token"),
            ..trace
        };
        let channel = self.channel();
        let get = |refused| {
            channel
                .tokens
                .get(&channel.http, &self.config, token_trace, context.now, refused)
        };
        let started = Instant::now();
        let in_time = || {
            if started.elapsed() <= self.ready_within {
                Ok(())
            } else {
                Err(ProviderError::TooLate)
            }
        };
        let token = get(None).await?;
        in_time()?;
        let answered = match channel
            .http
            .call(self.build(&outgoing, &token, trace, context)?, &read)
            .await
        {
            Err(error) if errors::is_token_refused(&error) => {
                let again = async {
                    let fresh = get(Some(&token)).await?;
                    in_time()?;
                    let call = self.build(&outgoing, &fresh, trace, context)?;
                    channel.http.call(call, &read).await
                };
                match again.await {
                    Err(error) if errors::is_token_refused(&error) => Err(ProviderError::TokenRefused),
                    Err(error) if error.never_left() => Err(ProviderError::NotRepeated(Box::new(error))),
                    other => other,
                }
            }
            other => other,
        };
        if let Err(ProviderError::Refused { code: Some(code), .. }) = &answered
            && !errors::is_known(code)
        {
            self.unknown(Field::ErrorCode, code);
        }
        answered
    }

    fn build(
        &self,
        outgoing: &Outgoing,
        token: &Arc<SecretString>,
        trace: Trace,
        context: &CallContext,
    ) -> Result<Call, ProviderError> {
        let mut headers = outgoing.headers.clone();
        headers.insert(AUTHORIZATION, sensitive(&format!("Bearer {}", token.expose_secret()))?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(consent) = &outgoing.consent {
            headers.insert("consent-id", consent.clone());
            if self.config.consent_header == ConsentHeader::Both {
                headers.insert("x-consent-id", consent.clone());
            }
        }
        if let Some(psu) = &context.psu {
            self.add_user(&mut headers, psu)?;
        }
        Ok(Call {
            operation: outgoing.operation,
            method: outgoing.method.clone(),
            url: format!("{}{}", self.config.base_url, outgoing.path),
            headers,
            body: outgoing.body.clone(),
            trace,
        })
    }

    fn add_user(&self, headers: &mut HeaderMap, psu: &Psu) -> Result<(), ProviderError> {
        if psu.ip.is_ipv4() || self.config.send_ip_v6 {
            headers.insert("psu-ip-address", sensitive(&psu.ip.to_string())?);
        }
        let optional = [
            ("psu-user-agent", &psu.user_agent),
            ("psu-accept-language", &psu.accept_language),
        ];
        for (name, text) in optional {
            // Optional and the browser's own text: one that no header can hold is left out.
            if let Some(value) = text.as_deref().and_then(|text| sensitive(text).ok()) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        Ok(())
    }
}

impl Outgoing {
    pub(super) fn new(operation: Operation, method: Method, path: String) -> Self {
        Self {
            operation,
            method,
            path,
            headers: HeaderMap::new(),
            consent: None,
            body: Vec::new(),
        }
    }

    pub(super) fn with_consent(mut self, consent_id: &str) -> Result<Self, ProviderError> {
        self.consent = Some(sensitive(consent_id)?);
        Ok(self)
    }

    pub(super) fn with_redirects(mut self, redirects: Redirects<'_>) -> Result<Self, ProviderError> {
        // They carry the callback's state.
        self.headers.insert("tpp-redirect-uri", sensitive(redirects.success)?);
        if let Some(failure) = redirects.failure {
            self.headers.insert("tpp-nok-redirect-uri", sensitive(failure)?);
        }
        Ok(self)
    }
}
