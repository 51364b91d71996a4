//! What Prometheus is told of what `drop-worker retain` does, and does not do.

use chrono::TimeDelta;
use drop_sandbox::Review;
use drop_tests::app::{TestApp, eventually};

use super::{anna_is_approved, count, does, operates, reviewed};
use crate::{deployment::list_of_the_erased, metrics::Scrape, paying::execute};

const LAST_SUCCESS: &str = "drop_retention_last_success_timestamp_seconds";
const LAST_LIST: &str = "drop_erased_list_last_success_timestamp_seconds";
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

/// When those who were erased were last listed, as a worker that starts now reads it.
async fn last_listed(app: &TestApp) -> f64 {
    app.start_worker().await;
    let mut listed = 0.0;
    let read = async || {
        listed = Scrape::of_worker(app).await.value(LAST_LIST);
        listed > 0.0
    };
    assert!(eventually(read).await, "the gauge is not read");
    app.stop_worker().await;
    listed
}

#[tokio::test]
async fn a_list_of_the_erased_that_is_not_written_is_seen_and_one_that_is_looked_at_is_none() {
    let app = TestApp::start().await;
    app.stop_worker().await;
    execute(
        &app,
        &format!("UPDATE retention_runs SET listed_at = to_timestamp({LONG_AGO})"),
    )
    .await;
    assert!(app.operator(super::PROGRAM, &["users", "erased", "--json"]).await.0);
    assert!(last_listed(&app).await <= LONG_AGO);
    let hourly = list_of_the_erased();
    let hourly: Vec<&str> = hourly.iter().map(String::as_str).collect();
    let (listed, list) = app.operator(super::PROGRAM, &hourly).await;
    assert!(listed && list.trim() == "[]", "the list and nothing else: {list}");
    assert!(last_listed(&app).await > LONG_AGO + DAY);
    app.finish().await;
}

#[tokio::test]
async fn a_retention_that_does_not_run_and_an_erasure_that_does_not_end_are_seen() {
    let app = TestApp::start().await;
    let anna = anna_is_approved(&app).await;
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
