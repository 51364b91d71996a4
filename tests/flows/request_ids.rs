//! A request's id goes along with every call to a provider that the request causes, also those that its jobs' jobs make.

use std::collections::BTreeSet;

use drop_sandbox::{Decision, Provider};
use drop_tests::app::TestApp;
use uuid::Uuid;

use crate::paying::order;

#[tokio::test]
async fn every_call_that_a_request_causes_carries_its_id() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let payment = anna
        .post_keyed("/v1/transactions", "one", &order(&account, "2010.00"))
        .await;
    anna.decides(payment.body["scaRedirect"].as_str().unwrap(), Decision::Approve)
        .await;

    let requests: Vec<Uuid> = sqlx::query_scalar("SELECT request_id FROM audit_log WHERE request_id IS NOT NULL")
        .fetch_all(&app.db)
        .await
        .unwrap();
    let requests: BTreeSet<String> = requests.iter().map(Uuid::to_string).collect();
    // BankID takes it under its own name; for the others that name is the call's.
    for (provider, header) in [
        (Provider::Bankid, "x-request-id"),
        (Provider::Neonomics, "x-correlation-id"),
        (Provider::Sumsub, "x-correlation-id"),
    ] {
        let calls = app.sandbox.journal().entries(provider);
        let calls = calls
            .iter()
            .filter(|call| !matches!(call.operation, None | Some("authorize")));
        let calls: Vec<_> = calls
            .map(|call| (call.operation.unwrap(), call.header(header)))
            .collect();
        assert!(!calls.is_empty(), "{provider:?}");
        for (operation, id) in calls {
            assert!(id.is_some_and(|id| requests.contains(id)), "{operation}: {id:?}");
        }
    }
    app.finish().await;
}
