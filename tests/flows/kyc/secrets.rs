//! The rotation of Sumsub's secret, as `ops/README.md` has it, and floods of webhooks that nobody signed.

use drop_tests::{
    app::{TestApp, eventually},
    settings::SUMSUB_SECRET,
};
use futures_util::future::join_all;

use super::scene::{digest, posts};

const NEXT: &str = "the-secret-after-this-one";

/// One event under the secret; whether it is accepted.
async fn accepts(url: &str, secret: &str) -> bool {
    let body = format!(
        "{{\"type\":\"applicantCreated\",\"correlationId\":\"{}\"}}",
        uuid::Uuid::new_v4()
    );
    let digest = digest(secret, body.as_bytes());
    posts(url, body, &[("x-payload-digest", &digest)]).await.0 == 200
}

#[tokio::test]
async fn a_rotation_step_by_step_refuses_no_event_and_the_old_secret_at_its_end() {
    let app = TestApp::start().await;
    // Step 1: the new secret is accepted, too. Sumsub signs with the old one until it is changed there.
    let first = app.start_replica(&[("SUMSUB_SECRET_KEY_PREVIOUS", NEXT)]).await;
    assert!(accepts(&app.url, SUMSUB_SECRET).await && !accepts(&app.url, NEXT).await);
    assert!(accepts(&first, SUMSUB_SECRET).await && accepts(&first, NEXT).await);
    // Step 2: the names are swapped. What Sumsub sends again is signed anew; what was under way is not.
    let second = app
        .start_replica(&[
            ("SUMSUB_SECRET_KEY", NEXT),
            ("SUMSUB_SECRET_KEY_PREVIOUS", SUMSUB_SECRET),
        ])
        .await;
    assert!(accepts(&first, NEXT).await && accepts(&second, NEXT).await && accepts(&second, SUMSUB_SECRET).await);
    // Step 3: the old one is gone.
    let last = app.start_replica(&[("SUMSUB_SECRET_KEY", NEXT)]).await;
    assert!(accepts(&last, NEXT).await && !accepts(&last, SUMSUB_SECRET).await);
    app.until_idle().await;
    app.finish().await;
}

#[tokio::test]
async fn the_use_of_the_previous_secret_is_counted() {
    let app = TestApp::start_with(&[
        ("SUMSUB_SECRET_KEY", NEXT),
        ("SUMSUB_SECRET_KEY_PREVIOUS", SUMSUB_SECRET),
    ])
    .await;
    for secret in [NEXT, SUMSUB_SECRET, SUMSUB_SECRET, "neither"] {
        accepts(&app.url, secret).await;
    }
    let counted = app.scrape_api().await;
    for line in [
        "drop_webhook_signatures_total{secret=\"current\"} 1\n",
        "drop_webhook_signatures_total{secret=\"previous\"} 2\n",
        "sumsub_webhook_failures_total{reason=\"digest\"} 1\n",
    ] {
        assert!(counted.contains(line), "{line}");
    }
    app.until_idle().await;
    app.finish().await;
}

/// The database knows nothing of them: they are answered while it is away.
#[tokio::test]
async fn a_flood_of_unsigned_webhooks_is_401_without_the_database() {
    let app = TestApp::start_on_a_lossy_way().await;
    app.cut_database_off(true);
    let flood = join_all((0..200).map(|_| posts(&app.url, "{}", &[("x-payload-digest", "00")]))).await;
    assert!(flood.iter().all(|(status, _)| *status == 401));
    let digest = digest(SUMSUB_SECRET, b"{}");
    let signed = [("x-payload-digest", digest.as_str())];
    assert_eq!(
        posts(&app.url, "{}", &signed).await.0,
        503,
        "the signed one is not lost: it is sent again"
    );
    let counted = app.scrape_api().await;
    assert!(
        counted.contains("sumsub_webhook_failures_total{reason=\"digest\"} 200\n"),
        "{counted}"
    );
    assert!(
        counted.contains("sumsub_webhook_failures_total{reason=\"storage\"} 1\n"),
        "{counted}"
    );
    app.cut_database_off(false);
    assert!(eventually(async || posts(&app.url, "{}", &signed).await.0 == 200).await);
    app.until_idle().await;
    app.finish().await;
}
