//! Telling the bank about a payment: what is sent, what is sent again, and what never is (contract 3.3 and 5).

use chrono::TimeDelta;
use drop_sandbox::{Fault, Operation};
use drop_tests::{
    alerts,
    app::{TestApp, eventually},
};
use rstest::rstest;
use serde_json::json;

use crate::{
    paying::{audited, busy, execute, order, ordered, pays, rewrite, shown, value},
    payment_faults::scene::{a_minute_passes, worker_dies},
};

/// The process dies that has written that it is about to send.
async fn dies_before_it_sends(app: &TestApp) {
    worker_dies(app, "payment.send", "pay.sending").await;
    a_minute_passes(app).await; // and nobody renews its lease
    app.run_jobs().await;
    a_minute_passes(app).await;
}

async fn needs_review(app: &TestApp) -> bool {
    value(app, "SELECT needs_review FROM transactions WHERE status = 'processing'").await
}

#[tokio::test]
async fn a_payment_that_could_not_be_sent_within_five_minutes_has_failed_and_is_never_sent() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    app.lane("payment.send", "paused = true").await; // nobody claims it, so only the sweep can end it
    app.advance(TimeDelta::seconds(290)).await;
    app.run_jobs().await;
    assert_eq!(shown(&anna, &id).await["status"], "processing");
    app.advance(TimeDelta::seconds(11)).await;
    app.run_jobs().await;
    let ended = shown(&anna, &id).await;
    assert_eq!(
        (&ended["status"], &ended["reason"]),
        (&json!("failed"), &json!("not_sent"))
    );
    app.lane("payment.send", "paused = false").await;
    app.run_jobs().await;
    assert!(app.sandbox.neonomics().payments().is_empty());
    let balance = anna.get(&format!("/v1/bank-accounts/{account}/balance")).await;
    assert_eq!(balance.body["amount"], "45230.00", "nothing is on hold any more");
    app.abandon().await; // the job that came too late is dead, and stays to be seen
}

#[tokio::test]
async fn a_failure_is_counted_once_although_its_first_commit_is_refused() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    app.lane("payment.send", "paused = true").await;
    app.advance(TimeDelta::seconds(301)).await;
    let at_the_commit = "CONSTRAINT TRIGGER busy AFTER INSERT ON audit_log DEFERRABLE INITIALLY DEFERRED FOR EACH ROW";
    busy(&app, at_the_commit, 1).await;
    app.start_worker().await;
    let failed = async || shown(&anna, &id).await["status"] == "failed";
    assert!(eventually(failed).await);
    let counted = async || {
        let scrape = app.scrape_worker().await;
        let line = scrape
            .lines()
            .find(|line| line.starts_with("pisp_payment_failures_total{reason=\"not_sent\"}"));
        line.unwrap().rsplit(' ').next() == Some("1")
    };
    assert!(eventually(counted).await);
    assert_eq!(
        value::<i64>(&app, "SELECT last_value FROM refused").await,
        2,
        "refused once"
    );
    app.abandon().await;
}

#[tokio::test]
async fn the_banks_answer_is_kept_and_written_once_the_database_takes_it() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    busy(&app, "TRIGGER busy BEFORE UPDATE ON payment_attempts FOR EACH ROW", 3).await;
    app.run_jobs().await;
    let payment = shown(&anna, &id).await;
    assert!(payment["scaRedirect"].is_string(), "{payment}");
    assert!(!needs_review(&app).await);
    assert_eq!(app.sandbox.journal().entries_of(Operation::Payment).len(), 1);
    assert_eq!(value::<i64>(&app, "SELECT last_value FROM refused").await, 4);
    app.abandon().await;
}

#[rstest]
#[case::too_many_requests(429)]
#[case::known_already(409)]
#[case::not_understood(400)]
#[tokio::test]
async fn a_refusal_after_an_attempt_that_may_have_arrived_ends_nothing_and_is_reviewed(#[case] refusal: u16) {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    app.sandbox.fault(Operation::Payment, Fault::status(503), 1);
    app.sandbox.fault(Operation::Payment, Fault::status(refusal), 1);
    app.run_jobs().await;
    app.advance(TimeDelta::seconds(3)).await;
    app.run_jobs().await;
    assert_eq!(app.sandbox.journal().entries_of(Operation::Payment).len(), 2);
    assert_eq!(shown(&anna, &id).await["status"], "processing");
    assert!(needs_review(&app).await);
    app.abandon().await;
}

#[tokio::test]
async fn an_order_that_its_owner_takes_back_between_two_attempts_is_not_sent_again() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    app.sandbox.fault(Operation::Payment, Fault::status(503), 1);
    app.run_jobs().await;
    let wish = anna.request(&format!("/v1/transactions/{id}/cancel"));
    assert_eq!(
        wish.header("Prefer", "respond-async").send().await.unwrap().status(),
        202
    );
    for _ in 0..3 {
        app.advance(TimeDelta::seconds(3)).await;
        app.run_jobs().await;
    }
    assert_eq!(app.sandbox.journal().entries_of(Operation::Payment).len(), 1);
    assert!(needs_review(&app).await, "the bank may have the first");
    assert_eq!(shown(&anna, &id).await["cancellation"], "unconfirmed");
    app.abandon().await;
}

#[tokio::test]
async fn an_attempt_whose_process_died_is_never_repeated_but_reviewed() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    dies_before_it_sends(&app).await;
    app.run_jobs().await;
    assert!(needs_review(&app).await);
    assert!(app.sandbox.neonomics().payments().is_empty());
    assert_eq!(shown(&anna, &id).await["status"], "processing");
    let again = pays(&anna, &account, "first").await;
    assert_eq!(
        (again.status.as_u16(), again.replayed),
        (201, true),
        "nothing to wait for"
    );
    app.abandon().await; // its job is dead, for a person to see
}

#[rstest]
#[case::died(true)]
#[case::answer_lost(false)]
#[tokio::test]
async fn where_the_bank_makes_one_payment_of_one_key_an_unknown_outcome_is_followed_by_another_attempt(
    #[case] died: bool,
) {
    let app = TestApp::start_with(&[("PISP_DEDUPE_PROVEN", "true")]).await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    if died {
        dies_before_it_sends(&app).await;
    } else {
        app.sandbox.fault(Operation::Payment, Fault::ExecuteThenDrop, 1);
        app.run_jobs().await;
        app.advance(TimeDelta::seconds(2)).await;
    }
    app.run_jobs().await;
    assert!(shown(&anna, &id).await["scaRedirect"].is_string());
    assert!(!needs_review(&app).await);
    let sent = app.sandbox.journal().entries_of(Operation::Payment);
    assert!(
        sent.iter()
            .all(|entry| entry.header("x-request-id") == sent[0].header("x-request-id"))
    );
    assert_eq!(sent.len(), if died { 1 } else { 2 });
    assert_eq!(app.sandbox.neonomics().payments().len(), 1);
    app.abandon().await;
}

#[tokio::test]
async fn an_answer_that_is_lost_is_reviewed_and_nothing_is_sent_again() {
    alerts::listen();
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    app.sandbox.fault(Operation::Payment, Fault::ExecuteThenDrop, 1);
    app.run_jobs().await;
    app.advance(TimeDelta::seconds(20)).await;
    app.run_jobs().await;
    assert!(needs_review(&app).await);
    assert_eq!(app.sandbox.journal().entries_of(Operation::Payment).len(), 1);
    assert_eq!(alerts::words(&id), ["needs review: the bank may have the payment"]);
    app.abandon().await;
}

#[tokio::test]
async fn an_order_that_may_have_arrived_is_not_sent_again_for_a_user_who_may_not_pay_any_more() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    ordered(&app, &anna, &account).await;
    app.sandbox.fault(Operation::Payment, Fault::status(500), 1);
    app.run_jobs().await;
    execute(&app, "UPDATE users SET kyc_status = 'rejected'").await;
    app.advance(TimeDelta::seconds(2)).await;
    app.run_jobs().await;
    assert_eq!(app.sandbox.journal().entries_of(Operation::Payment).len(), 1);
    assert!(needs_review(&app).await);
    assert_eq!(audited(&app, "payment.needs_review").await, 1);
    app.abandon().await;
}

#[tokio::test]
async fn what_did_not_leave_is_tried_again_after_1_2_and_4_seconds_and_then_every_ten() {
    let mut app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    ordered(&app, &anna, &account).await;
    app.reconfigure_worker(&[("NEONOMICS_CLIENT_SECRET", "a-secret-that-is-not-known-there")]);
    for seconds in [1.0, 2.0, 4.0, 10.0, 10.0] {
        app.run_jobs().await;
        let sql = "SELECT extract(epoch FROM run_at - clock_timestamp())::float8 FROM jobs
                    WHERE kind = 'initiate-payment' AND state = 'ready' AND attempt = unused";
        let wait: f64 = value(&app, sql).await;
        // Half of it less the time since, to one and a half times.
        assert!(
            (seconds * 0.5 - 0.4..=seconds * 1.5).contains(&wait),
            "{wait} for {seconds}"
        );
        app.advance(TimeDelta::seconds(15)).await;
    }
    assert!(app.sandbox.neonomics().payments().is_empty());
    app.abandon().await;
}

#[tokio::test]
async fn the_bank_is_told_the_persons_browser_with_their_address() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let asked = anna.request("/v1/transactions").header("User-Agent", "Drop/7 (test)");
    let asked = asked
        .header("Idempotency-Key", "first")
        .json(&order(&account, "2010.00"));
    assert_eq!(asked.send().await.unwrap().status(), 201);
    let sent = app.sandbox.journal().entries_of(Operation::Payment);
    assert_eq!(sent[0].header("psu-user-agent"), Some("Drop/7 (test)"));
    assert!(sent[0].header("psu-ip-address").is_some());
    for look in app.sandbox.journal().entries_of(Operation::PaymentStatus) {
        assert_eq!(
            (look.header("psu-user-agent"), look.header("psu-ip-address")),
            (None, None)
        );
    }
    app.finish().await;
}

#[tokio::test]
async fn a_bank_that_refuses_our_own_standing_calls_for_a_person() {
    alerts::listen();
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let expired = Fault::Status {
        code: 401,
        body: Some(json!({ "tppMessages": [{ "category": "ERROR", "code": "CERTIFICATE_EXPIRED" }] })),
    };
    app.sandbox.fault(Operation::Payment, expired, 1);
    let refused = pays(&anna, &account, "first").await;
    assert_eq!(
        (&refused.body["status"], &refused.body["reason"]),
        (&json!("failed"), &json!("refused"))
    );
    let id = refused.body["id"].as_str().unwrap();
    let said = "the bank refuses our own standing: the provider refused with 401";
    assert_eq!(alerts::words(id), [said]);
    app.finish().await;
}

#[tokio::test]
async fn a_fresh_token_that_is_refused_too_is_told_and_the_payment_was_not_sent_and_waits() {
    alerts::listen();
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    let refused = Fault::Status {
        code: 401,
        body: Some(json!({ "tppMessages": [{ "category": "ERROR", "code": "TOKEN_EXPIRED" }] })),
    };
    app.sandbox.fault(Operation::Payment, refused, 2);
    let tokens = || app.sandbox.journal().entries_of(Operation::NeonomicsToken).len();
    let before = tokens();
    app.run_jobs().await;
    assert_eq!(
        tokens(),
        before + 2,
        "one at first, one in the place of what was refused"
    );
    assert!(app.sandbox.neonomics().payments().is_empty());
    assert_eq!(alerts::about(&id), ["payment"]);
    assert_eq!(shown(&anna, &id).await["status"], "processing");
    let outcome: String = value(&app, "SELECT outcome FROM payment_attempts").await;
    assert_eq!(outcome, "not_sent");
    app.advance(TimeDelta::seconds(2)).await;
    app.run_jobs().await;
    assert!(shown(&anna, &id).await["scaRedirect"].is_string());
    let sent = app.sandbox.journal().entries_of(Operation::Payment);
    assert_eq!(sent.len(), 3);
    let key = sent[0].header("x-request-id");
    assert!(sent.iter().all(|entry| entry.header("x-request-id") == key));
    app.abandon().await;
}

#[tokio::test]
async fn a_status_that_the_answer_to_a_new_payment_lacks_is_read_within_seconds() {
    let app = TestApp::start().await;
    app.sandbox.neonomics().configure(|bank| {
        bank.initial_status = "ACSC".to_owned();
        bank.left_out = vec!["transactionStatus".to_owned()];
    });
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    app.run_jobs().await;
    let payment = shown(&anna, &id).await;
    assert_eq!(
        (&payment["status"], &payment["bankStatus"]),
        (&json!("processing"), &json!(null))
    );
    assert!(payment["scaRedirect"].is_string(), "nothing is invented about it");
    app.advance(TimeDelta::seconds(2)).await;
    app.run_jobs().await;
    let payment = shown(&anna, &id).await;
    assert_eq!(
        (&payment["status"], &payment["bankStatus"]),
        (&json!("completed"), &json!("ACSC"))
    );
    app.off_contract().finish().await;
}

#[tokio::test]
async fn a_payment_that_was_created_without_an_id_is_reviewed_and_never_sent_again() {
    let app = TestApp::start().await;
    app.sandbox
        .neonomics()
        .configure(|bank| bank.left_out = vec!["paymentId".to_owned()]);
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    app.run_jobs().await;
    app.advance(TimeDelta::seconds(20)).await;
    app.run_jobs().await;
    assert!(needs_review(&app).await);
    assert_eq!(
        shown(&anna, &id).await["scaRedirect"],
        json!(null),
        "nobody is sent to pay what we cannot follow"
    );
    assert_eq!(app.sandbox.neonomics().payments().len(), 1);
    app.off_contract().abandon().await;
}

#[tokio::test]
async fn an_order_whose_time_passes_while_it_waits_for_a_token_does_not_leave() {
    let app = TestApp::start().await;
    // A token that is never good for long enough: each call asks for another.
    app.sandbox.neonomics().configure(|bank| bank.token_seconds = 1);
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    rewrite(
        &app,
        "UPDATE transactions SET expires_at = clock_timestamp() + interval '1 s'",
    )
    .await;
    app.sandbox
        .fault(Operation::NeonomicsToken, Fault::Delay { ms: 1_500 }, 1);
    for _ in 0..2 {
        app.run_jobs().await;
        execute(
            &app,
            "UPDATE jobs SET run_at = clock_timestamp() WHERE state = 'ready' AND kind = 'initiate-payment'",
        )
        .await;
    }
    assert_eq!(app.sandbox.journal().entries_of(Operation::Payment).len(), 0);
    let shown = shown(&anna, &id).await;
    assert_eq!(
        (&shown["status"], &shown["reason"]),
        (&json!("failed"), &json!("not_sent"))
    );
    app.abandon().await;
}
