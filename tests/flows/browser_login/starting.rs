//! The start of a login in a browser.

use drop_tests::{app::TestApp, person::Answer};
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

#[tokio::test]
async fn a_foreign_page_that_embeds_the_start_uses_up_nobodys_limit() {
    let app = TestApp::start().await;
    let browser = app.browser();
    let starts = async |mode: &str, destination: &str| {
        let request = browser.request(Method::GET, START, None);
        let request = request
            .header("Sec-Fetch-Mode", mode)
            .header("Sec-Fetch-Dest", destination);
        Answer::of(request.send().await.unwrap()).await
    };
    for _ in 0..5 {
        for (mode, destination) in [("no-cors", "image"), ("navigate", "iframe"), ("cors", "empty")] {
            assert_eq!(
                starts(mode, destination).await.problem(),
                (403, "forbidden"),
                "{destination}"
            );
        }
    }
    for _ in 0..10 {
        assert_eq!(starts("navigate", "document").await.status, 303);
    }
    assert_eq!(starts("navigate", "document").await.problem(), (429, "rate_limited"));
    app.finish().await;
}
