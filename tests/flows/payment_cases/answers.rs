//! What the bank says, or does not say, to an order (cases 10 to 15, 59 and 60).

use drop_sandbox::{Fault, Operation};
use drop_tests::{alerts, app::TestApp, person::Answer};
use rstest::rstest;
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    paying::{execute, ordered, shown, value},
    payment_faults::scene::{Payer, a_minute_passes, recovers},
};

fn orders_sent(app: &TestApp) -> Vec<String> {
    let sent = app.sandbox.journal().entries_of(Operation::Payment);
    sent.iter()
        .map(|post| post.header("x-request-id").unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn p11_a_bank_that_cannot_be_reached_fails_no_payment_before_its_time_and_is_sent_none_after_it() {
    let mut app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/neonomics", nobody.local_addr().unwrap());
    drop(nobody);
    // The person's later look is through a borrow that a change of the worker must not outlive.
    let token = anna.getting(&format!("/v1/transactions/{id}"));
    drop(anna);
    app.reconfigure_worker(&[("NEONOMICS_BASE_URL", &base)]);
    let status = async || Answer::of(token.try_clone().unwrap().send().await.unwrap()).await.body;
    for _ in 0..4 {
        a_minute_passes(&app).await;
        app.run_jobs().await;
        assert_eq!(status().await["status"], "processing");
    }
    let outcomes =
        "SELECT count(*) FILTER (WHERE outcome = 'not_sent') = count(*) AND count(*) >= 3 FROM payment_attempts";
    assert!(value::<bool>(&app, outcomes).await, "provably never sent");
    let used = "SELECT attempt - unused FROM jobs WHERE kind = 'initiate-payment'";
    assert_eq!(value::<i32>(&app, used).await, 0, "what never left uses no attempt");

    execute(
        &app,
        "UPDATE transactions SET created_at = created_at - interval '301 s', expires_at = expires_at - interval '301 s';
         UPDATE jobs SET expires_at = expires_at - interval '301 s'",
    )
    .await;
    a_minute_passes(&app).await;
    app.run_jobs().await;
    let ended = status().await;
    assert_eq!(
        (&ended["status"], &ended["reason"]),
        (&json!("failed"), &json!("not_sent"))
    );
    assert!(orders_sent(&app).is_empty());
    app.abandon().await; // the job that came too late is dead, and stays to be seen
}

#[tokio::test]
async fn after_500_502_and_503_an_order_waits_for_the_circuit_and_goes_out_once_more_under_its_key() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let id = payer.orders().await;
    for code in [500, 502, 503] {
        app.sandbox.fault(Operation::Payment, Fault::status(code), 1);
    }
    for after in [1.0, 2.0] {
        app.run_jobs().await;
        let wait = "SELECT extract(epoch FROM run_at - clock_timestamp())::float8 FROM jobs
                     WHERE kind = 'initiate-payment' AND state = 'ready'";
        let wait: f64 = value(&app, wait).await;
        assert!(
            (after * 0.5 - 0.4..=after * 1.5).contains(&wait),
            "{wait} s for {after} s"
        );
        execute(
            &app,
            "UPDATE jobs SET run_at = run_at - interval '4 s' WHERE state = 'ready'",
        )
        .await;
    }
    app.run_jobs().await;
    assert!(value::<bool>(&app, "SELECT open FROM breaker WHERE key = 'neonomics/pisp'").await);
    execute(
        &app,
        "UPDATE jobs SET run_at = run_at - interval '10 s' WHERE state = 'ready'",
    )
    .await;
    app.run_jobs().await;
    let used = "SELECT attempt - unused FROM jobs WHERE kind = 'initiate-payment'";
    assert_eq!(
        value::<i32>(&app, used).await,
        3,
        "what the circuit refuses uses no attempt"
    );
    assert_eq!(orders_sent(&app).len(), 3);

    assert_eq!(payer.plays_out(&id).await, "completed");
    let sent = orders_sent(&app);
    assert_eq!(sent.len(), 4, "three times again, and no more");
    assert!(sent.iter().all(|key| *key == sent[0]));
    assert_eq!(app.sandbox.neonomics().payments().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn an_order_that_the_bank_takes_after_an_error_is_told_for_it_may_have_taken_both() {
    alerts::listen();
    let app = TestApp::start().await;
    app.sandbox.neonomics().configure(|bank| bank.deduplicate = false);
    let payer = Payer::of(&app).await;
    let id = payer.orders().await;
    let executed = Fault::ExecuteThenStatus { code: 500 };
    app.sandbox.fault(Operation::Payment, executed, 1);
    assert_eq!(payer.plays_out(&id).await, "completed");
    let (sent, orders) = (orders_sent(&app), app.sandbox.neonomics().payments());
    assert_eq!((sent.len(), &sent[0]), (2, &sent[1]));
    let paid = orders.iter().filter(|order| order.moved).count();
    assert_eq!((orders.len(), paid), (2, 1), "nobody has the link of the other");
    let known: String = value(&app, "SELECT payment_id FROM transactions").await;
    let told = format!("accepted_after_failure: X-Request-ID {}, paymentId {known}", sent[0]);
    assert_eq!(alerts::words(&id), [told]);
    let audited = "SELECT detail FROM audit_log WHERE action = 'payment.accepted_after_failure'";
    let detail: serde_json::Value = value(&app, audited).await;
    assert_eq!(detail, json!({ "x_request_id": sent[0], "payment_id": known }));

    // An error that is not followed by a yes, or a yes without an error before it, is none.
    let well = payer.orders().await;
    assert_eq!(payer.plays_out(&well).await, "completed");
    assert!(alerts::words(&well).is_empty());
    app.finish().await;
}

#[rstest]
#[case::at_a_bank_of_which_that_is_not_known(false, "review", 1)]
#[case::at_a_bank_that_makes_one_payment_of_one_key(true, "completed", 2)]
#[tokio::test]
async fn where_only_deduplicated_errors_are_retried_an_order_that_was_executed_behind_one_is_one_order(
    #[case] proven: bool,
    #[case] end: &str,
    #[case] sent: usize,
) {
    alerts::listen();
    let proven_word = if proven { "true" } else { "false" };
    let app = TestApp::start_with(&[("PISP_RETRY_5XX", "deduplicated"), ("PISP_DEDUPE_PROVEN", proven_word)]).await;
    app.sandbox.neonomics().configure(|bank| bank.deduplicate = proven);
    let payer = Payer::of(&app).await;
    for code in [500, 502, 503] {
        let (id, before) = (payer.orders().await, orders_sent(&app).len());
        let executed = Fault::ExecuteThenStatus { code };
        app.sandbox.fault(Operation::Payment, executed, 1);
        assert_eq!(payer.plays_out(&id).await, end, "{code}");
        assert_eq!(orders_sent(&app).len(), before + sent, "{code}");
        let told: &[&str] = if proven {
            &[]
        } else {
            &["needs review: the bank may have the payment"]
        };
        assert_eq!(alerts::words(&id), told, "{code}");
    }
    assert_eq!(app.sandbox.neonomics().payments().len(), 3);
    app.abandon().await; // the jobs of those in review are dead, for a person to see
}

#[tokio::test]
async fn an_order_is_reviewed_and_not_sent_again_when_the_banks_answer_cannot_be_had_or_read() {
    alerts::listen();
    let app = TestApp::start_with(&[("NEONOMICS_READ_TIMEOUT_MS", "500")]).await;
    let payer = Payer::of(&app).await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("http://{}/", elsewhere.local_addr().unwrap());
    let nameless = json!({ "transactionStatus": "RCVD" });
    for fault in [
        Fault::Hang,
        Fault::ExecuteThenHang,
        Fault::Drop,
        Fault::status(504),
        Fault::status(408),
        Fault::Truncate,
        Fault::Garbage,
        Fault::Oversize { bytes: 2 * 1024 * 1024 },
        Fault::Drip { ms: 50 },
        Fault::Redirect { to },
        Fault::Status {
            code: 201,
            body: Some(nameless),
        },
    ] {
        let (id, before) = (payer.orders().await, orders_sent(&app).len());
        app.sandbox.fault(Operation::Payment, fault.clone(), 1);
        recovers(&app).await;
        assert_eq!(payer.standing(&id).await, "review", "{fault:?}");
        assert_eq!(orders_sent(&app).len(), before + 1, "{fault:?}");
        assert_eq!(alerts::about(&id), ["payment"], "{fault:?}");
        let link = &shown(&payer.person, &id).await["scaRedirect"];
        assert!(link.is_null(), "{fault:?}: {link}");
    }
    let nobody = tokio::time::timeout(std::time::Duration::from_millis(10), elsewhere.accept());
    assert!(nobody.await.is_err(), "a redirect is not followed");
    app.abandon().await; // their jobs are dead, for a person to see
}

#[tokio::test]
async fn a_definite_no_of_the_banks_ends_a_payment_and_nothing_is_asked_again() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    for code in [400, 403, 404, 422] {
        let fault = Fault::status(code);
        let order = payer.next_order();
        payer.asks(&order).await;
        let before = orders_sent(&app).len();
        app.sandbox.fault(Operation::Payment, fault.clone(), 1);
        recovers(&app).await;
        assert_eq!(orders_sent(&app).len(), before + 1, "{fault:?}");
        let again = payer.asks(&order).await;
        assert_eq!((again.status.as_u16(), again.replayed), (201, true), "{fault:?}");
        let id = again.body["id"].as_str().unwrap();
        assert_eq!(payer.standing(id).await, "failed:refused", "{fault:?}");
    }
    let held: i64 = value(&app, "SELECT held FROM bank_accounts").await;
    assert_eq!(held, 0, "nothing is on hold for them");
    assert!(app.sandbox.neonomics().payments().is_empty());
    app.finish().await;
}

#[tokio::test]
async fn an_access_token_that_has_expired_costs_one_request_more_and_no_second_payment() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    // Each run by hand has a client of its own; this worker keeps its token. A look must not be the first to renew it.
    app.lane("payment.poll", "paused = true").await;
    app.start_worker().await;
    let first = payer.orders().await;
    let linked = async || shown(&payer.person, &first).await["scaRedirect"].is_string();
    assert!(drop_tests::app::eventually(linked).await);
    app.sandbox.neonomics().expire_tokens();
    let second = payer.orders().await;
    let linked = async || shown(&payer.person, &second).await["scaRedirect"].is_string();
    assert!(drop_tests::app::eventually(linked).await);
    let sent = app.sandbox.journal().entries_of(Operation::Payment);
    let answers: Vec<_> = sent
        .iter()
        .map(|post| (post.header("x-request-id"), post.status))
        .collect();
    assert_eq!(answers.len(), 3, "{answers:?}");
    assert_eq!((answers[1].1, answers[2]), (Some(401), (answers[1].0, Some(201))));
    assert_eq!(app.sandbox.neonomics().payments().len(), 2);
    app.lane("payment.poll", "paused = false").await;
    app.finish().await;
}
