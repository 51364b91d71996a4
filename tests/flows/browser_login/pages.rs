//! What a person is shown in place of problems and of empty answers.

use chrono::TimeDelta;
use drop_common::keyring::{base64url, sha256};
use drop_tests::{
    app::TestApp,
    person::{Answer, browser},
    web::Browser,
};
use reqwest::{
    Method,
    header::{ACCEPT, ACCEPT_LANGUAGE, HeaderMap},
};
use rstest::rstest;

use super::{INVALID_STATE, START, STATE, signs_in};

/// What a browser sends.
const PAGES: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";

/// A page, as a browser gets it.
struct Page {
    status: u16,
    headers: HeaderMap,
    html: String,
}

/// Opens an address as a browser that prefers these languages.
async fn opens(browser: &mut Browser, path: &str, languages: &str) -> Page {
    let request = browser.request(Method::GET, path, None);
    let request = request.header(ACCEPT, PAGES).header(ACCEPT_LANGUAGE, languages);
    let response = request.send().await.unwrap();
    Page {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        html: response.text().await.unwrap(),
    }
}

impl Page {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// Whole, in this language, and unable to load, run or tell anything.
    fn is_sealed(&self, language: &str) {
        assert_eq!(self.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(self.header("cache-control"), "no-store");
        assert_eq!(self.header("referrer-policy"), "no-referrer");
        assert_eq!(self.header("x-content-type-options"), "nosniff");
        let (_, style) = self.html.split_once("<style>").unwrap();
        let (style, _) = style.split_once("</style>").unwrap();
        let hash = base64url(&sha256(style.as_bytes())).replace('-', "+").replace('_', "/");
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{hash}='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        assert_eq!(self.header("content-security-policy"), policy);
        assert!(
            self.html
                .starts_with(&format!("<!doctype html>\n<html lang=\"{language}\">"))
        );
        for foreign in ["http:", "https:", "src=", "<link", "<script", "style=", "canary"] {
            assert!(!self.html.contains(foreign), "{foreign} in {}", self.html);
        }
        assert!(self.html.contains(self.header("x-request-id")), "{}", self.html);
    }
}

/// What goes wrong on a person's way.
#[derive(Debug, Clone, Copy)]
enum Mishap {
    Cancelled,
    Young,
    TooOld,
    Repeated,
    RefusedByBankId,
    WrongLink,
    AnotherBrowsers,
    TooMany,
}

impl Mishap {
    /// The address that the person then opens.
    async fn met(self, app: &TestApp, browser: &mut Browser) -> String {
        let callback = |query: &str| format!("/api/auth/bankid/callback?{query}");
        match self {
            Self::Cancelled => signs_in(app, browser, "cancel").await,
            Self::Young => signs_in(app, browser, "minor").await,
            Self::TooOld => {
                let back = signs_in(app, browser, "anna").await;
                app.advance(TimeDelta::minutes(16)).await;
                back
            }
            Self::Repeated => callback("code=canary&code=canary&state=canary"),
            Self::RefusedByBankId => {
                browser.get(START).await;
                let state = &browser.cookies[STATE];
                callback(&format!(
                    "state={state}&error=%3Cscript%3Ecanary&error_description=%3Cb%3Ecanary%3C%2Fb%3E"
                ))
            }
            Self::WrongLink => format!("{START}?return_to=//canary.example"),
            Self::AnotherBrowsers => "/api/auth/bankid/logins/lgn_canary".to_owned(),
            Self::TooMany => {
                for _ in 0..10 {
                    browser.get(START).await;
                }
                START.to_owned()
            }
        }
    }
}

#[rstest]
#[case(
    Mishap::Cancelled,
    400,
    "bankid_cancelled",
    "Innloggingen ble avbrutt",
    "Login cancelled",
    true
)]
#[case(
    Mishap::Young,
    403,
    "underage",
    "Du må ha fylt 18 år",
    "You must be 18 or over",
    false
)]
#[case(
    Mishap::TooOld,
    400,
    "invalid_state",
    "Innloggingen gjelder ikke lenger",
    "This login is over",
    true
)]
#[case(
    Mishap::Repeated,
    400,
    "invalid_callback",
    "Svaret fra BankID kunne ikke leses",
    "BankID's answer could not be read",
    true
)]
#[case(
    Mishap::RefusedByBankId,
    502,
    "bankid_error",
    "BankID svarte ikke som ventet",
    "BankID did not answer as expected",
    true
)]
#[case(
    Mishap::WrongLink,
    422,
    "validation_failed",
    "Lenken kan ikke brukes",
    "This link cannot be used",
    true
)]
#[case(
    Mishap::AnotherBrowsers,
    404,
    "not_found",
    "Innloggingen gjelder ikke lenger",
    "This login is over",
    true
)]
#[case(Mishap::TooMany, 429, "rate_limited", "For mange forsøk", "Too many attempts", true)]
#[tokio::test]
async fn a_person_is_told_in_their_language_what_happened_and_what_to_do(
    #[case] mishap: Mishap,
    #[case] status: u16,
    #[case] code: &str,
    #[case] norwegian: &str,
    #[case] english: &str,
    #[case] again: bool,
) {
    let app = TestApp::start().await;
    for (languages, language, heading) in [
        ("nb-NO,nb;q=0.9,en;q=0.8", "nb", norwegian),
        ("en-GB,en;q=0.9,nb;q=0.8", "en", english),
    ] {
        let mut browser = app.browser();
        let path = mishap.met(&app, &mut browser).await;
        let page = opens(&mut browser, &path, languages).await;
        assert_eq!(page.status, status, "{mishap:?}");
        page.is_sealed(language);
        assert!(page.html.contains(&format!("<h1>{heading}</h1>")), "{}", page.html);
        assert!(page.html.contains(&format!("<small>{code} · ")), "{}", page.html);
        assert_eq!(page.html.contains(&format!("href=\"{START}\"")), again, "{}", page.html);
        assert_eq!(page.headers.contains_key("retry-after"), status == 429);
    }
    app.finish().await;
}

#[tokio::test]
async fn a_program_gets_problems_on_the_same_addresses() {
    let app = TestApp::start().await;
    for accept in [
        None,
        Some("*/*"),
        Some("application/json"),
        Some("application/problem+json, text/html"),
    ] {
        for (path, code) in [
            ("/api/auth/bankid/callback?state=x", INVALID_STATE),
            ("/api/auth/bankid/logins/lgn_1", (404, "not_found")),
        ] {
            let request = browser().get(format!("{}{path}", app.url));
            let request = accept
                .iter()
                .fold(request, |request, accept| request.header(ACCEPT, *accept));
            let response = request.send().await.unwrap();
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            assert_eq!(Answer::of(response).await.problem(), code, "{accept:?}");
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn a_browser_whose_login_is_still_being_checked_is_shown_a_page_that_asks_until_it_can_go_on() {
    let app = TestApp::start_with(&[("DROP_WAIT_MS", "50")]).await;
    app.stop_worker().await;
    let mut browser = app.browser();
    let started = browser.get(&format!("{START}?return_to=/pay")).await;
    let back = app
        .sandbox
        .bankid()
        .sign_in(&started.location.unwrap(), "anna")
        .unwrap();
    let back = back.strip_prefix(&app.url).unwrap();
    let waiting = opens(&mut browser, back, "en").await;
    assert_eq!(waiting.status, 202);
    waiting.is_sealed("en");
    let place = waiting.header("location").to_owned();
    assert!(place.starts_with("/api/auth/bankid/logins/lgn_"), "{place}");
    for (page, heading) in [
        (waiting, "Signing you in"),
        (opens(&mut browser, &place, "nb").await, "Vi logger deg inn"),
    ] {
        assert_eq!(page.status, 202);
        for part in [
            format!("<h1>{heading}</h1>"),
            format!("<meta http-equiv=\"refresh\" content=\"1; url={place}\">"),
            format!("<a href=\"{place}\">"),
        ] {
            assert!(page.html.contains(&part), "{part} in {}", page.html);
        }
    }
    let program = browser.get(&place).await;
    assert_eq!(
        (program.status.as_u16(), program.location.as_ref()),
        (202, Some(&place))
    );
    assert!(program.body.is_null());

    app.run_jobs().await;
    let gone_on = opens(&mut browser, &place, "nb").await;
    assert_eq!((gone_on.status, gone_on.header("location")), (303, "/pay"));
    let cookies = gone_on.headers.get_all("set-cookie").iter();
    let session = cookies.filter(|cookie| cookie.to_str().unwrap().starts_with("drop_session=ey"));
    assert_eq!(session.count(), 1);
    // It was handed out: nobody gets it a second time.
    assert_eq!(opens(&mut browser, &place, "nb").await.status, 400);
    app.finish().await;
}
