//! Taking a payment back.

use chrono::TimeDelta;
use drop_sandbox::{Decision, Fault, Operation};
use drop_tests::{
    app::{TestApp, eventually},
    person::{Answer, SignedIn},
};
use rstest::rstest;
use serde_json::json;

use crate::paying::{anna_at_the_bank, approved, at_the_bank, audited, execute, ordered, pays, shown, value};

/// Asks to take it back, without waiting for the bank.
async fn cancels(person: &SignedIn<'_>, id: &str) -> Answer {
    let request = person.request(&format!("/v1/transactions/{id}/cancel"));
    Answer::of(request.header("Prefer", "respond-async").send().await.unwrap()).await
}

/// `status`, `cancellation` and `bankFinal`.
async fn standing(person: &SignedIn<'_>, id: &str) -> (String, String, bool) {
    let shown = shown(person, id).await;
    let text = |name: &str| shown[name].as_str().unwrap_or_default().to_owned();
    (text("status"), text("cancellation"), shown["bankFinal"] == true)
}

fn stands(status: &str, cancellation: &str, bank_final: bool) -> (String, String, bool) {
    (status.to_owned(), cancellation.to_owned(), bank_final)
}

fn withdrawals(app: &TestApp) -> usize {
    app.sandbox.journal().entries_of(Operation::PaymentCancel).len()
}

async fn held(app: &TestApp) -> i64 {
    value(app, "SELECT held FROM bank_accounts").await
}

#[tokio::test]
async fn a_payment_that_has_not_left_is_cancelled_at_once_and_is_never_sent() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    assert_eq!(held(&app).await, 201_000);
    let answer = cancels(&anna, &id).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["status"]),
        (200, &json!("cancelled"))
    );
    assert_eq!(standing(&anna, &id).await, stands("cancelled", "done", true));
    assert_eq!(held(&app).await, 0);
    assert_eq!(cancels(&anna, &id).await.status, 200, "asking again changes nothing");
    app.run_jobs().await;
    assert!(app.sandbox.neonomics().payments().is_empty());
    let replayed = pays(&anna, &account, "first").await;
    assert_eq!(
        (replayed.status.as_u16(), &replayed.body["status"]),
        (201, &json!("cancelled"))
    );
    assert_eq!(audited(&app, "payment.cancellation_requested").await, 1);
    app.finish().await;
}

#[tokio::test]
async fn a_payment_that_waits_for_approval_is_withdrawn_and_final_with_the_banks_next_word() {
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    let asked = cancels(&anna, &payment.id).await;
    assert_eq!(
        (asked.status.as_u16(), &asked.body["cancellation"]),
        (202, &json!("requested"))
    );
    assert_eq!(asked.location, Some(format!("/v1/transactions/{}", payment.id)));
    assert_eq!(
        cancels(&anna, &payment.id).await.status,
        202,
        "one wish, however often it is said"
    );
    app.sandbox.fault(Operation::PaymentStatus, Fault::status(503), 1);
    app.run_jobs().await;
    assert_eq!(withdrawals(&app), 1);
    assert_eq!(standing(&anna, &payment.id).await, stands("cancelled", "done", false));
    app.advance(TimeDelta::seconds(61)).await;
    app.run_jobs().await;
    assert_eq!(standing(&anna, &payment.id).await, stands("cancelled", "done", true));
    assert_eq!(held(&app).await, 0);
    let told: Vec<String> = sqlx::query_scalar("SELECT title FROM notifications WHERE kind = 'payment'")
        .fetch_all(&app.db)
        .await
        .unwrap();
    assert_eq!(told, ["Betalingen er avbrutt"]);
    app.finish().await;
}

#[tokio::test]
async fn the_answer_waits_for_the_bank() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let payment = pays(&anna, &account, "first").await;
    let id = payment.body["id"].as_str().unwrap();
    let request = anna.request(&format!("/v1/transactions/{id}/cancel"));
    let answer = Answer::of(request.send().await.unwrap()).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["cancellation"]),
        (200, &json!("done"))
    );
    let is_final = async || standing(&anna, id).await.2;
    assert!(eventually(is_final).await, "the bank is asked for its last word");
    app.finish().await;
}

#[tokio::test]
async fn a_payment_that_the_bank_has_accepted_is_not_cancelled_and_its_word_counts() {
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    // Approved, and nobody has come back to say so.
    approved(&app, &payment.link);
    assert_eq!(cancels(&anna, &payment.id).await.status, 202);
    app.run_jobs().await;
    let (status, cancellation, _) = standing(&anna, &payment.id).await;
    assert_ne!(status, "cancelled");
    assert_eq!(cancellation, "refused");
    for _ in 0..5 {
        app.advance(TimeDelta::seconds(61)).await;
        app.run_jobs().await;
    }
    assert_eq!(standing(&anna, &payment.id).await, stands("completed", "refused", true));
    assert_eq!(cancels(&anna, &payment.id).await.problem(), (409, "conflict"));
    app.finish().await;
}

#[tokio::test]
async fn a_bank_that_wants_an_approval_for_it_has_cancelled_nothing_and_can_be_asked_again() {
    let app = TestApp::start().await;
    let bank = app.sandbox.neonomics();
    bank.configure(|bank| bank.cancel_needs_approval = true);
    let (anna, payment) = anna_at_the_bank(&app).await;
    cancels(&anna, &payment.id).await;
    app.run_jobs().await;
    assert_eq!(
        standing(&anna, &payment.id).await,
        stands("processing", "unconfirmed", false)
    );
    bank.configure(|bank| bank.cancel_needs_approval = false);
    assert_eq!(cancels(&anna, &payment.id).await.status, 202);
    app.run_jobs().await;
    assert_eq!(standing(&anna, &payment.id).await.1, "done");
    assert_eq!(withdrawals(&app), 2);
    app.finish().await;
}

#[rstest]
#[case::of_a_payment_that_has_ended(true, stands("completed", "refused", true))]
#[case::of_one_that_the_bank_may_still_stop(false, stands("processing", "unconfirmed", false))]
#[tokio::test]
async fn a_wish_that_nobody_could_tell_the_bank_is_answered_all_the_same(
    #[case] has_ended: bool,
    #[case] so: (String, String, bool),
) {
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    assert_eq!(cancels(&anna, &payment.id).await.status, 202);
    let the_job = "UPDATE jobs SET run_at = clock_timestamp() + interval '1 h' WHERE kind = 'cancel-payment'";
    execute(&app, the_job).await;
    if has_ended {
        approved(&app, &payment.link);
        while !standing(&anna, &payment.id).await.2 {
            execute(
                &app,
                "UPDATE jobs SET run_at = clock_timestamp() WHERE kind = 'poll-payment'",
            )
            .await;
            app.run_jobs().await;
        }
    }
    let its_end = "UPDATE jobs SET expires_at = clock_timestamp() - interval '1 s' WHERE kind = 'cancel-payment'";
    execute(&app, its_end).await;
    app.run_jobs().await;
    assert_eq!(standing(&anna, &payment.id).await, so);
    assert_eq!(withdrawals(&app), 0);
    assert_eq!(audited(&app, "payment.cancellation_answered").await, 1);
    app.abandon().await; // its job is dead, for a person to see
}

#[tokio::test]
async fn a_bank_that_does_not_answer_leaves_the_payment_to_its_own_course() {
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    app.sandbox.fault(Operation::PaymentCancel, Fault::status(503), 1);
    cancels(&anna, &payment.id).await;
    app.run_jobs().await;
    assert_eq!(
        standing(&anna, &payment.id).await,
        stands("processing", "unconfirmed", false)
    );
    approved(&app, &payment.link);
    for _ in 0..5 {
        app.advance(TimeDelta::seconds(61)).await;
        app.run_jobs().await;
    }
    assert_eq!(
        standing(&anna, &payment.id).await,
        stands("completed", "unconfirmed", true)
    );
    app.finish().await;
}

#[tokio::test]
async fn a_wish_that_comes_while_the_payment_is_being_sent_is_carried_out_once_the_bank_has_it() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    app.sandbox.fault(Operation::Payment, Fault::Delay { ms: 1_500 }, 1);
    let wishes = async {
        let sending = async || value::<i64>(&app, "SELECT count(*) FROM payment_attempts").await == 1;
        assert!(eventually(sending).await, "it is not being sent");
        cancels(&anna, &id).await
    };
    let (_, asked) = tokio::join!(app.run_jobs(), wishes);
    assert_eq!(asked.status, 202, "{:?}", asked.problem());
    app.advance(TimeDelta::seconds(2)).await;
    app.run_jobs().await;
    assert_eq!(app.sandbox.neonomics().payments().len(), 1);
    assert_eq!(standing(&anna, &id).await.1, "done");
    assert_eq!(withdrawals(&app), 1);
    app.finish().await;
}

#[tokio::test]
async fn an_order_that_was_taken_back_while_it_could_not_leave_is_not_sent_any_more() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    // The bank could not be reached, and the wish came meanwhile.
    execute(
        &app,
        "INSERT INTO payment_attempts (transaction_id, job_attempt, body_hash, outcome, finished_at)
         SELECT id, 1, fingerprint, 'not_sent', clock_timestamp() FROM transactions;
         UPDATE transactions SET cancellation = 'requested'",
    )
    .await;
    app.run_jobs().await;
    assert_eq!(app.sandbox.neonomics().payments().len(), 0);
    assert_eq!(standing(&anna, &id).await, stands("cancelled", "done", true));
    app.finish().await;
}

#[tokio::test]
async fn only_the_owner_can_take_a_payment_back_and_only_while_it_is_processing() {
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    app.start_worker().await;
    let marko = app.signed_in("marko").await;
    let unknown = "tx_0190a5a47c7e7d5ab8a1f2d3c4b5a697";
    for id in [payment.id.as_str(), unknown, "tx_x"] {
        assert_eq!(cancels(&marko, id).await.problem(), (404, "not_found"), "{id}");
    }
    let decided = app.sandbox.bank().decide_at(&payment.link, Decision::Reject);
    decided.unwrap();
    app.advance(TimeDelta::seconds(61)).await;
    crate::paying::becomes(&anna, &payment.id, "failed").await;
    assert_eq!(cancels(&anna, &payment.id).await.problem(), (409, "conflict"));
    assert_eq!(withdrawals(&app), 0);
    app.finish().await;
}

#[tokio::test]
async fn behind_an_open_circuit_the_bank_is_not_asked_and_what_has_not_left_is_cancelled_all_the_same() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let sent = at_the_bank(&app, &anna, &account).await;
    let order = crate::paying::order(&account, "99.00");
    let unsent = anna.post_later("/v1/transactions", "second", &order).await;
    let unsent = unsent.body["id"].as_str().unwrap();
    crate::paying::execute(
        &app,
        "UPDATE breaker SET open = true, opened_at = clock_timestamp(), retry_at = clock_timestamp() + interval '60 s'
          WHERE key = 'neonomics/pisp'",
    )
    .await;
    let refused = cancels(&anna, &sent.id).await;
    assert_eq!(refused.problem(), (502, "circuit_open"));
    assert!(refused.retry_after.is_some_and(|seconds| (1..=60).contains(&seconds)));
    assert_eq!(standing(&anna, &sent.id).await, stands("processing", "", false));
    assert_eq!(cancels(&anna, unsent).await.status, 200);
    assert_eq!(standing(&anna, unsent).await, stands("cancelled", "done", true));
    app.abandon().await;
}
