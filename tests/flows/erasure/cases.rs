//! The compliance officer's cases do not end with the erasure of their person.

use chrono::TimeDelta;
use drop_sandbox::Review;
use drop_tests::{alerts, app::TestApp};
use serde_json::Value;

use super::{BY, FIVE_YEARS, PROGRAM, anna_is_approved, count, does, operates, reviewed};
use crate::paying::value;

/// The one open case of a compliance officer.
async fn open_case(app: &TestApp) -> String {
    value(
        app,
        "SELECT 'aml_' || replace(id::text, '-', '') FROM aml_cases WHERE closed_at IS NULL",
    )
    .await
}

async fn closes(app: &TestApp, case: &str) {
    let close = [&["cases", "close", case, "--finding", "nothing"], &BY[..]].concat();
    let (closed, said) = app.operator(PROGRAM, &close).await;
    assert!(closed, "{said}");
}

#[tokio::test]
async fn an_open_case_of_somebody_who_was_erased_stays_with_the_compliance_officer_until_it_is_closed() {
    let app = TestApp::start().await;
    let anna = anna_is_approved(&app).await;
    reviewed(&app, Review::of(&anna.user, "RED")).await;
    app.run_jobs().await;
    let case = open_case(&app).await;

    let (erased, said) = operates(&app, "erase", &anna.user).await;
    assert!(erased && said.contains(&format!("{case} is open")), "{said}");
    let (repeated, said) = operates(&app, "erase", &anna.user).await;
    assert!(repeated && said.contains(&format!("{case} is open")), "{said}");
    app.retain().await;
    assert_eq!(open_case(&app).await, case);
    assert_eq!(count(&app, "restricted.records").await, 0);

    closes(&app, &case).await;
    app.retain().await;
    assert_eq!(count(&app, "aml_cases").await, 0);
    let kept: Value = value(&app, "SELECT record FROM restricted.records WHERE class = 'aml_cases'").await;
    assert_eq!(kept["closed_by"], "kari");
    app.run_jobs().await; // what the worker planned before it was stopped
    app.finish().await;
}

#[tokio::test]
async fn a_refusal_for_good_that_is_told_after_the_erasure_opens_a_case_and_only_one() {
    alerts::listen();
    let app = TestApp::start().await;
    let anna = anna_is_approved(&app).await;
    does(&app, "erase", &anna.user).await;
    app.retain().await;
    for _ in 0..2 {
        reviewed(&app, Review::of(&anna.user, "RED")).await;
        app.run_jobs().await;
    }
    let case = open_case(&app).await;
    let event: String = value(
        &app,
        "SELECT 'evt_' || replace(webhook_event_id::text, '-', '') FROM aml_cases",
    )
    .await;
    assert_eq!(alerts::about(&event), ["aml_case"]);
    assert_eq!(
        (
            count(&app, "screening_results").await,
            count(&app, "notifications").await
        ),
        (0, 0)
    );
    app.advance(TimeDelta::days(FIVE_YEARS + 1)).await;
    app.retain().await;
    assert_eq!(open_case(&app).await, case);
    assert!(
        count(&app, "restricted.records").await > 0,
        "the officer can still look"
    );
    closes(&app, &case).await;
    app.retain().await;
    assert_eq!(count(&app, "aml_cases").await, 0);
    assert_eq!(count(&app, "restricted.records WHERE class = 'aml_cases'").await, 1);
    app.run_jobs().await; // what the worker planned before it was stopped
    app.finish().await;
}

#[tokio::test]
async fn a_refusal_for_good_that_is_applied_after_the_erasure_opens_a_case() {
    let app = TestApp::start().await;
    let anna = anna_is_approved(&app).await;
    reviewed(&app, Review::of(&anna.user, "RED")).await;
    does(&app, "erase", &anna.user).await;
    app.run_jobs().await;
    let case = open_case(&app).await;
    app.retain().await;
    assert_eq!(open_case(&app).await, case);
    assert_eq!(count(&app, "restricted.records").await, 0);
    app.run_jobs().await; // what the worker planned before it was stopped
    app.finish().await;
}
