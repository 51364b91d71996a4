//! What ties a login to the browser that started it.

use drop_common::{
    keyring::sha256,
    storage::logins::{Binding, LIFE_MINUTES},
};
use poem::{
    Request,
    web::cookie::{Cookie, CookieJar, SameSite},
};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    cookies::{held, held_all},
    state::State,
};

/// The contract's cookie (3.1): it holds the state.
const STATE: &str = "bankid_state";
/// Holds a value of its own. A neighbouring domain can plant `bankid_state`, with the state of a login of its own, and
/// have the browser signed in as somebody else; a cookie with this prefix it cannot.
const BINDING: &str = "__Host-drop_bind";

/// The states that the browser holds: any may be ours, for one that a neighbouring domain planted can stand before it. That
/// the planted one counts too gives nobody anything: the binding is what it lacks.
pub(super) fn held_states(request: &Request) -> impl Iterator<Item = &str> {
    held_all(request, STATE)
}

/// The same as the rows have them.
pub(super) fn held_state_hashes(request: &Request) -> Vec<Vec<u8>> {
    held_states(request)
        .map(|held| sha256(held.as_bytes()).to_vec())
        .collect()
}

/// The binding that the browser shows.
pub(super) fn binding(state: &State, request: &Request) -> Binding {
    Binding {
        shown: held(request, BINDING).map(|value| sha256(value.as_bytes())),
        required: state.settings.api.require_login_binding,
    }
}

/// Gives the browser both. Those of a login that was started before, in another tab, are replaced.
pub(super) fn give(state: &State, cookies: &CookieJar, login_state: &SecretString, binding: &SecretString) {
    set(
        state,
        cookies,
        login_state.expose_secret(),
        binding.expose_secret(),
        LIFE_MINUTES,
    );
}

/// Takes both away: the login is over. Only while they are this login's: the answer may arrive after another tab's start.
pub(super) fn take_away(state: &State, cookies: &CookieJar) {
    set(state, cookies, "", "", 0);
}

fn set(state: &State, cookies: &CookieJar, login_state: &str, binding: &str, minutes: i32) {
    let age = std::time::Duration::from_mins(u64::try_from(minutes).unwrap_or_default());
    let https = state.is_https();
    let cookie = |name, value| {
        let mut cookie = Cookie::new_with_str(name, value);
        cookie.set_http_only(true);
        cookie.set_secure(https);
        cookie.set_same_site(SameSite::Lax);
        cookie.set_path("/");
        cookie.set_max_age(age);
        cookie
    };
    cookies.add(cookie(STATE, login_state));
    // Over plain HTTP browsers refuse it for its prefix.
    if https {
        cookies.add(cookie(BINDING, binding));
    }
}
