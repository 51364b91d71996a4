//! The start of a login in a browser.

use drop_tests::{app::TestApp, person::Answer, web::Browser};
use reqwest::Method;

use super::START;

#[tokio::test]
async fn a_browser_chooses_the_language_of_bankid() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    for (query, sent) in [
        ("", None),
        ("?ui_locales=no", Some("no")),
        ("?ui_locales=en", Some("en")),
    ] {
        let started = browser.get(&format!("{START}{query}")).await;
        let page = reqwest::Url::parse(&started.location.unwrap()).unwrap();
        let language = page.query_pairs().find(|(name, _)| name == "ui_locales");
        assert_eq!(language.map(|(_, value)| value.into_owned()).as_deref(), sent);
    }
    let other = browser.get(&format!("{START}?ui_locales=de")).await;
    assert_eq!(other.problem(), (422, "validation_failed"));
    app.finish().await;
}

#[tokio::test]
async fn bankid_sends_people_back_to_the_configured_address_whatever_host_a_request_names() {
    let app = TestApp::start().await;
    let browser = app.browser();
    for named in ["Host", "X-Forwarded-Host", "X-Original-Host"] {
        let request = browser.request(Method::GET, START, None).header(named, "evil.example");
        let started = Answer::of(request.send().await.unwrap()).await;
        let page = reqwest::Url::parse(&started.location.expect(named)).unwrap();
        let (_, back) = page.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap();
        assert_eq!(back, format!("{}/api/auth/bankid/callback", app.url), "{named}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_login_returns_only_to_the_pages_that_are_configured() {
    let app = TestApp::start_with(&[("DROP_RETURN_PAGES", "/pay, /home")]).await;
    let mut browser = app.browser();
    for (page, status) in [
        ("/pay", 303),
        ("/home/friends", 303),
        ("/payments", 422),
        ("/", 422),
        ("/pay/..//evil.example", 422),
    ] {
        let started = browser.get(&format!("{START}?return_to={page}")).await;
        assert_eq!(started.status, status, "{page}");
    }
    // Without one, the login ends on the front page.
    assert_eq!(browser.get(START).await.status, 303);
    app.finish().await;
}

/// A start by which a browser says what it is for.
async fn starts(browser: &Browser, mode: &str, destination: &str) -> Answer {
    let request = browser.request(Method::GET, START, None);
    let request = request
        .header("Sec-Fetch-Mode", mode)
        .header("Sec-Fetch-Dest", destination);
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_foreign_page_that_embeds_the_start_uses_up_nobodys_limit() {
    let app = TestApp::start().await;
    let browser = app.browser();
    for _ in 0..5 {
        for (mode, destination) in [("no-cors", "image"), ("navigate", "iframe"), ("cors", "empty")] {
            assert_eq!(
                starts(&browser, mode, destination).await.problem(),
                (403, "forbidden"),
                "{destination}"
            );
        }
    }
    for _ in 0..10 {
        assert_eq!(starts(&browser, "navigate", "document").await.status, 303);
    }
    let refused = starts(&browser, "navigate", "document").await;
    assert_eq!(refused.problem(), (429, "rate_limited"));
    app.finish().await;
}

#[tokio::test]
async fn a_login_starts_behind_a_web_backend_that_forwards_with_fetch() {
    let app = TestApp::start().await;
    // What the browser said of the mode, Node's `fetch` has written over.
    assert_eq!(starts(&app.browser(), "cors", "document").await.status, 303);
    app.finish().await;
}
