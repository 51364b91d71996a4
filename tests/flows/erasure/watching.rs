//! What Prometheus is told of what `drop-worker retain` does, and does not do.

use chrono::TimeDelta;
use drop_sandbox::Review;
use drop_tests::app::{TestApp, eventually};

use super::{count, does, operates, reviewed};
use crate::{metrics::Scrape, paying::execute};

const LAST_SUCCESS: &str = "drop_retention_last_success_timestamp_seconds";
const OLDEST_ERASURE: &str = "drop_erasures_oldest_unmoved_age_seconds";
/// A time that has passed, as a Unix time.
const LONG_AGO: f64 = 1_771_840_980.0;
const DAY: f64 = 86_400.0;

/// What a worker that starts now reads of the two.
async fn watched(app: &TestApp) -> (f64, f64) {
    app.start_worker().await;
    let mut scrape = Scrape::of_worker(app).await;
    let read = async || {
        scrape = Scrape::of_worker(app).await;
        scrape.value(LAST_SUCCESS) > 0.0
    };
    assert!(eventually(read).await, "the gauges are not read");
    app.stop_worker().await;
    (scrape.value(LAST_SUCCESS), scrape.value(OLDEST_ERASURE))
}

#[tokio::test]
async fn a_retention_that_does_not_run_and_an_erasure_that_does_not_end_are_seen() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    app.stop_worker().await;
    reviewed(&app, Review::of(&anna.user, "RED")).await;
    app.run_jobs().await;
    let (erased, said) = operates(&app, "erase", &anna.user).await;
    assert!(erased && said.contains("is open"), "{said}");
    app.advance(TimeDelta::days(8)).await;
    execute(
        &app,
        &format!("UPDATE retention_runs SET ended_at = to_timestamp({LONG_AGO})"),
    )
    .await;
    let (last_success, oldest) = watched(&app).await;
    assert!(
        last_success <= LONG_AGO && oldest > 8.0 * DAY,
        "{last_success} {oldest}"
    );

    app.retain().await;
    let (last_success, oldest) = watched(&app).await;
    assert!(
        last_success > LONG_AGO + DAY && oldest > 8.0 * DAY,
        "{last_success} {oldest}"
    );
    let (listed, said) = app.operator(super::PROGRAM, &["users", "erased", "--days", "1"]).await;
    let waits = said
        .lines()
        .any(|line| line.starts_with(&anna.user) && line.ends_with("case"));
    assert!(listed && waits, "{said}");

    does(&app, "hold", &anna.user).await;
    let (_, oldest) = watched(&app).await;
    assert!(oldest < DAY, "kept on purpose");
    assert_eq!(count(&app, "users WHERE moved_at IS NULL").await, 1);
    app.run_jobs().await; // what the worker planned before it was stopped
    app.finish().await;
}
