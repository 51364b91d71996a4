//! Login in a browser: its two cookies, and what a person is shown on the way.

mod cookies;
mod pages;
mod starting;

use drop_tests::{app::TestApp, web::Browser};

const HTTPS: &str = "https://drop.example";
const STATE: &str = "bankid_state";
const START: &str = "/api/auth/bankid/login";
const INVALID_STATE: (u16, &str) = (400, "invalid_state");

/// Starts a login there; the path on which `BankID` sends the browser back once that person has signed in.
async fn signs_in(app: &TestApp, browser: &mut Browser, person: &str) -> String {
    let started = browser.get(START).await;
    assert_eq!(started.status, 303);
    let page = started.location.expect("a way to BankID");
    let back = app.sandbox.bankid().sign_in(&page, person).expect("BankID's redirect");
    let path = back.strip_prefix(HTTPS).or(back.strip_prefix(&app.url));
    path.expect("back to the service").to_owned()
}
