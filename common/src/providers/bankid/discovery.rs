//! The issuer's document about itself (`OpenID` Connect Discovery), read once, before a process starts. It says where the
//! endpoints are; which algorithms are accepted and what a token must hold it does not decide.

use std::time::{Duration, Instant};

use reqwest::{
    Method, Url,
    header::{ACCEPT, HeaderMap, HeaderValue},
};
use serde::Deserialize;
use uuid::Uuid;

use super::{BODY_CAP, json};
use crate::{
    alerts,
    config::{BankIdConfig, BankIdDiscovery, BankIdEndpoint, ConfigError, Problem, authority, is_loopback_http},
    providers::{
        Operation, ProviderError, SharedObserver,
        http::{Call, GuardedClient, Limits, Trace},
    },
    resilience::backoff::half_jitter,
};

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// What is there is not what the configuration says, or not to be trusted.
    #[error(transparent)]
    Refused(#[from] ConfigError),
    /// The issuer did not answer for as long as it was asked.
    #[error("BankID's own document could not be had (BANKID_DISCOVERY)")]
    Unreachable(#[source] ProviderError),
}

/// For how long an issuer that does not answer is asked again.
pub(super) struct Patience {
    /// The first pause; each is twice the one before.
    pub(super) first: Duration,
    /// All of it.
    pub(super) whole: Duration,
}

/// Half of what a starting process is given by its manifest.
const PATIENCE: Patience = Patience {
    first: Duration::from_millis(500),
    whole: Duration::from_secs(30),
};

/// The configuration with what the issuer's document adds to it, where it is to be asked.
pub async fn discovered(config: BankIdConfig, observer: SharedObserver) -> Result<BankIdConfig, DiscoveryError> {
    discover(config, observer, &PATIENCE).await
}

pub(super) async fn discover(
    mut config: BankIdConfig,
    observer: SharedObserver,
    patience: &Patience,
) -> Result<BankIdConfig, DiscoveryError> {
    let Some(discovery) = config.discovery.take() else {
        return Ok(config);
    };
    let document = read_patiently(&config.issuer, observer, patience).await?;
    document.apply(&discovery, &mut config)?;
    config.discovery = Some(discovery);
    Ok(config)
}

async fn read_patiently(
    issuer: &str,
    observer: SharedObserver,
    patience: &Patience,
) -> Result<Document, DiscoveryError> {
    let limits = Limits {
        total: Duration::from_secs(5),
        body: BODY_CAP,
        ..Limits::default()
    };
    let http = GuardedClient::new([issuer], &limits, observer).map_err(DiscoveryError::Unreachable)?;
    let (end, mut failures) = (Instant::now() + patience.whole, 0);
    loop {
        let error = match read(&http, issuer).await {
            Ok(document) => return Ok(document),
            Err(error) if may_pass(&error) => error,
            Err(_) => return Err(refused("BANKID_ISSUER", "has no discovery document that can be read")),
        };
        let pause = half_jitter(patience.first, failures, patience.whole);
        if Instant::now() + pause >= end {
            alerts::raise_for(
                &alerts::BANKID_UNREACHABLE,
                "discovery",
                format_args!("its own document, {}", error.class().as_str()),
            );
            return Err(DiscoveryError::Unreachable(error));
        }
        tracing::warn!(
            provider = "bankid",
            "BankID's own document could not be had yet: {error}"
        );
        failures += 1;
        #[expect(
            clippy::disallowed_methods,
            reason = "nothing has started that could wait in its place"
        )]
        tokio::time::sleep(pause).await;
    }
}

async fn read(http: &GuardedClient, issuer: &str) -> Result<Document, ProviderError> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let call = Call {
        operation: Operation::BankIdDiscovery,
        method: Method::GET,
        // OpenID Connect Discovery 4: a slash at the issuer's end is dropped.
        url: format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')),
        headers,
        body: Vec::new(),
        trace: Trace {
            request_id: Uuid::now_v7(),
            correlation_id: None,
            not_after: None,
        },
    };
    http.call(call, |reply| match reply.status {
        200 => json(&reply),
        status => Err(ProviderError::from_status(status, None, reply.retry_after())),
    })
    .await
}

/// Whether asking again may help. An answer that says something else than it should will say it again.
fn may_pass(error: &ProviderError) -> bool {
    match error {
        ProviderError::Connect(_)
        | ProviderError::Timeout
        | ProviderError::Broken(_)
        | ProviderError::Status { .. }
        | ProviderError::TooMany { .. } => true,
        ProviderError::Blocked
        | ProviderError::TooLate
        | ProviderError::Refused { .. }
        | ProviderError::Clock { .. }
        | ProviderError::ConsentExpired { .. }
        | ProviderError::Unreadable { .. }
        | ProviderError::TokenRefused
        | ProviderError::Token(_)
        | ProviderError::TokenAwaited
        | ProviderError::NotRepeated(_)
        | ProviderError::CircuitOpen { .. } => false,
    }
}

/// The members that are used.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    jwks_uri: Option<String>,
    response_types_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    authorization_response_iss_parameter_supported: Option<bool>,
}

impl Document {
    fn apply(self, discovery: &BankIdDiscovery, config: &mut BankIdConfig) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        let mut problem = |variable: &str, rule| {
            problems.push(Problem {
                variable: variable.to_owned(),
                rule,
            });
        };
        // Byte by byte: somebody else's document would lead people, codes and the secret to them.
        if self.issuer != config.issuer {
            problem("BANKID_ISSUER", "is not the issuer that its document names");
        }
        let lacks = |supported: &Option<Vec<String>>, word: &str| {
            let supported = supported.as_ref();
            supported.is_some_and(|supported| supported.iter().all(|found| found != word))
        };
        if lacks(&self.response_types_supported, "code") {
            problem(
                "BANKID_DISCOVERY",
                "found an issuer without the authorization code flow",
            );
        }
        if lacks(&self.code_challenge_methods_supported, "S256") {
            problem("BANKID_DISCOVERY", "found an issuer without PKCE by S256");
        }
        for endpoint in &discovery.wanted {
            let (named, place) = match endpoint {
                BankIdEndpoint::Authorization => (&self.authorization_endpoint, &mut config.authorization_url),
                BankIdEndpoint::Token => (&self.token_endpoint, &mut config.token_url),
                BankIdEndpoint::Keys => (&self.jwks_uri, &mut config.jwks_url),
            };
            match endpoint_of(named.as_deref(), discovery) {
                Ok(url) => url.clone_into(place),
                Err(rule) => problem(endpoint.variable(), rule),
            }
        }
        config.require_iss_param |= self.authorization_response_iss_parameter_supported == Some(true);
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError { problems })
        }
    }
}

/// An endpoint that may be called as it is named.
fn endpoint_of<'d>(named: Option<&'d str>, discovery: &BankIdDiscovery) -> Result<&'d str, &'static str> {
    let named = named.ok_or("is not set, and not in BankID's document")?;
    let url = Url::parse(named).map_err(|_| "is not set, and no absolute URL in BankID's document")?;
    let encrypted = url.scheme() == "https" || (discovery.loopback_http && is_loopback_http(&url));
    if !encrypted || !url.username().is_empty() || url.password().is_some() {
        return Err("is not set, and no plain https address in BankID's document");
    }
    let host = authority(&url);
    if host.is_none_or(|host| !discovery.allowed_hosts.contains(&host)) {
        return Err("is not set, and in BankID's document on a host that BANKID_ALLOWED_HOSTS does not name");
    }
    Ok(named)
}

fn refused(variable: &str, rule: &'static str) -> DiscoveryError {
    let problem = Problem {
        variable: variable.to_owned(),
        rule,
    };
    DiscoveryError::Refused(ConfigError {
        problems: vec![problem],
    })
}
