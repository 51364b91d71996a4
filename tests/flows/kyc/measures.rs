//! What the metrics say of webhooks and checks.

use drop_sandbox::{Delivery, Review};
use drop_tests::app::{TestApp, eventually};
use serde_json::json;

use super::scene::{ago, people, sends, signed, starts};

/// The value of a series, as it is written.
fn value(scraped: &str, series: &str) -> f64 {
    let line = scraped.lines().find(|line| line.starts_with(&format!("{series} ")));
    let line = line.unwrap_or_else(|| panic!("no {series}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn events_are_counted_by_type_and_by_what_became_of_them_and_their_acceptance_is_timed() {
    let app = TestApp::start().await;
    let person = people(&app.db, 1).await.remove(0);
    let green = person.event(
        "applicantReviewed",
        json!({ "reviewResult": { "reviewAnswer": "GREEN" } }),
    );
    for _ in 0..3 {
        sends(&app, &green).await;
    }
    sends(&app, &person.event("applicantTurnedInsideOut", json!({}))).await;
    assert_eq!(signed(&app, "no JSON").await.0, 400);
    app.until_idle().await;
    let (api, worker) = (app.scrape_api().await, app.scrape_worker().await);
    for (scraped, series, count) in [
        (
            &api,
            "drop_webhook_events_total{result=\"duplicate\",type=\"applicantReviewed\"}",
            2.0,
        ),
        (
            &worker,
            "drop_webhook_events_total{result=\"applied\",type=\"applicantReviewed\"}",
            1.0,
        ),
        (
            &worker,
            "drop_webhook_events_total{result=\"recorded\",type=\"other\"}",
            1.0,
        ),
        (
            &worker,
            "drop_webhook_events_total{result=\"applied\",type=\"status\"}",
            0.0,
        ),
        (
            &worker,
            "drop_provider_unknown_values_total{field=\"event_type\",provider=\"sumsub\"}",
            1.0,
        ),
        (&api, "drop_webhook_accept_duration_seconds_count", 4.0),
        (&api, "drop_webhook_signatures_total{secret=\"current\"}", 5.0),
        (&api, "sumsub_webhook_failures_total{reason=\"unreadable\"}", 1.0),
    ] {
        let found = value(scraped, series);
        assert!((found - count).abs() < f64::EPSILON, "{series}: {found}");
    }
    app.finish().await;
}

#[tokio::test]
async fn what_waits_is_shown_with_its_age_until_it_waits_no_longer() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    assert_eq!(signed(&app, "no JSON").await.0, 400);
    sends(&app, &json!({ "type": "applicantCreated", "applicantId": "unknown" })).await;
    let happens = async |review: Review| {
        let sent = app.sandbox.sumsub().review(review, &Delivery::default()).await.unwrap();
        assert_eq!(sent.statuses, [Some(200)]);
        app.until_idle().await;
    };
    let shows = async |pending: bool, cases: f64| {
        let shown = async || {
            let scraped = app.scrape_worker().await;
            let of = |series| value(&scraped, series);
            (of("drop_kyc_pending_oldest_age_seconds") > 0.0) == pending
                && (of("drop_aml_cases_open") - cases).abs() < f64::EPSILON
                && of("drop_webhooks_left_over{state=\"quarantined\"}") > 0.0
                && of("drop_webhooks_left_over{state=\"unmatched\"}") > 0.0
        };
        // The gauges are read every ten seconds, which is as long as that waits.
        let seen = eventually(&shown).await || eventually(&shown).await;
        assert!(seen, "pending: {pending}, cases: {cases}");
    };
    happens(ago(20, Review::event(&anna.user, "applicantPending"))).await;
    shows(true, 0.0).await;
    happens(Review::of(&anna.user, "RED")).await;
    shows(false, 1.0).await;
    app.finish().await;
}
