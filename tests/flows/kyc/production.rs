//! What holds in production alone.

use std::sync::Arc;

use drop_common::{
    clock::Clock,
    config::Profile,
    metrics::{Metrics, Process},
    queue::{self, Wake},
};
use drop_tests::{alerts, app::TestApp};
use drop_worker::Context;
use serde_json::json;

use super::scene::{people, sends};

#[tokio::test]
async fn an_event_of_sumsubs_sandbox_approves_nobody_in_production_and_is_told() {
    alerts::listen();
    let app = TestApp::start().await;
    app.stop_worker().await;
    let person = people(&app.db, 1).await.remove(0);
    let green = json!({ "sandboxMode": true, "reviewResult": { "reviewAnswer": "GREEN" } });
    sends(&app, &person.event("applicantReviewed", green)).await;

    let (_, mut settings) = app.settings_with(&[]);
    settings.profile = Profile::Production;
    let metrics = Arc::new(Metrics::new(Process::Worker, "test", "test").unwrap());
    let context = Context::new(settings, app.db.clone(), Clock::real(), metrics, Wake::default()).unwrap();
    queue::drain(&app.db, drop_worker::registry(), Arc::new(context))
        .await
        .unwrap();
    assert_eq!(person.states(&app).await, ["sandbox"]);
    assert_eq!(
        (person.status(&app).await.as_str(), person.told(&app).await.len()),
        ("pending", 0)
    );
    let event: uuid::Uuid = sqlx::query_scalar("SELECT id FROM webhook_events")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(alerts::about(&format!("evt_{}", event.simple())), ["kyc_event"]);
    app.finish().await;
}
