//! A bank that wants the approval of a payment started by a call of its own: made once, or nobody is told where to go.

use chrono::TimeDelta;
use drop_common::queue::{self, payloads::ReconcilePayments};
use drop_sandbox::{Decision, Fault, Operation};
use drop_tests::{alerts, app::TestApp};
use rstest::rstest;
use serde_json::{Value, json};

use crate::paying::{audited, becomes, execute, ordered, pays, shown, value};

async fn with_such_a_bank() -> TestApp {
    alerts::listen();
    let app = TestApp::start().await;
    app.sandbox
        .neonomics()
        .configure(|bank| bank.explicit_authorisation = true);
    app
}

fn starts(app: &TestApp) -> usize {
    app.sandbox.journal().entries_of(Operation::PaymentAuthorise).len()
}

/// What was done there, whoever was told.
fn started(app: &TestApp) -> usize {
    app.sandbox.neonomics().payments()[0].authorisations
}

#[tokio::test]
async fn the_first_answer_has_the_link_and_the_payment_completes() {
    let app = with_such_a_bank().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let paid = pays(&anna, &account, "first").await;
    assert_eq!(paid.status, 201, "{:?}", paid.problem());
    let (id, link) = (paid.body["id"].as_str().unwrap(), paid.body["scaRedirect"].as_str());
    let link = link.expect("the answer waits for the link");
    assert_eq!((starts(&app), started(&app)), (1, 1));
    let start = &app.sandbox.journal().entries_of(Operation::PaymentAuthorise)[0];
    let order = &app.sandbox.journal().entries_of(Operation::Payment)[0];
    for same in ["tpp-redirect-uri", "psu-ip-address", "x-correlation-id"] {
        assert!(
            start.header(same).is_some() && start.header(same) == order.header(same),
            "{same}"
        );
    }
    assert_ne!(start.header("x-request-id"), order.header("x-request-id"));
    assert_eq!(audited(&app, "payment.authorisation_started").await, 1);
    let kept: i64 = value(&app, "SELECT count(callback_state_sealed) FROM transactions").await;
    assert_eq!(kept, 0, "the bank has the state now");

    anna.decides(link, Decision::Approve).await;
    becomes(&anna, id, "completed").await;
    let again = pays(&anna, &account, "first").await;
    assert_eq!((again.replayed, &again.body["id"]), (true, &json!(id)));
    assert_eq!(starts(&app), 1);
    assert!(alerts::about(id).is_empty());
    app.finish().await;
}

#[rstest]
#[case::refused(Fault::status(403), 0)]
#[case::failed(Fault::status(500), 0)]
#[case::not_understood(Fault::Garbage, 1)]
#[case::answer_lost(Fault::ExecuteThenDrop, 1)]
#[tokio::test]
async fn a_start_that_may_have_arrived_is_never_made_again_and_is_told(#[case] fault: Fault, #[case] there: usize) {
    let app = with_such_a_bank().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    app.sandbox.fault(Operation::PaymentAuthorise, fault, 1);
    app.run_jobs().await;
    for _ in 0..3 {
        app.advance(TimeDelta::seconds(30)).await;
        app.run_jobs().await;
    }
    assert_eq!((starts(&app), started(&app)), (1, there));
    assert_eq!(alerts::about(&id), ["payment"]);
    let payment = shown(&anna, &id).await;
    assert_eq!(
        (&payment["status"], &payment["scaRedirect"]),
        (&json!("processing"), &Value::Null)
    );

    app.advance(TimeDelta::seconds(240)).await;
    app.run_jobs().await;
    let payment = shown(&anna, &id).await;
    assert_eq!(
        (&payment["status"], &payment["reason"]),
        (&json!("failed"), &json!("sca_timeout"))
    );
    assert_eq!(app.sandbox.neonomics().payments()[0].status, "CANC", "withdrawn there");
    app.abandon().await;
}

#[tokio::test]
async fn a_start_whose_process_died_is_not_made_again_and_is_told() {
    let app = with_such_a_bank().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    // As the row is found by whoever takes the job over.
    execute(
        &app,
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.authorisation := ''starting''; RETURN NEW; END';
         CREATE TRIGGER died BEFORE UPDATE ON transactions FOR EACH ROW WHEN (NEW.authorisation = 'wanted') EXECUTE FUNCTION die()",
    )
    .await;
    app.run_jobs().await;
    assert_eq!((starts(&app), started(&app)), (0, 0));
    assert_eq!(alerts::about(&id), ["payment"]);
    let start: String = value(&app, "SELECT authorisation FROM transactions").await;
    assert_eq!(start, "failed");
    app.abandon().await;
}

#[tokio::test]
async fn a_start_that_did_not_leave_is_made_later_and_the_time_for_approval_begins_with_its_link() {
    let app = with_such_a_bank().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    let refused = Fault::Status {
        code: 401,
        body: Some(json!({ "tppMessages": [{ "category": "ERROR", "code": "TOKEN_INVALID" }] })),
    };
    app.sandbox.fault(Operation::PaymentAuthorise, refused, 2);
    app.run_jobs().await;
    assert_eq!(
        (starts(&app), started(&app)),
        (2, 0),
        "once, and once more with a fresh token"
    );
    assert_eq!(shown(&anna, &id).await["scaRedirect"], Value::Null);
    assert_eq!(alerts::about(&id), ["payment"]);
    app.advance(TimeDelta::seconds(200)).await;
    app.run_jobs().await;
    assert_eq!((starts(&app), started(&app)), (3, 1));
    assert!(shown(&anna, &id).await["scaRedirect"].is_string());
    let left: f64 = value(
        &app,
        "SELECT extract(epoch FROM sca_deadline - clock_timestamp())::float8 FROM transactions",
    )
    .await;
    assert!((290.0..=300.0).contains(&left), "{left}");
    app.abandon().await;
}

#[tokio::test]
async fn a_payment_that_the_bank_rejects_at_once_is_not_started() {
    let app = with_such_a_bank().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    app.sandbox
        .neonomics()
        .configure(|bank| bank.initial_status = "RJCT".to_owned());
    app.run_jobs().await;
    assert_eq!(starts(&app), 0);
    let payment = shown(&anna, &id).await;
    assert_eq!(
        (&payment["status"], &payment["reason"]),
        (&json!("failed"), &json!("bank_rejected"))
    );
    assert!(alerts::about(&id).is_empty());
    app.finish().await;
}

#[rstest]
#[case::nowhere(json!({}))]
#[case::elsewhere(json!({ "scaRedirect": { "href": "https://evil.example/sca" }, "startAuthorisation": { "href": "/x" } }))]
#[tokio::test]
async fn a_bank_without_a_usable_link_is_told_and_starts_nothing(#[case] links: Value) {
    let app = with_such_a_bank().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.sandbox.neonomics().configure(|bank| bank.links = Some(links));
    let id = ordered(&app, &anna, &account).await;
    app.sandbox.journal().clear();
    app.run_jobs().await;
    assert_eq!((starts(&app), alerts::about(&id)), (0, vec!["payment".to_owned()]));
    assert_eq!(shown(&anna, &id).await["scaRedirect"], Value::Null);
    app.abandon().await;
}

#[tokio::test]
async fn an_approval_whose_start_was_lost_is_started_all_the_same_and_one_that_may_have_left_is_not() {
    for (left, link) in [(false, true), (true, false)] {
        let app = with_such_a_bank().await;
        let anna = app.signed_in("anna").await;
        let account = anna.has_an_account().await;
        let id = ordered(&app, &anna, &account).await;
        app.sandbox.fault(Operation::PaymentAuthorise, Fault::Drop, 1);
        app.run_jobs().await;
        let lost = if left { "starting" } else { "wanted" };
        execute(
            &app,
            &format!(
                "DELETE FROM jobs WHERE kind = 'start-authorisation';
                 UPDATE transactions SET authorisation = '{lost}', updated_at = clock_timestamp()"
            ),
        )
        .await;
        for (seconds, restored) in [(10, 0), (10, 1), (20, 1)] {
            app.advance(TimeDelta::seconds(seconds)).await;
            let mut tx = app.db.begin().await.unwrap();
            queue::enqueue(&mut tx, &ReconcilePayments {}).await.unwrap();
            tx.commit().await.unwrap();
            app.run_jobs().await;
            assert_eq!(
                audited(&app, "payment.next_step_restored").await,
                restored,
                "{lost}, {seconds}"
            );
        }
        assert_eq!(shown(&anna, &id).await["scaRedirect"].is_string(), link, "{lost}");
        assert_eq!(started(&app), usize::from(link), "{lost}");
        let told = alerts::words(&id);
        let restored = "had no next step, now: start-authorisation".to_owned();
        assert!(told.contains(&restored), "{told:?}");
        app.abandon().await;
    }
}
