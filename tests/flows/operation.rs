//! What those who run the service rely on: outages are waited out, and processes end when they are told to.

use drop_sandbox::{Fault, Operation};
use drop_tests::{
    app::{TestApp, eventually},
    fleet::Fleet,
    person::browser,
};
use serde_json::json;

async fn status(internal: &str, probe: &str) -> u16 {
    let answer = browser().get(format!("{internal}/{probe}")).send().await;
    answer.expect("the internal listener answers").status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_outage_is_waited_out_readiness_says_so_and_liveness_stays() {
    let app = TestApp::start_on_a_lossy_way().await;
    let internals = [app.api_internal().to_owned(), app.worker_internal().await];
    let anna = app.signed_in("anna").await;
    app.cut_database_off(true);
    for internal in &internals {
        assert!(
            eventually(async || status(internal, "readyz").await == 503).await,
            "{internal}"
        );
        assert_eq!(status(internal, "livez").await, 200, "{internal}");
    }
    assert_eq!(anna.get("/v1/kyc").await.problem(), (503, "unavailable"));
    app.cut_database_off(false);
    for internal in &internals {
        assert!(
            eventually(async || status(internal, "readyz").await == 200).await,
            "{internal}"
        );
    }
    // The worker claims again, unaided.
    let asked = anna
        .post("/v1/kyc/applicant", &json!({ "email": "anna@example.com" }))
        .await;
    assert_eq!(asked.status, 201, "{:?}", asked.problem());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_signal_drains_a_worker_and_a_second_ends_it_at_once() {
    let fleet = Fleet {
        program: env!("CARGO_BIN_EXE_drop-node"),
        apis: 1,
        workers: 2,
    };
    let mut app = TestApp::start_fleet(fleet).await;
    app.sandbox.fault(Operation::BankidToken, Fault::Hang, 1);
    let login = app.start_login().await;
    let back = app.sandbox.bankid().sign_in(&login.authorization_url, "anna");
    app.come_back_later(&back.expect("BankID's redirect"), &login.cookie)
        .await;
    let exchanging = async || {
        let taken = "SELECT EXISTS (SELECT FROM logins WHERE status = 'checking' AND code_sealed IS NULL)";
        let taken: bool = sqlx::query_scalar(taken)
            .fetch_one(&app.db)
            .await
            .expect("the logins can be read");
        taken
    };
    assert!(eventually(exchanging).await, "no worker exchanges the code");
    // One worker has nothing to finish and drains; the other holds a call that does not come back.
    for worker in app.workers() {
        worker.signal("TERM");
    }
    let mut codes = Vec::new();
    for worker in app.workers() {
        let told_again = async || {
            if worker.is_running() {
                worker.signal("TERM"); // two that come at the same moment are one
            }
            !worker.is_running()
        };
        assert!(eventually(told_again).await);
        codes.push(worker.ended().await.code());
    }
    assert!(codes.contains(&Some(1)), "{codes:?}");
    app.abandon().await;
}

#[tokio::test]
async fn a_worker_serves_only_the_lanes_it_is_given() {
    let app = TestApp::start_with(&[("DROP_LANES", "login=2")]).await;
    let anna = app.signed_in("anna").await;
    let accepted = anna
        .post_later("/v1/kyc/applicant", "unused", &json!({ "email": "anna@example.com" }))
        .await;
    assert_eq!(accepted.status, 202, "{:?}", accepted.problem());
    app.stop_worker().await;
    let waiting: String = sqlx::query_scalar("SELECT state FROM jobs WHERE kind = 'create-applicant'")
        .fetch_one(&app.db)
        .await
        .expect("the job");
    assert_eq!(waiting, "ready");
    app.run_jobs().await;
    app.finish().await;
}
