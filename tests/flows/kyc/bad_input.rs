//! Input of every bad kind has its answer: what was signed is kept as it came, what was not leaves nothing, and nothing is
//! a 500.

use drop_tests::{app::TestApp, person::browser, settings::SUMSUB_SECRET};
use serde_json::json;

use super::scene::{digest, people, posts, signed};

const LARGEST: usize = 256 * 1024;

/// A body of so many bytes.
fn padded(size: usize) -> String {
    let (head, tail) = ("{\"type\":\"applicantCreated\",\"padding\":\"", "\"}");
    format!("{head}{}{tail}", "x".repeat(size - head.len() - tail.len()))
}

fn nested(depth: usize, open: &str, close: &str) -> String {
    format!("{{\"a\":{}1{}}}", open.repeat(depth), close.repeat(depth))
}

/// No JSON object: 400, and a person looks at it.
fn unreadable() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("nothing", vec![]),
        ("no JSON", text("hello")),
        ("form data", text("type=applicantReviewed&applicantId=1")),
        ("cut", text("{\"type\":\"applicantReviewed\"")),
        ("two documents", text("{}{}")),
        ("an array", text("[{\"type\":\"applicantReviewed\"}]")),
        ("a text", text("\"applicantReviewed\"")),
        ("a number", text("17")),
        ("null", text("null")),
        ("no UTF-8", b"{\"type\":\"\xff\xfe\"}".to_vec()),
        ("a mark before it", text("\u{feff}{}")),
        ("half a character", text("{\"type\":\"\\ud800\"}")),
        ("a number without end", text("{\"n\":1e999}")),
        ("deep arrays", text(&nested(100_000, "[", "]"))),
        ("deep objects", text(&nested(40_000, "{\"a\":", "}"))),
    ]
}

/// An object that is about nobody: 200, and it waits for somebody it is about.
fn about_nobody() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let long = |member: &str, length: usize| json!({ member: "a".repeat(length) }).to_string().into_bytes();
    vec![
        ("as large as may be", text(&padded(LARGEST))),
        ("no member", text("{}")),
        ("spaces", text(" \n{ } \n")),
        ("a member twice", text("{\"type\":\"a\",\"type\":\"applicantPending\"}")),
        (
            "nulls",
            text("{\"type\":null,\"applicantId\":null,\"reviewResult\":null}"),
        ),
        ("an unknown event", text("{\"type\":\"applicantTurnedInsideOut\"}")),
        (
            "an unknown user",
            text("{\"type\":\"applicantReviewed\",\"externalUserId\":\"usr_unknown\"}"),
        ),
        (
            "no letters",
            text("{\"type\":\"\\u0000\\u0007\",\"applicantId\":\"\\u0000\"}"),
        ),
        ("a long type", long("type", 10_000)),
        ("a long applicant", long("applicantId", 65)),
    ]
}

/// An object with a member of a type that it cannot have: 200, and a person looks at it.
fn misshapen() -> Vec<(&'static str, Vec<u8>)> {
    let members = [
        "\"type\":[\"applicantReviewed\"]",
        "\"reviewResult\":\"GREEN\"",
        "\"reviewResult\":{\"reviewAnswer\":{}}",
        "\"reviewResult\":{\"rejectLabels\":7}",
        "\"createdAt\":{\"at\":1}",
        "\"sandboxMode\":1",
        "\"externalUserId\":[1]",
    ];
    members
        .map(|member| (member, format!("{{{member}}}").into_bytes()))
        .into()
}

/// The body, the answer, and what becomes of it.
fn signed_bodies() -> Vec<(&'static str, Vec<u8>, u16, &'static str)> {
    let of = |bodies: Vec<(&'static str, Vec<u8>)>, status, state| {
        let bodies = bodies.into_iter();
        bodies.map(move |(what, body)| (what, body, status, state))
    };
    of(unreadable(), 400, "quarantined")
        .chain(of(about_nobody(), 200, "unmatched"))
        .chain(of(misshapen(), 200, "quarantined"))
        .collect()
}

#[tokio::test]
async fn every_signed_body_has_its_answer_is_kept_as_it_came_and_ends_in_no_dead_job() {
    let app = TestApp::start().await;
    for (what, body, status, state) in signed_bodies() {
        let answer = signed(&app, &body).await;
        let code = if status == 400 { "bad_request" } else { "" };
        assert_eq!(answer, (status, code.to_owned()), "{what}");
        app.until_idle().await;
        let kept: Option<(String, String)> = sqlx::query_as(
            "SELECT state, event_key FROM webhook_events WHERE raw = $1 ORDER BY received_at DESC LIMIT 1",
        )
        .bind(&body)
        .fetch_optional(&app.db)
        .await
        .unwrap();
        let (kept, key) = kept.unwrap_or_else(|| panic!("{what} was not kept"));
        assert_eq!(kept, state, "{what}");
        assert!(key.starts_with("sha256:"), "{what}");
        // Sent again, it is the same.
        assert_eq!(signed(&app, &body).await.0, status, "{what}, again");
    }
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM webhook_events")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(usize::try_from(stored).unwrap(), signed_bodies().len(), "each once");
    app.finish().await;
}

#[tokio::test]
async fn members_that_are_missing_or_odd_change_nobody() {
    let app = TestApp::start().await;
    let person = people(&app.db, 1).await.remove(0);
    let green = json!({ "reviewStatus": "completed", "reviewResult": { "reviewAnswer": "GREEN" } });
    for (member, value, state) in [
        ("applicantId", json!(null), "recorded"),
        ("applicantId", json!("another"), "recorded"),
        (
            "externalUserId",
            json!("usr_0190a5a47c7e7d5ab8a1f2d3c4b5a697"),
            "unmatched",
        ),
        ("externalUserId", json!(17), "unmatched"),
        ("type", json!(null), "recorded"),
        ("type", json!(17), "recorded"),
        ("levelName", json!("another"), "recorded"),
        ("reviewStatus", json!("init"), "recorded"),
        ("reviewResult", json!({}), "recorded"),
        ("applicantId", json!("a\u{0}b"), "recorded"),
        (
            "reviewResult",
            json!({ "reviewAnswer": "GREEN\u{0}", "rejectLabels": ["\u{0}"] }),
            "recorded",
        ),
        ("reviewResult", json!([]), "quarantined"),
        ("sandboxMode", json!("perhaps"), "quarantined"),
    ] {
        let mut event = person.event("applicantReviewed", green.clone());
        event[member] = value;
        let body = event.to_string();
        assert_eq!(signed(&app, &body).await.0, 200, "{body}");
        app.until_idle().await;
        let became: String = sqlx::query_scalar("SELECT state FROM webhook_events WHERE raw = $1")
            .bind(body.as_bytes())
            .fetch_one(&app.db)
            .await
            .unwrap();
        assert_eq!(became, state, "{body}");
        assert_eq!(person.status(&app).await, "pending", "{body}");
    }
    app.finish().await;
}

/// Else the database would refuse the event for ever, and with it whatever comes after it about the person.
#[tokio::test]
async fn a_time_that_no_calendar_has_counts_as_the_arrival() {
    let app = TestApp::start().await;
    let times = [
        json!("-9999-01-01 00:00:00.000"),
        json!("-262142-01-01 00:00:00.000"),
        json!("+262141-01-01 00:00:00.000"),
        json!(-300_000_000_000_000_i64),
        json!(i64::MIN),
        json!(i64::MAX),
    ];
    let people = people(&app.db, i32::try_from(times.len()).unwrap()).await;
    for (person, at) in people.iter().zip(&times) {
        let green = json!({ "createdAtMs": at, "reviewResult": { "reviewAnswer": "GREEN" } });
        let body = person.event("applicantReviewed", green).to_string();
        assert_eq!(signed(&app, &body).await.0, 200, "{body}");
        app.until_idle().await;
        assert_eq!(person.status(&app).await, "approved", "{body}");
    }
    let of_arrival: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM screening_results s JOIN webhook_events e ON e.id = s.webhook_event_id WHERE provider_at = received_at",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert_eq!(usize::try_from(of_arrival).unwrap(), times.len());
    app.finish().await;
}

#[tokio::test]
async fn what_is_no_webhook_at_all_has_its_answer_and_leaves_nothing() {
    let app = TestApp::start().await;
    let body = padded(LARGEST + 1);
    let large = digest(SUMSUB_SECRET, body.as_bytes());
    let small = digest(SUMSUB_SECRET, b"{}");
    let digest = ("x-payload-digest", small.as_str());
    let too_large = posts(&app.url, body, &[("x-payload-digest", &large)]).await;
    assert_eq!(too_large, (413, "payload_too_large".to_owned()));
    for encoding in ["gzip", "br", "identity, gzip"] {
        let (status, _) = posts(&app.url, "{}", &[digest, ("content-encoding", encoding)]).await;
        assert_eq!(status, 415, "{encoding}");
    }
    for method in [reqwest::Method::GET, reqwest::Method::PUT, reqwest::Method::DELETE] {
        let url = format!("{}/v1/webhooks/sumsub", app.url);
        let answer = browser()
            .request(method.clone(), url)
            .header(digest.0, digest.1)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 405, "{method}");
    }
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM webhook_events")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(stored, 0);
    // The digest decides, not a header that it does not cover.
    for kind in ["text/plain", "application/xml", "multipart/form-data", "nonsense"] {
        let unlike = format!("{{\"as\":\"{kind}\"}}");
        let digest = super::scene::digest(SUMSUB_SECRET, unlike.as_bytes());
        let headers = [("x-payload-digest", digest.as_str()), ("content-type", kind)];
        assert_eq!(posts(&app.url, unlike, &headers).await.0, 200, "{kind}");
    }
    assert_eq!(posts(&app.url, "{}", &[digest]).await.0, 200, "no content type");
    let identity = ("content-encoding", "identity");
    assert_eq!(posts(&app.url, "{}", &[digest, identity]).await.0, 200, "not encoded");
    app.finish().await;
}
