use std::{net::SocketAddr, time::Duration};

use super::{
    network::{Network, NotANetwork},
    reader::Reader,
};
use crate::domain::return_path::is_page;

/// The HTTP side: listeners, addresses, waiting.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// `DROP_PUBLIC_URL`. Required; the address clients and providers reach us at, no trailing slash.
    pub public_url: String,
    /// `DROP_API_LISTEN`, default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// `DROP_API_INTERNAL_LISTEN`, default `127.0.0.1:9090`: metrics, probes, operators' page.
    pub internal_listen: SocketAddr,
    /// `DROP_TRUSTED_PROXIES`, comma-separated networks (`10.0.0.0/8`) and addresses, default none. Forwarded
    /// client addresses are believed from these and the edge's only. Required in production.
    pub trusted_proxies: Vec<Network>,
    /// `DROP_EDGE_PROXIES`, as above, default none: the edge (CDN), whose `CF-Connecting-IP` is believed too.
    pub edge_proxies: Vec<Network>,
    /// `DROP_PUBLIC_DOCS`, default true: serve the API's documents on the public listener.
    pub public_docs: bool,
    /// `DROP_PAYMENT_RESULT_URL`, default `<DROP_PUBLIC_URL>/payments/result`: where a browser goes that comes back from
    /// the bank; `transaction` is added.
    pub payment_result_url: String,
    /// `DROP_CONSENT_RESULT_URL`, default empty: the same after a consent; `consent` is added. Without one it is shown JSON.
    pub consent_result_url: Option<String>,
    /// `DROP_RETURN_PAGES`, comma-separated paths, default `/`: the pages, with those that lie under them, that a login may
    /// return to. `/` is every page; the API's own addresses are none.
    pub return_pages: Vec<String>,
    /// `DROP_APP_LINK`, default empty: the universal link that opens the app after BankID; `login` and `login_code`, or
    /// `error`, are added. Without one there are no logins for apps.
    pub app_link: Option<String>,
    /// `DROP_REQUIRE_LOGIN_BINDING`, default true in production, where it must be, else false: a browser that comes back
    /// from BankID must show the cookie `__Host-drop_bind`, beside the contract's `bankid_state`.
    pub require_login_binding: bool,
    /// `DROP_WAIT_MS`, milliseconds, default 15000: how long a request waits for its job's outcome.
    pub wait: Duration,
    /// `DROP_API_DRAIN_MS`, milliseconds, default 5000: how long requests are still taken after the process was told to
    /// end and `/readyz` says 503, so that no balancer sends one to a closed port. 0 where nothing balances.
    pub drain: Duration,
}

impl ApiConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let public_url = public_url(reader);
        Self {
            payment_result_url: payment_result_url(reader, &public_url),
            consent_result_url: consent_result_url(reader),
            return_pages: return_pages(reader),
            app_link: app_link(reader),
            require_login_binding: require_login_binding(reader, &public_url),
            public_url,
            listen: listen(reader, "DROP_API_LISTEN", 8080),
            internal_listen: listen(reader, "DROP_API_INTERNAL_LISTEN", 9090),
            trusted_proxies: trusted_proxies(reader),
            edge_proxies: networks(reader, "DROP_EDGE_PROXIES"),
            public_docs: reader.flag("DROP_PUBLIC_DOCS", true),
            wait: reader.millis("DROP_WAIT_MS", 15_000, 0..=60_000),
            drain: reader.millis("DROP_API_DRAIN_MS", 5_000, 0..=60_000),
        }
    }
}

pub(super) fn public_url(reader: &mut Reader<'_>) -> String {
    let local = reader.profile.is_local();
    reader
        .url("DROP_PUBLIC_URL", None, local)
        .trim_end_matches('/')
        .to_owned()
}

fn payment_result_url(reader: &mut Reader<'_>, public_url: &str) -> String {
    const NAME: &str = "DROP_PAYMENT_RESULT_URL";
    let local = reader.profile.is_local();
    let page = reader.url(NAME, Some(&format!("{public_url}/payments/result")), local);
    without_fragment(reader, NAME, &page);
    page
}

fn consent_result_url(reader: &mut Reader<'_>) -> Option<String> {
    const NAME: &str = "DROP_CONSENT_RESULT_URL";
    let page = optional_url(reader, NAME)?;
    without_fragment(reader, NAME, &page);
    Some(page)
}

/// The id that is added to a page's address would be part of the fragment, and not of the query.
fn without_fragment(reader: &mut Reader<'_>, name: &str, page: &str) {
    if page.contains('#') {
        reader.problem(name, "must have no fragment");
    }
}

fn return_pages(reader: &mut Reader<'_>) -> Vec<String> {
    const NAME: &str = "DROP_RETURN_PAGES";
    let pages = reader.list(NAME, "/");
    if !pages.iter().all(|page| is_page(page)) {
        reader.problem(NAME, "holds something that is not the path of a page");
    }
    pages
}

/// Empty is the same as none.
fn optional_url(reader: &mut Reader<'_>, name: &str) -> Option<String> {
    let local = reader.profile.is_local();
    reader.text(name).filter(|text| !text.is_empty())?;
    Some(reader.url(name, None, local))
}

/// An address that the app's platform ties to the app (https): any program may claim a scheme of its own.
fn app_link(reader: &mut Reader<'_>) -> Option<String> {
    const NAME: &str = "DROP_APP_LINK";
    let link = optional_url(reader, NAME)?;
    if link.contains(['?', '#']) {
        reader.problem(NAME, "must have neither query nor fragment");
    }
    Some(link)
}

fn require_login_binding(reader: &mut Reader<'_>, public_url: &str) -> bool {
    const NAME: &str = "DROP_REQUIRE_LOGIN_BINDING";
    let production = reader.profile.is_production();
    let required = reader.flag(NAME, production);
    if production && !required {
        reader.problem(NAME, "must be true in production");
    }
    if required && public_url.starts_with("http:") {
        reader.problem(
            NAME,
            "needs an https DROP_PUBLIC_URL: browsers take that cookie from no other",
        );
    }
    required
}

pub(super) fn listen(reader: &mut Reader<'_>, name: &str, port: u16) -> SocketAddr {
    reader.parsed(name, SocketAddr::from(([127, 0, 0, 1], port)), "is not address:port")
}

fn trusted_proxies(reader: &mut Reader<'_>) -> Vec<Network> {
    const NAME: &str = "DROP_TRUSTED_PROXIES";
    if reader.profile.is_production() && reader.list(NAME, "").is_empty() {
        reader.problem(NAME, "is required in production");
    }
    networks(reader, NAME)
}

pub(super) fn networks(reader: &mut Reader<'_>, name: &str) -> Vec<Network> {
    let listed = reader.list(name, "");
    listed
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, _>>()
        .unwrap_or_else(|NotANetwork| {
            reader.problem(name, "holds something that is not an address or network");
            Vec::new()
        })
}
