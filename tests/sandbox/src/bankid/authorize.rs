//! The authorization endpoint: the page on which a test person signs in.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{BankId, people::Person};
use crate::{
    call::{Reply, single},
    encoding::{html_escape, with_query},
    journal::Effect,
    locked,
    page::page,
};

/// A login the person has finished, waiting for its code to be redeemed.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub(super) redirect_uri: String,
    pub(super) nonce: String,
    pub(super) challenge: Option<String>,
    pub(super) person: Person,
    pub(super) at: DateTime<Utc>,
    pub(super) used: bool,
}

/// A parameter of the way back to the client that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Parameter {
    /// Its name. Listed twice, it is sent twice.
    pub name: String,
    /// Its value; absent, it is left out.
    pub value: Option<String>,
}

impl Parameter {
    /// The parameter with this value.
    pub fn set(name: &str, value: &str) -> Self {
        let (name, value) = (name.to_owned(), Some(value.to_owned()));
        Self { name, value }
    }

    /// Not there.
    pub fn absent(name: &str) -> Self {
        let name = name.to_owned();
        Self { name, value: None }
    }
}

/// What is wrong with the request, in the words of RFC 6749 section 4.1.2.1.
type Wrong = (&'static str, &'static str);

pub(super) fn authorize(bankid: &BankId, query: &[(String, String)]) -> Reply {
    // Until both are known to be right nothing is sent anywhere: an open redirector would hand out codes.
    let client = single(query, "client_id").filter(|id| *id == bankid.shared.config.client_id);
    let registered = |uri: &&str| bankid.is_registered(uri);
    let (Some(_), Some(redirect_uri)) = (client, single(query, "redirect_uri").filter(registered)) else {
        let explanation = "<p>The client id or the redirect address is not registered. Nothing was sent back.</p>";
        return Reply::html(400, page("This login cannot start", explanation));
    };
    let state = single(query, "state").unwrap_or_default();
    if let Err((error, description)) = check(bankid, query) {
        return failed(bankid, redirect_uri, state, error, description);
    }
    match single(query, "person") {
        None => Reply::html(200, choice(bankid, query)),
        Some("cancel") => failed(bankid, redirect_uri, state, "access_denied", "the person cancelled"),
        Some(key) => match bankid.person(key) {
            Some(person) => granted(bankid, query, redirect_uri, state, person),
            None => Reply::html(400, page("Nobody of that name", "<p>No test person has this key.</p>")),
        },
    }
}

fn check(bankid: &BankId, query: &[(String, String)]) -> Result<(), Wrong> {
    let invalid = |what| Err(("invalid_request", what));
    match single(query, "response_type") {
        Some("code") => {}
        Some(_) => return Err(("unsupported_response_type", "only the code flow is served")),
        None => return invalid("response_type is missing"),
    }
    let mut scopes = single(query, "scope").unwrap_or_default().split(' ');
    if !scopes.any(|scope| scope == "openid") {
        return Err(("invalid_scope", "the scope openid is missing"));
    }
    if single(query, "state").is_none_or(str::is_empty) {
        return invalid("state is missing");
    }
    if single(query, "nonce").is_none_or(str::is_empty) {
        return invalid("nonce is missing");
    }
    match (single(query, "code_challenge"), single(query, "code_challenge_method")) {
        (None, None) if bankid.shared.config.require_pkce => invalid("PKCE is required"),
        (None, None) => Ok(()),
        // SHA-256 in base64url is 43 characters.
        (Some(challenge), Some("S256")) if challenge.len() == 43 => Ok(()),
        _ => invalid("only PKCE with S256 is served"),
    }
}

fn granted(bankid: &BankId, query: &[(String, String)], redirect_uri: &str, state: &str, person: Person) -> Reply {
    let key = person.key.clone();
    let code = bankid.remember(Grant {
        redirect_uri: redirect_uri.to_owned(),
        nonce: single(query, "nonce").unwrap_or_default().to_owned(),
        challenge: single(query, "code_challenge").map(str::to_owned),
        person,
        at: bankid.shared.clock.now(),
        used: false,
    });
    back(bankid, redirect_uri, state, &[("code", &code)]).effect(Effect::new("signed_in", &key, ""))
}

fn failed(bankid: &BankId, redirect_uri: &str, state: &str, error: &str, description: &str) -> Reply {
    let answer = [("error", error), ("error_description", description)];
    back(bankid, redirect_uri, state, &answer)
}

/// The way back to the client, with what is to be wrong about it.
fn back(bankid: &BankId, redirect_uri: &str, state: &str, answer: &[(&str, &str)]) -> Reply {
    let issuer = bankid.shared.bankid_issuer();
    let spoilt = locked(&bankid.state).next_return.pop_front().unwrap_or_default();
    let right = answer.iter().copied().chain([("state", state), ("iss", &*issuer)]);
    let kept = right.filter(|(name, _)| spoilt.iter().all(|parameter| parameter.name != *name));
    let wrong = spoilt
        .iter()
        .filter_map(|Parameter { name, value }| Some((&**name, value.as_deref()?)));
    Reply::see_other(&with_query(redirect_uri, &kept.chain(wrong).collect::<Vec<_>>()))
}

fn choice(bankid: &BankId, query: &[(String, String)]) -> String {
    let pairs: Vec<_> = query
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let here = with_query(
        &format!("{}/protocol/openid-connect/auth", bankid.shared.bankid_issuer()),
        &pairs,
    );
    let link = |key: &str| html_escape(&with_query(&here, &[("person", key)]));
    let mut list = String::new();
    for person in bankid.people() {
        let (name, note) = (html_escape(&person.name()), html_escape(&person.note));
        let link = link(&person.key);
        writeln!(
            list,
            "<li><a href=\"{link}\">{name}</a> <span class=\"note\">{note}</span></li>"
        )
        .expect("writing to a String cannot fail");
    }
    let cancel = link("cancel");
    page(
        "Who is signing in?",
        &format!("<ul>\n{list}</ul>\n<p><a href=\"{cancel}\">Cancel</a></p>"),
    )
}
