//! The circuit in front of a provider, as the jobs see it.

use drop_tests::app::TestApp;
use serde_json::json;

#[tokio::test]
async fn a_probe_that_made_no_call_leaves_the_circuit_open_for_the_next_probe() {
    let mut app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.stop_worker().await;
    let order = json!({
        "accountId": account,
        "instructedAmount": { "amount": "2010.00", "currency": "NOK" },
        "creditorName": "Marko Petrovic",
        "creditorAccount": { "bban": "265-1234567-89" },
        "remittanceInformation": "Drop remittance"
    });
    assert_eq!(anna.post_later("/v1/transactions", "first", &order).await.status, 202);
    sqlx::query(
        "UPDATE breaker SET open = true, opened_at = clock_timestamp() - interval '61 s',
                retry_at = clock_timestamp() - interval '1 s' WHERE key = 'neonomics/pisp'",
    )
    .execute(&app.db)
    .await
    .unwrap();

    app.reconfigure_worker(&[("NEONOMICS_CLIENT_SECRET", "a-secret-that-is-not-known-there")]);
    assert_eq!(app.run_jobs().await, 1, "the payment is the probe");
    assert_eq!(circuit(&app).await, (true, false), "open, and nobody probes");
    assert_eq!(app.sandbox.neonomics().payments().len(), 0);
    app.abandon().await;
}

/// Whether the circuit of payments is open, and whether somebody holds its probe.
async fn circuit(app: &TestApp) -> (bool, bool) {
    sqlx::query_as("SELECT open, probe_id IS NOT NULL FROM breaker WHERE key = 'neonomics/pisp'")
        .fetch_one(&app.db)
        .await
        .expect("the circuit's row")
}
