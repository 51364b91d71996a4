//! Who looks: by a cookie that we signed, or by a proxy that signed them in.
//!
//! The cookie is whole by itself, but for one thing that the database knows: whether its owner signed out. Where the database
//! does not answer, a cookie is nobody's.

use std::{net::IpAddr, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use drop_common::{
    config::{OperatorRole, OperatorToken, OperatorsConfig, is_operator_name},
    keyring::{Keyring, base64url},
    storage::operators,
};
use poem::{
    FromRequest, Request, RequestBody,
    web::cookie::{Cookie, SameSite},
};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::{Page, form::Fields, sign_in, stop::Stop};

/// The cookie's name. With this prefix a browser takes it over TLS alone, or from this machine, which a forwarded port is, and from
/// no other host of the same site.
const COOKIE: &str = "__Host-drop_operator";
/// On a developer's machine, over plain HTTP, where not every browser would take the other one.
const LOCAL_COOKIE: &str = "drop_operator";
/// Marks what the script asks for by itself: that nobody is there does not keep them signed in.
const BACKGROUND: &str = "x-background";
/// How long somebody stays signed in who does nothing.
const IDLE: TimeDelta = TimeDelta::hours(1);
/// How long at most.
const LONGEST: TimeDelta = TimeDelta::hours(12);
/// A cookie is made anew once it is this old.
const RENEWED_AFTER: TimeDelta = TimeDelta::minutes(5);

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub(in crate::operator) struct Identity {
    pub(in crate::operator) name: String,
    pub(in crate::operator) role: OperatorRole,
    /// By a token of ours: the session that they can end.
    pub(super) session: Option<Uuid>,
    /// What a form is bound to, so that it is good for nobody else.
    binding: String,
}

impl Identity {
    pub(super) fn may_change(&self) -> bool {
        self.role == OperatorRole::Operator
    }

    /// What a form holds that our own page made for them.
    pub(super) fn form_token(&self, keys: &Keyring) -> String {
        base64url(&keys.blind_index("operators.form", &self.binding))
    }

    /// Whether a form holds it, made with the current key or the one before.
    pub(super) fn made(&self, token: &str, keys: &Keyring) -> bool {
        is_one_of(keys, "operators.form", &self.binding, token)
    }
}

/// A request of somebody who may look.
pub(super) struct Look {
    pub(super) page: Arc<Page>,
    pub(super) who: Identity,
    /// What follows the question mark.
    pub(super) query: Fields,
}

impl<'a> FromRequest<'a> for Look {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> poem::Result<Self> {
        let page = page(request);
        let who = identify(request, &page)
            .await?
            .ok_or_else(|| Stop::SignIn(asked_for(request)))?;
        let query = Fields::parse(request.uri().query().unwrap_or_default().as_bytes());
        Ok(Self { page, who, query })
    }
}

/// The page that somebody asks for, but for the overview: there everybody begins.
fn asked_for(request: &Request) -> Option<String> {
    let asked = request.uri().path_and_query()?.as_str();
    (asked != "/operator" && sign_in::may_be_wanted(asked)).then(|| asked.to_owned())
}

pub(super) fn page(request: &Request) -> Arc<Page> {
    Arc::clone(request.data::<Arc<Page>>().expect("the routes have their data"))
}

/// Who makes the request. A cookie that is no longer fresh is made anew.
pub(super) async fn identify(request: &Request, page: &Page) -> Result<Option<Identity>, Stop> {
    if let Some(identity) = by_proxy(request, &page.context.settings.operators) {
        return Ok(Some(identity));
    }
    let now = page.context.clock.now();
    let name = cookie_name(page.context.settings.profile.is_local());
    let Some(cookie) = request.cookie().get(name) else {
        return Ok(None);
    };
    // The list decides, not the cookie: whoever is taken from it, or has another token there, is out with the worker's next start.
    let Some((signed, token)) = Signed::read(cookie.value_str(), page, now) else {
        return Ok(None);
    };
    if operators::has_signed_out(&page.context.db, signed.id).await? {
        return Ok(None);
    }
    if now - signed.seen > RENEWED_AFTER && request.header(BACKGROUND).is_none() {
        let renewed = Signed {
            seen: now,
            ..signed.clone()
        };
        request.cookie().add(renewed.cookie(page, token));
    }
    Ok(Some(Identity {
        name: signed.name,
        role: token.role,
        session: Some(signed.id),
        binding: signed.id.to_string(),
    }))
}

/// The address that the request came from is the proxy's, or its headers are anybody's words.
pub(in crate::operator) fn by_proxy(request: &Request, operators: &OperatorsConfig) -> Option<Identity> {
    let peer: IpAddr = request.remote_addr().as_socket_addr()?.ip();
    if !operators
        .proxies
        .iter()
        .any(|network| network.contains(peer.to_canonical()))
    {
        return None;
    }
    let name = only(request, "x-forwarded-user").filter(|name| is_operator_name(name))?;
    let groups = only(request, "x-forwarded-groups").unwrap_or_default();
    let is_in = |group: &str| groups.split(',').any(|named| named.trim() == group);
    let role = if is_in(&operators.operator_group) {
        OperatorRole::Operator
    } else if is_in(&operators.viewer_group) {
        OperatorRole::Viewer
    } else {
        return None;
    };
    Some(Identity {
        name: name.to_owned(),
        role,
        session: None,
        binding: format!("proxy {name}"),
    })
}

/// A header that is there once: of two, one may be the client's own.
fn only<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let mut values = request.headers().get_all(name).iter();
    let (value, more) = (values.next()?, values.next());
    value.to_str().ok().filter(|_| more.is_none())
}

/// The cookie of whoever has this token.
pub(super) fn begin(token: &OperatorToken, page: &Page) -> Cookie {
    let now = page.context.clock.now();
    let signed = Signed {
        name: token.name.clone(),
        id: Uuid::new_v4(),
        began: now,
        seen: now,
    };
    signed.cookie(page, token)
}

/// Ends the session on every worker, and takes the cookie away.
pub(super) async fn sign_out(request: &Request, page: &Page, who: &Identity) -> Result<(), Stop> {
    if let Some(session) = who.session {
        operators::sign_out(&page.context.db, session).await?;
    }
    let mut gone = cookie(String::new(), page.context.settings.profile.is_local());
    gone.make_removal();
    request.cookie().add(gone);
    Ok(())
}

const fn cookie_name(is_local: bool) -> &'static str {
    if is_local { LOCAL_COOKIE } else { COOKIE }
}

/// The cookie with this value, or the one that takes it away: a browser ignores that, too, unless it is made like the other.
fn cookie(value: String, is_local: bool) -> Cookie {
    let mut cookie = Cookie::new_with_str(cookie_name(is_local), value);
    cookie.set_path(if is_local { "/operator" } else { "/" });
    cookie.set_http_only(true);
    cookie.set_same_site(SameSite::Strict);
    cookie.set_secure(!is_local);
    cookie
}

/// What the cookie says.
#[derive(Clone)]
struct Signed {
    name: String,
    id: Uuid,
    began: DateTime<Utc>,
    seen: DateTime<Utc>,
}

impl Signed {
    fn cookie(&self, page: &Page, token: &OperatorToken) -> Cookie {
        let text = self.text();
        let bound = bound(&text, token);
        let mac = base64url(&page.context.keys.blind_index("operators.session", &bound));
        cookie(format!("{text}~{mac}"), page.context.settings.profile.is_local())
    }

    fn text(&self) -> String {
        let Self { name, id, began, seen } = self;
        format!("{name}~{id}~{}~{}", began.timestamp(), seen.timestamp())
    }

    /// With the token that its owner signed in with.
    fn read<'a>(value: &str, page: &'a Page, now: DateTime<Utc>) -> Option<(Self, &'a OperatorToken)> {
        let (text, mac) = value.rsplit_once('~')?;
        let mut parts = text.split('~');
        let (name, id, began, seen) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let token = page
            .context
            .settings
            .operators
            .tokens
            .iter()
            .find(|token| token.name == name)?;
        if !is_one_of(&page.context.keys, "operators.session", &bound(text, token), mac) {
            return None;
        }
        let time = |text: &str| DateTime::from_timestamp(text.parse().ok()?, 0);
        let signed = Self {
            name: name.to_owned(),
            id: id.parse().ok()?,
            began: time(began)?,
            seen: time(seen)?,
        };
        (now - signed.seen < IDLE && now - signed.began < LONGEST).then_some((signed, token))
    }
}

/// What is signed: the cookie's text with the token's hash, so that a token that is replaced ends what was begun with it.
fn bound(text: &str, token: &OperatorToken) -> String {
    format!("{text}~{}", base64url(&token.hash))
}

fn is_one_of(keys: &Keyring, purpose: &str, text: &str, given: &str) -> bool {
    let made = keys.blind_indexes(purpose, text);
    made.iter()
        .any(|mac| base64url(mac).as_bytes().ct_eq(given.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_tls_no_other_host_of_the_site_can_set_the_cookie() {
        for value in ["kari~1~2~3~mac", ""] {
            let set = cookie(value.to_owned(), false).to_string();
            assert!(set.starts_with("__Host-drop_operator="), "{set}");
            for attribute in ["HttpOnly", "Secure", "SameSite=Strict"] {
                assert!(set.contains(attribute), "{set}");
            }
            // Else a browser refuses the prefix.
            assert!(set.ends_with("Path=/") || set.contains("Path=/;"), "{set}");
            assert!(!set.contains("Domain"), "{set}");
        }
        let local = cookie("value".to_owned(), true).to_string();
        assert!(
            local.starts_with("drop_operator=") && !local.contains("Secure"),
            "{local}"
        );
    }
}
