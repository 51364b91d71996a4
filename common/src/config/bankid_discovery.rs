use reqwest::Url;

use super::{authority, reader::Reader};

/// What the issuer's own document is asked for, and how far it is believed.
#[derive(Debug, Clone)]
pub struct BankIdDiscovery {
    /// `BANKID_ALLOWED_HOSTS`, comma-separated, each with its port if that is not 443, default the issuer's: where
    /// endpoints may lie. Held with their ports.
    pub allowed_hosts: Vec<String>,
    /// Follows `BANKID_MOCK` and `DROP_PROFILE`: endpoints may be `http` on loopback.
    pub loopback_http: bool,
    /// The endpoints without a variable of their own, which would win.
    pub wanted: Vec<BankIdEndpoint>,
}

/// An endpoint that the issuer's document can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BankIdEndpoint {
    /// Where people are sent.
    Authorization,
    /// Where codes are exchanged.
    Token,
    /// Where the signing keys are.
    Keys,
}

impl BankIdEndpoint {
    /// Every endpoint, in the order of a login.
    pub const ALL: [Self; 3] = [Self::Authorization, Self::Token, Self::Keys];

    /// The variable that sets it.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Authorization => "BANKID_AUTHORIZATION_URL",
            Self::Token => "BANKID_TOKEN_URL",
            Self::Keys => "BANKID_JWKS_URL",
        }
    }
}

impl BankIdDiscovery {
    /// `None` unless `BANKID_DISCOVERY` is true.
    pub(super) fn read(reader: &mut Reader<'_>, issuer: &str, loopback_http: bool) -> Option<Self> {
        let wanted = reader.flag("BANKID_DISCOVERY", false);
        let hosts = reader.list("BANKID_ALLOWED_HOSTS", "");
        let mut allowed_hosts: Vec<String> = hosts.iter().filter_map(|host| host_with_port(host)).collect();
        if allowed_hosts.len() < hosts.len() {
            reader.problem("BANKID_ALLOWED_HOSTS", "must be plain host names or host:port");
        }
        if hosts.is_empty() {
            allowed_hosts.extend(Url::parse(issuer).ok().and_then(|issuer| authority(&issuer)));
        }
        let endpoints = BankIdEndpoint::ALL.into_iter();
        wanted.then(|| Self {
            allowed_hosts,
            loopback_http,
            wanted: endpoints
                .filter(|endpoint| !reader.is_set(endpoint.variable()))
                .collect(),
        })
    }
}

fn host_with_port(host: &str) -> Option<String> {
    if host.contains(['*', '/', '@', '?', '#', ' ']) {
        return None;
    }
    authority(&Url::parse(&format!("https://{host}")).ok()?)
}
