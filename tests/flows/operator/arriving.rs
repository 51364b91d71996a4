//! Signing in on the way to a page: it leads to that page, and to no other site.

use reqwest::Url;

use super::{
    forms::attribute,
    scene::{KARI, Visitor, service},
};

/// Where somebody is sent to sign in who asked for this page.
pub(super) fn sign_in_for(page: &str) -> String {
    match page {
        "/operator" => "/operator/sign-in".to_owned(),
        page => sign_in_to(page),
    }
}

fn sign_in_to(wanted: &str) -> String {
    let url = Url::parse_with_params("http://ours/operator/sign-in", [("to", wanted)]).unwrap();
    format!("{}?{}", url.path(), url.query().unwrap())
}

/// Where the form to sign in leads.
fn leads_to(page: &str) -> String {
    let (_, after) = page.split_once("name=\"to\" ").expect("the form says where it leads");
    attribute(after.split('>').next().unwrap(), "value").unwrap()
}

#[tokio::test]
async fn whoever_signs_in_comes_to_the_page_that_they_asked_for() {
    let app = service().await;
    let mut kari = Visitor::at(&app).await;
    let asked = "/operator/jobs?state=dead&lane=balance.batch&error=50%25";
    let sent = kari.get(asked).await;
    assert_eq!((sent.status, &sent.location), (303, &sign_in_for(asked)));
    let page = kari.sees(&sent.location).await;
    assert_eq!(leads_to(&page), asked);
    // A token that was mistyped does not lose it.
    let wrong = kari
        .post("/operator/sign-in", &[("token", "kari"), ("to", asked)])
        .await;
    assert_eq!((wrong.status, leads_to(&wrong.text).as_str()), (403, asked));
    let signed_in = kari.post("/operator/sign-in", &[("token", KARI), ("to", asked)]).await;
    assert_eq!((signed_in.status, signed_in.location.as_str()), (303, asked));
    kari.sees(asked).await;
    assert_eq!(
        kari.get(&sent.location).await.location,
        asked,
        "they are signed in already"
    );
    app.finish().await;
}

#[tokio::test]
async fn whoever_is_signed_in_and_follows_a_link_of_another_site_comes_to_the_page() {
    let app = service().await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    let asked = "/operator/jobs?state=dead&error=50%25";
    // The browser follows the link without the cookie, and the redirect, too.
    let mut from_a_chat = Visitor::at(&app).await;
    from_a_chat.headers.push(("sec-fetch-site", "cross-site".to_owned()));
    let sent = from_a_chat.get(asked).await;
    assert_eq!((sent.status, &sent.location), (303, &sign_in_for(asked)));
    let between = from_a_chat.sees(&sent.location).await;
    let (_, refresh) = between.split_once("http-equiv=\"refresh\" ").expect("it goes on");
    let goes_on = attribute(refresh.split('>').next().unwrap(), "content").unwrap();
    assert_eq!(goes_on, format!("0; url={asked}"));
    let link = format!("<a href=\"{}\">", asked.replace('&', "&amp;"));
    assert!(between.contains(&link) && !between.contains("token"), "{between}");
    // From there it is our own page that asks, with the cookie; without one they sign in.
    kari.headers.push(("sec-fetch-site", "same-origin".to_owned()));
    kari.sees(asked).await;
    from_a_chat.headers = kari.headers;
    let sent = from_a_chat.get(asked).await;
    assert_eq!(leads_to(&from_a_chat.sees(&sent.location).await), asked);
    // No link leads elsewhere on this way.
    from_a_chat.headers = vec![("sec-fetch-site", "cross-site".to_owned())];
    let between = from_a_chat.sees(&sign_in_to("https://evil.test/")).await;
    assert!(between.contains("content=\"0; url=/operator\""), "{between}");
    app.finish().await;
}

#[tokio::test]
async fn signing_in_leads_to_no_other_site_and_to_no_other_page_of_ours() {
    let app = service().await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    for elsewhere in [
        "//evil.test",
        "///evil.test",
        "/\\evil.test",
        "\\\\evil.test",
        "https://evil.test",
        "https://evil.test/operator/jobs",
        "https:evil.test",
        "//evil.test/operator/jobs",
        "javascript:alert(1)",
        "%2F%2Fevil.test",
        "/%2Fevil.test",
        "/%5Cevil.test",
        "/operator@evil.test",
        "/operator.evil.test",
        "/operator//evil.test",
        "/operator/\\evil.test",
        "/operator/../evil",
        "/operator/%2e%2e/evil",
        "/operator/..%2F..%2Fevil",
        "/operator/\r\nset-cookie: evil=1",
        "/operator?\r\nset-cookie: evil=1",
        "/operator/api/openapi.json",
        "/operator/sign-in",
        "/operator?a#b",
        &format!("/operator?{}", "a".repeat(1_000)),
        "/metrics",
        "operator",
        "",
    ] {
        let mut nobody = Visitor::at(&app).await;
        let page = nobody.sees(&sign_in_to(elsewhere)).await;
        assert_eq!(leads_to(&page), "/operator", "the form, of {elsewhere:?}");
        let fields = [("token", KARI), ("to", elsewhere)];
        let signed_in = nobody.post("/operator/sign-in", &fields).await;
        assert_eq!(
            (signed_in.status, signed_in.location.as_str()),
            (303, "/operator"),
            "{elsewhere:?}"
        );
        let led = kari.get(&sign_in_to(elsewhere)).await;
        assert_eq!(
            (led.status, led.location.as_str()),
            (303, "/operator"),
            "whoever is signed in, of {elsewhere:?}"
        );
    }
    app.finish().await;
}
