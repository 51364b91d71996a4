//! What the service gave to its clients in confidence: tokens, cookies and codes that let somebody in. By the address that gave it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use reqwest::{Response, Url, header::SET_COOKIE};
use serde_json::Value;

type Given = BTreeSet<(&'static str, String)>;

static GIVEN: Mutex<BTreeMap<String, Given>> = Mutex::new(BTreeMap::new());

/// Members of answers.
const MEMBERS: [&str; 2] = ["accessToken", "refreshToken"];

/// Remembers the cookies of an answer.
pub(crate) fn note_cookies(answer: &Response) {
    let cookies = answer.headers().get_all(SET_COOKIE).into_iter();
    let values = cookies.filter_map(|cookie| {
        let (_, value) = cookie.to_str().ok()?.split(';').next()?.split_once('=')?;
        Some(("cookie", value.to_owned()))
    });
    note(answer.url(), values);
}

/// Remembers what the body of an answer holds.
pub(crate) fn note_body(from: &Url, body: &Value) {
    let values = MEMBERS
        .iter()
        .filter_map(|member| Some((*member, body[member].as_str()?.to_owned())));
    note(from, values);
}

/// What this service gave.
pub(crate) fn by(url: &str) -> Given {
    let url = Url::parse(url).expect("an address");
    given().get(&origin(&url)).cloned().unwrap_or_default()
}

fn note(from: &Url, values: impl Iterator<Item = (&'static str, String)>) {
    // One that is taken away has no value.
    let values = values.filter(|(_, value)| value.len() >= 8);
    given().entry(origin(from)).or_default().extend(values);
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn given() -> MutexGuard<'static, BTreeMap<String, Given>> {
    GIVEN.lock().unwrap_or_else(PoisonError::into_inner)
}
