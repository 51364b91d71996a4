//! A payment at the bank: the person's approval, their return, and their staying away (contract 3.3 and 5).

use chrono::TimeDelta;
use drop_sandbox::{Decision, Fault, Operation};
use drop_tests::{
    alerts,
    app::{TestApp, eventually},
    person::{Answer, SignedIn, browser},
};
use rstest::rstest;
use serde_json::{Value, json};

use crate::paying::{anna_at_the_bank, approved, at_the_bank, audited, busy, execute, pays, shown, value};

/// What a person is told once it is certain that a payment was not made.
const NOT_MADE: &str = "Betalingen ble ikke gjennomført|Prøv igjen.";

async fn opens(address: &str) -> Answer {
    Answer::of(browser().get(address).send().await.unwrap()).await
}

fn calls(app: &TestApp, operation: Operation) -> usize {
    app.sandbox.journal().entries_of(operation).len()
}

/// What the last message to the person says.
async fn told(app: &TestApp) -> String {
    value(
        app,
        "SELECT title || '|' || body FROM notifications WHERE kind = 'payment' ORDER BY id DESC LIMIT 1",
    )
    .await
}

async fn ended(person: &SignedIn<'_>, id: &str) -> (Value, Value, Value) {
    let mut shown = shown(person, id).await;
    (
        shown["status"].take(),
        shown["reason"].take(),
        shown["bankFinal"].take(),
    )
}

fn timed_out(bank_final: bool) -> (Value, Value, Value) {
    (json!("failed"), json!("sca_timeout"), json!(bank_final))
}

#[tokio::test]
async fn a_person_who_never_approves_has_failed_when_the_time_is_over_and_the_order_is_withdrawn() {
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    app.advance(TimeDelta::seconds(290)).await;
    app.run_jobs().await;
    assert_eq!(shown(&anna, &payment.id).await["status"], "processing");
    app.advance(TimeDelta::seconds(11)).await;
    app.run_jobs().await;
    assert_eq!(ended(&anna, &payment.id).await, timed_out(false));
    assert_eq!(told(&app).await, NOT_MADE, "the bank has taken the order back");
    let withdrawn: bool = value(
        &app,
        "SELECT (detail -> 'withdrawn')::boolean FROM audit_log WHERE action = 'payment.sca_timeout'",
    )
    .await;
    assert!(withdrawn);
    // So its last word is asked for soon, and the same may be paid again; nothing more is told.
    app.advance(TimeDelta::seconds(2)).await;
    app.run_jobs().await;
    assert_eq!(ended(&anna, &payment.id).await, timed_out(true));
    assert_eq!(
        value::<i64>(&app, "SELECT count(*) FROM notifications WHERE kind = 'payment'").await,
        1
    );
    app.finish().await;
}

#[rstest]
#[case::rejected("RJCT", "bank_rejected")]
#[case::cancelled("CANC", "sca_timeout")]
#[tokio::test]
async fn a_person_who_was_told_to_wait_hears_what_the_bank_said(#[case] word: &str, #[case] reason: &str) {
    let app = TestApp::start().await;
    let bank = app.sandbox.neonomics();
    bank.configure(|bank| bank.cancel_needs_approval = true);
    let (anna, payment) = anna_at_the_bank(&app).await;
    app.advance(TimeDelta::seconds(301)).await;
    app.run_jobs().await;
    assert_eq!(ended(&anna, &payment.id).await, timed_out(false));
    assert!(
        told(&app).await.contains("Ikke betal på nytt"),
        "the bank may still complete it"
    );
    bank.set_payment_status(&bank.payments()[0].id, word).unwrap();
    app.advance(TimeDelta::seconds(61)).await;
    app.run_jobs().await;
    assert_eq!(
        ended(&anna, &payment.id).await,
        (json!("failed"), json!(reason), json!(true))
    );
    assert_eq!(told(&app).await, NOT_MADE);
    app.finish().await;
}

#[tokio::test]
async fn a_payment_that_is_gone_after_its_withdrawal_is_over_and_nobody_is_alerted() {
    alerts::listen();
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    app.advance(TimeDelta::seconds(301)).await;
    app.run_jobs().await;
    app.sandbox.fault(Operation::PaymentStatus, Fault::status(404), 1);
    app.advance(TimeDelta::seconds(61)).await;
    app.run_jobs().await;
    assert_eq!(ended(&anna, &payment.id).await, timed_out(true));
    assert_eq!(value::<i64>(&app, "SELECT held FROM bank_accounts").await, 0);
    assert!(alerts::about(&payment.id).is_empty());
    app.finish().await;
}

#[tokio::test]
async fn a_payment_that_is_gone_and_was_not_withdrawn_is_reviewed_once_and_polled_on() {
    alerts::listen();
    let app = TestApp::start().await;
    let bank = app.sandbox.neonomics();
    bank.configure(|bank| bank.cancel_needs_approval = true);
    let (anna, payment) = anna_at_the_bank(&app).await;
    app.advance(TimeDelta::seconds(301)).await;
    app.run_jobs().await;
    let withdrawn: bool = value(
        &app,
        "SELECT (detail -> 'withdrawn')::boolean FROM audit_log WHERE action = 'payment.sca_timeout'",
    )
    .await;
    assert!(!withdrawn, "the bank asked for an approval and cancelled nothing");
    app.sandbox.fault(Operation::PaymentStatus, Fault::status(404), 2);
    for _ in 0..2 {
        app.advance(TimeDelta::seconds(121)).await;
        app.run_jobs().await;
    }
    assert_eq!(ended(&anna, &payment.id).await, timed_out(false));
    assert_eq!(alerts::about(&payment.id), ["payment"]);
    assert!(value::<bool>(&app, "SELECT needs_review FROM transactions").await);
    bank.set_payment_status(&bank.payments()[0].id, "ACSC").unwrap();
    app.advance(TimeDelta::seconds(121)).await;
    app.run_jobs().await;
    assert_eq!(
        value::<String>(&app, "SELECT status FROM transactions").await,
        "completed"
    );
    app.finish().await;
}

#[rstest]
#[case::unknown_there(404)]
#[case::not_done_here(501)]
#[case::not_allowed(405)]
#[case::not_understood(400)]
#[tokio::test]
async fn where_a_bank_withdraws_no_orders_one_that_it_does_not_know_later_is_looked_at_by_a_person(#[case] code: u16) {
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    app.sandbox.fault(Operation::PaymentCancel, Fault::status(code), 1);
    app.advance(TimeDelta::seconds(301)).await;
    app.run_jobs().await;
    assert_eq!(ended(&anna, &payment.id).await, timed_out(false));
    app.sandbox.fault(Operation::PaymentStatus, Fault::status(404), 1);
    app.advance(TimeDelta::seconds(121)).await;
    app.run_jobs().await;
    assert_eq!(ended(&anna, &payment.id).await, timed_out(false));
    assert!(value::<bool>(&app, "SELECT needs_review FROM transactions").await);
    assert_eq!(calls(&app, Operation::PaymentCancel), 1);
    app.off_contract().abandon().await;
}

#[tokio::test]
async fn one_mistaken_404_gives_up_no_order_whose_withdrawal_got_lost() {
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    app.sandbox.fault(Operation::PaymentCancel, Fault::Drop, 1);
    app.advance(TimeDelta::seconds(301)).await;
    app.run_jobs().await;
    assert_eq!(ended(&anna, &payment.id).await, timed_out(false));
    approved(&app, &payment.link);
    app.sandbox.fault(Operation::PaymentStatus, Fault::status(404), 1);
    for _ in 0..4 {
        app.advance(TimeDelta::seconds(61)).await;
        app.run_jobs().await;
    }
    assert_eq!(calls(&app, Operation::PaymentCancel), 2, "asked once more");
    assert_eq!(
        ended(&anna, &payment.id).await,
        (json!("completed"), Value::Null, json!(true))
    );
    app.finish().await;
}

#[tokio::test]
async fn who_comes_back_while_the_bank_is_asked_has_not_timed_out_and_the_bank_is_asked_again() {
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    app.advance(TimeDelta::seconds(301)).await;
    app.sandbox
        .fault(Operation::PaymentStatus, Fault::Delay { ms: 1_500 }, 1);
    let before = calls(&app, Operation::PaymentStatus);
    let returns = async {
        let asked = async || calls(&app, Operation::PaymentStatus) > before;
        assert!(eventually(asked).await, "the bank is not asked");
        opens(&approved(&app, &payment.link)).await
    };
    let (_, returned) = tokio::join!(app.run_jobs(), returns);
    assert_eq!(returned.status, 200, "{:?}", returned.problem());
    assert_eq!(calls(&app, Operation::PaymentCancel), 0);
    assert_eq!(calls(&app, Operation::PaymentStatus), before + 2, "asked again at once");
    assert_eq!(shown(&anna, &payment.id).await["status"], "completed");
    app.abandon().await;
}

#[tokio::test]
async fn an_order_that_the_bank_will_not_withdraw_is_looked_at_again_before_it_counts_as_timed_out() {
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    app.advance(TimeDelta::seconds(301)).await;
    approved(&app, &payment.link); // and the person closes the browser
    let early = Fault::Status {
        code: 200,
        body: Some(json!({ "transactionStatus": "RCVD" })),
    };
    app.sandbox.fault(Operation::PaymentStatus, early, 1);
    app.run_jobs().await;
    assert_eq!(calls(&app, Operation::PaymentCancel), 1);
    assert_eq!(shown(&anna, &payment.id).await["status"], "completed");
    app.abandon().await;
}

#[tokio::test]
async fn a_person_whom_the_bank_rejected_is_told_to_try_again_and_not_to_wait() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let paid = pays(&anna, &account, "first").await;
    let id = paid.body["id"].as_str().unwrap();
    anna.decides(paid.body["scaRedirect"].as_str().unwrap(), Decision::Reject)
        .await;
    let rejected = async || shown(&anna, id).await["status"] == "failed";
    assert!(eventually(rejected).await);
    assert_eq!(told(&app).await, NOT_MADE);
    app.finish().await;
}

#[tokio::test]
async fn a_forged_callback_is_404_and_does_not_even_let_the_bank_be_asked() {
    let app = TestApp::start().await;
    let (anna, marko) = (app.signed_in("anna").await, app.signed_in("marko").await);
    let account = anna.has_an_account().await;
    let payment = at_the_bank(&app, &anna, &account).await;
    app.advance(TimeDelta::seconds(100)).await;
    app.run_jobs().await;
    let (asked, back) = (calls(&app, Operation::PaymentStatus), approved(&app, &payment.link));
    let id = &payment.id;
    let at_bank = app.sandbox.neonomics().payments()[0].id.clone();
    for forged in [
        anna.get(&format!(
            "/api/payments/callback?transaction={id}&state=forged&status=ACSC"
        ))
        .await,
        marko.get(&format!("/api/payments/callback?paymentId={at_bank}")).await,
    ] {
        assert_eq!(forged.problem(), (404, "not_found"));
    }
    app.run_jobs().await;
    assert_eq!(calls(&app, Operation::PaymentStatus), asked);
    assert_eq!(shown(&anna, id).await["status"], "processing");
    assert_eq!(audited(&app, "payment.callback_refused").await, 2);

    assert_eq!(opens(&back).await.status, 200);
    app.run_jobs().await;
    assert_eq!(shown(&anna, id).await["status"], "completed", "the real one does");
    app.abandon().await;
}

#[tokio::test]
async fn the_callback_shows_the_payment_to_its_owner_only_and_sends_a_browser_to_the_result_page() {
    let page = "https://getdrop.no/paid";
    let app = TestApp::start_with(&[("DROP_PAYMENT_RESULT_URL", page)]).await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    let back = approved(&app, &payment.link);
    let by_bank = format!(
        "/api/payments/callback?paymentId={}",
        app.sandbox.neonomics().payments()[0].id
    );

    let anybody = opens(&back).await;
    let standing = json!({ "id": payment.id, "status": "processing", "bankFinal": false });
    assert_eq!((anybody.status.as_u16(), anybody.body), (200, standing));
    assert_eq!(
        opens(&format!("{}{by_bank}", app.url)).await.problem(),
        (401, "unauthenticated")
    );

    let path = back.strip_prefix(&app.url).unwrap();
    for path in [path, &by_bank] {
        let owner = anna.get(path).await;
        assert_eq!(owner.status, 200, "{:?}", owner.problem());
        assert_eq!(owner.body["instructedAmount"]["amount"], "2010.00");
    }
    let request = browser()
        .get(&back)
        .header("Accept", "text/html,application/xhtml+xml;q=0.9");
    let sent_on = Answer::of(request.send().await.unwrap()).await;
    assert_eq!(sent_on.status, 303);
    assert_eq!(sent_on.location, Some(format!("{page}?transaction={}", payment.id)));
    app.run_jobs().await;
    assert_eq!(shown(&anna, &payment.id).await["status"], "completed");
    app.abandon().await;
}

#[tokio::test]
async fn polling_outlives_a_busy_database_without_using_up_its_attempts() {
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    let back = approved(&app, &payment.link);
    opens(&back).await;
    let mut gate = app.db.begin().await.unwrap();
    sqlx::query("LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *gate)
        .await
        .unwrap();
    app.run_jobs().await;
    gate.rollback().await.unwrap();
    let polls = "SELECT attempt - unused FROM jobs WHERE kind = 'poll-payment' AND state = 'ready' AND attempt > 0";
    assert_eq!(value::<i32>(&app, polls).await, 0);
    app.advance(TimeDelta::seconds(5)).await;
    app.run_jobs().await;
    assert_eq!(shown(&anna, &payment.id).await["status"], "completed");
    app.abandon().await;
}

#[tokio::test]
async fn what_the_bank_says_is_written_although_the_database_is_busy_at_first() {
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    app.advance(TimeDelta::seconds(301)).await;
    busy(&app, "TRIGGER busy BEFORE UPDATE ON transactions FOR EACH ROW", 2).await;
    app.run_jobs().await;
    assert_eq!(ended(&anna, &payment.id).await, timed_out(false));
    assert_eq!(calls(&app, Operation::PaymentCancel), 1);
    app.abandon().await;
}

#[tokio::test]
async fn a_payment_that_is_not_asked_for_any_more_is_reviewed_whatever_its_poll_died_of() {
    alerts::listen();
    let app = TestApp::start().await;
    let (_, payment) = anna_at_the_bank(&app).await;
    // A word that a newer release wrote: this one cannot read the row.
    execute(
        &app,
        "UPDATE transactions SET bank_status = 'NEWER'; UPDATE jobs SET max_attempts = 1 WHERE kind = 'poll-payment'",
    )
    .await;
    app.advance(TimeDelta::seconds(5)).await;
    app.run_jobs().await;
    let poll: String = value(&app, "SELECT state FROM jobs WHERE kind = 'poll-payment'").await;
    assert_eq!(poll, "dead");
    assert!(value::<bool>(&app, "SELECT needs_review FROM transactions").await);
    assert_eq!(audited(&app, "payment.needs_review").await, 1);
    assert_eq!(alerts::about(&payment.id), ["payment"]);
    execute(&app, "UPDATE transactions SET bank_status = 'RCVD'").await;
    app.abandon().await;
}
