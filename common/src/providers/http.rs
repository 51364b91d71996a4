use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use chrono::DateTime;
use reqwest::{
    Client, Method, Request, Url,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    redirect, retry,
};
use serde::de::DeserializeOwned;
use tracing::{Instrument, info_span, warn};
use uuid::Uuid;

use super::{
    certificate::ClientCertificate,
    error::ProviderError,
    observe::{Field, Operation, SharedObserver},
    transport,
};
use crate::{config::authority, telemetry::Step};

/// Body cap of a provider's answer, bytes.
pub const BODY_CAP: usize = 1024 * 1024;

/// An HTTP client that makes one attempt, follows no redirect, uses no proxy, talks to
/// allow-listed hosts only and reads a bounded body.
#[derive(Clone)]
pub struct GuardedClient {
    http: Client,
    hosts: Vec<String>,
    cap: usize,
    observer: SharedObserver,
}

/// The limits of one provider's client.
pub struct Limits {
    /// Connecting, TLS included.
    pub connect: Duration,
    /// The whole call, body included.
    pub total: Duration,
    /// The answer's body, bytes.
    pub body: usize,
}

impl Default for Limits {
    /// 5 s, 30 s (contract), 1 MiB.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            total: Duration::from_secs(30),
            body: BODY_CAP,
        }
    }
}

/// Which of our requests a call belongs to, and until when it may start.
#[derive(Debug, Clone, Copy)]
pub struct Trace {
    /// Sent as `x-request-id`. For a payment it is the idempotency key, the same on every attempt.
    pub request_id: Uuid,
    /// Our own request's id, sent as `x-correlation-id` when `x-request-id` means something else.
    pub correlation_id: Option<Uuid>,
    /// The end of the lease under which the call is made; past it nothing leaves, because another worker may have the
    /// job. `None`: nobody else could.
    pub not_after: Option<Instant>,
}

/// One call. The body's bytes are sent exactly as they are.
pub struct Call {
    /// For metrics and traces.
    pub operation: Operation,
    /// The verb.
    pub method: Method,
    /// Absolute.
    pub url: String,
    /// Beyond the trace headers.
    pub headers: HeaderMap,
    /// Empty for none.
    pub body: Vec<u8>,
    /// Which of our requests this is.
    pub trace: Trace,
}

/// A complete answer of any status.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The answer's headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
}

impl GuardedClient {
    /// A client for one provider. `urls` are its configured addresses; their hosts and ports become the allow-list.
    pub fn new<'u>(
        urls: impl IntoIterator<Item = &'u str>,
        limits: &Limits,
        observer: SharedObserver,
    ) -> Result<Self, ProviderError> {
        Self::with_certificate(urls, limits, observer, None)
    }

    /// The same that shows a certificate to a provider that asks for one while TLS connects.
    pub(crate) fn with_certificate<'u>(
        urls: impl IntoIterator<Item = &'u str>,
        limits: &Limits,
        observer: SharedObserver,
        certificate: Option<&ClientCertificate>,
    ) -> Result<Self, ProviderError> {
        super::install_tls();
        let http = Client::builder()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .connect_timeout(limits.connect)
            .timeout(limits.total);
        let http = match certificate {
            Some(certificate) => http.identity(certificate.identity()),
            None => http,
        };
        #[cfg(test)]
        let http = http.tls_certs_merge([super::tls_testing::authority()]);
        let http = http
            .build()
            .map_err(|error| ProviderError::Connect(Box::new(error.without_url())))?;
        let hosts = urls
            .into_iter()
            .map(|url| {
                Url::parse(url)
                    .ok()
                    .and_then(|url| authority(&url))
                    .ok_or(ProviderError::Blocked)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            http,
            hosts,
            cap: limits.body,
            observer,
        })
    }

    /// Sends `call` once and lets `read` turn the answer into a value. Both ends are measured
    /// together: an answer that cannot be read is a failed call.
    pub async fn call<T>(
        &self,
        call: Call,
        read: impl FnOnce(Reply) -> Result<T, ProviderError>,
    ) -> Result<T, ProviderError> {
        let operation = call.operation;
        let span = info_span!(
            "provider call",
            provider = operation.provider(),
            operation = operation.as_str(),
            call.id = %call.trace.request_id,
            outcome = tracing::field::Empty,
        );
        let started = Instant::now();
        let step = Step::begin(
            "http.client",
            &format!("{} {}", operation.provider(), operation.as_str()),
        );
        let result = self.attempt(call).instrument(span.clone()).await.and_then(read);
        step.end(result.is_ok());
        let outcome = result.as_ref().err().map_or("ok", |error| error.class().as_str());
        span.record("outcome", outcome);
        self.observer.ended(operation, outcome, started.elapsed());
        result
    }

    /// Counts a provider's word that is in none of our lists, and keeps it in the log if it looks like one.
    pub(crate) fn unknown(&self, field: Field, word: &str) {
        warn!(
            provider = field.provider(),
            field = field.as_str(),
            word = machine_word(word),
            "a provider said something unknown"
        );
        self.observer.unknown(field);
    }

    async fn attempt(&self, call: Call) -> Result<Reply, ProviderError> {
        let not_after = call.trace.not_after;
        let request = self.build(call)?;
        // Asked here, after every wait: a process may have stood still since its job decided to call.
        if not_after.is_some_and(|end| Instant::now() >= end) {
            return Err(ProviderError::TooLate);
        }
        let mut answer = self.http.execute(request).await.map_err(transport::unanswered)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(transport::cut_off)? {
            if body.len() + chunk.len() > self.cap {
                return Err(ProviderError::Unreadable {
                    what: "the body is too large",
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body,
        })
    }

    fn build(&self, call: Call) -> Result<Request, ProviderError> {
        let url = Url::parse(&call.url).map_err(|_| ProviderError::Blocked)?;
        let allowed = authority(&url).is_some_and(|authority| self.hosts.contains(&authority));
        if !allowed || !matches!(url.scheme(), "http" | "https") {
            return Err(ProviderError::Blocked);
        }
        let mut request = Request::new(call.method, url);
        *request.headers_mut() = call.headers;
        let mut trace = |name: &'static str, id: Uuid| {
            let value = HeaderValue::from_str(&id.to_string()).expect("a UUID is ASCII");
            request.headers_mut().insert(HeaderName::from_static(name), value);
        };
        trace("x-request-id", call.trace.request_id);
        if let Some(id) = call.trace.correlation_id {
            trace("x-correlation-id", id);
        }
        if !call.body.is_empty() {
            *request.body_mut() = Some(call.body.into());
        }
        Ok(request)
    }
}

impl Reply {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON. An answer that is not is unreadable, and so ambiguous.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ProviderError> {
        // The parser's own message would quote the body.
        serde_json::from_slice(&self.body).map_err(|_| ProviderError::Unreadable {
            what: "the body is not the JSON that was promised",
        })
    }

    /// `Retry-After` in either form; a date counts from the answer's own `Date`.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.header(&header::RETRY_AFTER)?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let until = DateTime::parse_from_rfc2822(text).ok()?;
        let sent = DateTime::parse_from_rfc2822(self.header(&header::DATE)?).ok()?;
        (until - sent).to_std().ok()
    }

    /// One header as text.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A provider's word as a log may have it: whatever does not look like a machine's could be of a person.
pub fn machine_word(word: &str) -> &str {
    let machine = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let shown = (1..=64).contains(&word.len()) && word.bytes().all(machine);
    if shown { word } else { "(withheld)" }
}

/// A header that is never shown: it is marked sensitive, which HTTP/2 and Debug both honour.
pub(crate) fn sensitive(text: &str) -> Result<HeaderValue, ProviderError> {
    let mut value = value(text)?;
    value.set_sensitive(true);
    Ok(value)
}

fn value(text: &str) -> Result<HeaderValue, ProviderError> {
    HeaderValue::from_str(text).map_err(|_| ProviderError::Blocked)
}

/// One path segment: everything but the unreserved characters is percent-encoded, and what a URL
/// parser would take for "here" or "up" is refused, so that an id can never become another path.
pub(crate) fn path_segment(text: &str) -> Result<String, ProviderError> {
    if matches!(text, "" | "." | "..") {
        return Err(ProviderError::Blocked);
    }
    Ok(text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a String cannot fail");
        }
        out
    }))
}

/// An `application/x-www-form-urlencoded` body.
pub(crate) fn form(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut url = Url::parse("form:").expect("a constant URL");
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().as_bytes().to_vec()
}
