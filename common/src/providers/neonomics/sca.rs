use std::fmt;

use reqwest::Url;
use serde::Deserialize;

use crate::config::{NeonomicsConfig, is_loopback_http};

/// Where the user approves, as far as it may be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScaLink {
    /// A checked address at the bank.
    Redirect(ScaUrl),
    /// The bank sent an address that is not on the allow-list: nobody is sent there, ops are told.
    Untrusted,
    /// The bank wants the approval to be started by a call of its own.
    StartAuthorisation,
    /// The bank asks for no approval.
    None,
}

/// An address at the bank: https on an allow-listed host. Anyone who holds it may reach the approval page.
#[derive(Clone, PartialEq, Eq)]
pub struct ScaUrl(String);

impl ScaUrl {
    /// The address, for the user it belongs to.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ScaUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScaUrl(redacted)")
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Links {
    sca_redirect: Option<Href>,
    start_authorisation: Option<Href>,
}

#[derive(Deserialize)]
struct Href {
    href: Option<String>,
}

impl Links {
    pub(super) fn check(self, config: &NeonomicsConfig) -> ScaLink {
        match (self.sca_redirect.and_then(|link| link.href), self.start_authorisation) {
            (Some(href), _) if is_trusted(&href, config) => ScaLink::Redirect(ScaUrl(href)),
            (Some(_), _) => ScaLink::Untrusted,
            (None, Some(_)) => ScaLink::StartAuthorisation,
            (None, None) => ScaLink::None,
        }
    }
}

fn is_trusted(href: &str, config: &NeonomicsConfig) -> bool {
    let Ok(url) = Url::parse(href) else { return false };
    // A parser that strips characters would make us check another text than the browser opens.
    let printable = href.bytes().all(|byte| byte.is_ascii_graphic());
    if !printable || !url.username().is_empty() || url.password().is_some() {
        return false;
    }
    if config.sca_loopback_http && is_loopback_http(&url) {
        return true;
    }
    let listed = |host: &str| {
        config
            .sca_hosts
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(host))
    };
    url.scheme() == "https" && url.port().is_none() && url.host_str().is_some_and(listed)
}
