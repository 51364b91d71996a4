//! Login in the app: what its browser brings back is worth nothing without the verifier that never left it.

mod redeeming;
mod sessions;
mod way_back;

use reqwest::Url;

/// Well-formed, and nobody's.
const GUESS: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const INVALID_STATE: (u16, &str) = (400, "invalid_state");
const SESSIONS: &str = "SELECT count(*) FROM sessions";

fn parameter(url: &str, name: &str) -> Option<String> {
    let url = Url::parse(url).unwrap();
    let found = url.query_pairs().find(|(key, _)| key == name);
    found.map(|(_, value)| value.into_owned())
}
