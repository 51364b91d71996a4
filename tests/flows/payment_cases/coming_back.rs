//! The way back from the bank, and the bank's words after it (cases 21 to 35).

use chrono::TimeDelta;
use drop_sandbox::{Decision, Fault, Operation};
use drop_tests::{
    alerts,
    app::{TestApp, eventually},
    person::{Answer, browser},
};
use rstest::rstest;
use serde_json::json;

use crate::{
    paying::{approved, order, shown, value},
    payment_faults::scene::{Payer, a_minute_passes, approves, recovers},
};

async fn comes_back(address: &str) -> Answer {
    Answer::of(browser().get(address).send().await.unwrap()).await
}

/// The bank's id of the payment that it got last.
fn newest(app: &TestApp) -> drop_sandbox::Payment {
    let key = app.sandbox.journal().entries_of(Operation::Payment);
    let key = key.last().unwrap().header("x-request-id").unwrap().to_owned();
    let orders = app.sandbox.neonomics().payments();
    orders.into_iter().find(|order| order.request_id == key).unwrap()
}

async fn polls(app: &TestApp) {
    a_minute_passes(app).await;
    app.run_jobs().await;
}

#[tokio::test]
async fn who_comes_back_before_the_banks_answer_is_stored_sees_processing_and_then_the_end() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let id = payer.orders().await;
    app.sandbox.fault(Operation::Payment, Fault::Delay { ms: 1_000 }, 1);
    let returns = async {
        let arrived = async || !app.sandbox.neonomics().payments().is_empty();
        assert!(eventually(arrived).await, "the order does not arrive");
        let order = newest(&app);
        let back = app.sandbox.bank().decide_payment(&order.id, Decision::Approve);
        let back = back.unwrap().expect("a way back");
        let unknown = "SELECT payment_id IS NULL FROM transactions";
        assert!(value::<bool>(&app, unknown).await, "the answer is not stored yet");
        comes_back(&back).await
    };
    let (_, returned) = tokio::join!(app.run_jobs(), returns);
    assert_eq!(
        (returned.status.as_u16(), &returned.body["status"]),
        (200, &json!("processing"))
    );
    recovers(&app).await;
    assert_eq!(payer.standing(&id).await, "completed");
    app.finish().await;
}

#[tokio::test]
async fn coming_back_ten_times_and_once_more_after_the_end_is_coming_back_once() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let (id, link) = payer.has_one_at_the_bank().await;
    let back = approved(&app, &link);
    for _ in 0..10 {
        assert_eq!(comes_back(&back).await.status, 200);
    }
    recovers(&app).await;
    assert_eq!(payer.standing(&id).await, "completed");
    let after = comes_back(&back).await;
    assert_eq!(
        (after.status.as_u16(), &after.body["status"]),
        (200, &json!("completed"))
    );
    recovers(&app).await;
    let told: i64 = value(&app, "SELECT count(*) FROM notifications WHERE kind = 'payment'").await;
    assert_eq!(told, 1);
    app.finish().await;
}

#[tokio::test]
async fn the_banks_word_counts_whatever_the_way_back_says() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let bank = app.sandbox.neonomics();

    // By the way of an approval, without one.
    let (id, _) = payer.has_one_at_the_bank().await;
    let at_bank = newest(&app);
    assert_eq!(comes_back(&at_bank.redirect).await.status, 200);
    polls(&app).await;
    assert_eq!(payer.standing(&id).await, "processing?");
    bank.set_payment_status(&at_bank.id, "RJCT").unwrap();
    assert_eq!(comes_back(&at_bank.redirect).await.status, 200);
    polls(&app).await;
    assert_eq!(payer.standing(&id).await, "failed:bank_rejected");

    // By the way of a refusal, and the bank has paid.
    let (id, _) = payer.has_one_at_the_bank().await;
    let at_bank = newest(&app);
    bank.set_payment_status(&at_bank.id, "ACSC").unwrap();
    assert_eq!(comes_back(&at_bank.nok_redirect).await.status, 200);
    polls(&app).await;
    assert_eq!(payer.standing(&id).await, "completed");
    app.finish().await;
}

#[tokio::test]
async fn a_payment_that_the_bank_settles_after_its_time_for_approval_is_completed_and_its_owner_told() {
    alerts::listen();
    let app = TestApp::start().await;
    app.sandbox
        .neonomics()
        .configure(|bank| bank.cancel_needs_approval = true);
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let payment = crate::paying::at_the_bank(&app, &anna, &account).await;
    let at_bank = newest(&app);
    app.advance(TimeDelta::seconds(301)).await;
    app.run_jobs().await;
    let soft = shown(&anna, &payment.id).await;
    assert_eq!(
        (&soft["reason"], &soft["bankFinal"]),
        (&json!("sca_timeout"), &json!(false))
    );
    assert_eq!(
        value::<i64>(&app, "SELECT held FROM bank_accounts").await,
        201_000,
        "held until it is over"
    );

    // The same again is asked about while the bank may still pay the first.
    let again = order(&account, "2010.00");
    let alike = anna.post_later("/v1/transactions", "again", &again).await;
    assert_eq!(alike.problem(), (409, "possible_duplicate"));
    let mut confirmed = again.clone();
    confirmed["confirmDuplicateOf"] = json!(payment.id);
    let beside = anna.post_later("/v1/transactions", "again", &confirmed).await;
    assert_eq!(beside.status, 202, "{:?}", beside.problem());

    app.sandbox.neonomics().set_payment_status(&at_bank.id, "ACSC").unwrap();
    app.advance(TimeDelta::seconds(61)).await;
    app.run_jobs().await;
    let late = shown(&anna, &payment.id).await;
    assert_eq!(
        (&late["status"], &late["reason"], &late["bankFinal"]),
        (&json!("completed"), &json!(null), &json!(true))
    );
    assert_eq!(alerts::words(&payment.id), ["late_completion"]);
    let told: Vec<String> =
        sqlx::query_scalar("SELECT title FROM notifications WHERE subject LIKE $1 || '%' ORDER BY id")
            .bind(&payment.id)
            .fetch_all(&app.db)
            .await
            .unwrap();
    assert_eq!(told, ["Betalingen er ikke bekreftet", "Betalingen er fullført"]);
    app.finish().await;
}

#[tokio::test]
async fn whoever_was_told_that_it_ended_hears_that_the_bank_goes_on_with_it() {
    alerts::listen();
    let app = TestApp::start().await;
    let bank = app.sandbox.neonomics();
    bank.configure(|bank| bank.cancel_needs_approval = true);
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let payment = crate::paying::at_the_bank(&app, &anna, &account).await;
    app.advance(TimeDelta::seconds(301)).await;
    app.run_jobs().await;
    assert_eq!(shown(&anna, &payment.id).await["reason"], "sca_timeout");
    for (word, status) in [("ACSP", "processing"), ("ACWP", "processing"), ("ACSC", "completed")] {
        bank.set_payment_status(&newest(&app).id, word).unwrap();
        polls(&app).await;
        assert_eq!(shown(&anna, &payment.id).await["status"], status, "{word}");
    }
    assert_eq!(alerts::words(&payment.id), ["revived"]);
    let told = "SELECT title FROM notifications WHERE kind = 'payment' ORDER BY id";
    let told: Vec<String> = sqlx::query_scalar(told).fetch_all(&app.db).await.unwrap();
    assert_eq!(
        told,
        [
            "Betalingen er ikke bekreftet",
            "Betalingen er likevel på vei",
            "Betalingen er fullført"
        ]
    );
    app.finish().await;
}

#[rstest]
#[case::rejected("RJCT", "failed:bank_rejected", "Betalingen ble ikke gjennomført")]
#[case::cancelled("CANC", "cancelled", "Betalingen er avbrutt")]
#[tokio::test]
async fn a_completion_that_was_provisional_and_is_taken_back_is_told_to_its_owner_and_to_operations(
    #[case] word: &str,
    #[case] end: &str,
    #[case] title: &str,
) {
    alerts::listen();
    let app = TestApp::start().await;
    let bank = app.sandbox.neonomics();
    bank.configure(|bank| bank.progression = vec!["ACCP".to_owned()]);
    let payer = Payer::of(&app).await;
    let (id, link) = payer.has_one_at_the_bank().await;
    approves(&app, &link).await;
    polls(&app).await;
    assert_eq!(payer.standing(&id).await, "completed?");
    assert!(alerts::words(&id).is_empty());
    bank.set_payment_status(&newest(&app).id, word).unwrap();
    polls(&app).await;
    assert_eq!(payer.standing(&id).await, end);
    assert_eq!(alerts::words(&id), ["provisional_reversed"]);
    let told: Vec<String> =
        sqlx::query_scalar("SELECT title FROM notifications WHERE subject LIKE $1 || '%' ORDER BY id")
            .bind(&id)
            .fetch_all(&app.db)
            .await
            .unwrap();
    assert_eq!(told, ["Betalingen er fullført", title]);
    let held: i64 = value(&app, "SELECT held FROM bank_accounts").await;
    assert_eq!(held, 0, "what was held is theirs again");
    polls(&app).await;
    assert_eq!(alerts::words(&id).len(), 1, "and nobody is told again");
    app.finish().await;
}

#[tokio::test]
async fn a_word_that_goes_back_or_that_nobody_knows_moves_nothing_and_the_bank_is_asked_on() {
    alerts::listen();
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let bank = app.sandbox.neonomics();
    let (id, _) = payer.has_one_at_the_bank().await;
    let at_bank = newest(&app).id;
    for (word, stands, alerted) in [
        ("ACSP", "ACSP", 0),
        ("RCVD", "ACSP", 0),
        ("PART", "ACSP", 1),
        ("accp", "ACSP", 2),
        ("", "ACSP", 3),
        ("ACWC", "ACSP", 3), // it comes before ACSP
        ("ACWP", "ACWP", 3),
    ] {
        bank.set_payment_status(&at_bank, word).unwrap();
        polls(&app).await;
        let shown = shown(&payer.person, &id).await;
        assert_eq!(
            (&shown["bankStatus"], &shown["status"]),
            (&json!(stands), &json!("processing")),
            "{word}"
        );
        assert_eq!(alerts::about(&id).len(), alerted, "{word}");
    }
    bank.set_payment_status(&at_bank, "ACSC").unwrap();
    polls(&app).await;
    assert_eq!(payer.standing(&id).await, "completed");

    app.off_contract().finish().await;
}

#[tokio::test]
async fn a_payment_that_the_bank_only_ever_accepts_is_given_to_a_person_after_seven_days() {
    alerts::listen();
    let app = TestApp::start().await;
    app.sandbox
        .neonomics()
        .configure(|bank| bank.progression = vec!["ACCP".to_owned()]);
    let mut payer = Payer::of(&app).await;
    let (id, link) = payer.has_one_at_the_bank().await;
    approves(&app, &link).await;
    recovers(&app).await;
    assert_eq!(payer.standing(&id).await, "completed?");
    app.advance(TimeDelta::days(6)).await;
    app.run_jobs().await;
    assert!(alerts::about(&id).is_empty());
    app.advance(TimeDelta::days(1)).await;
    app.run_jobs().await;
    payer.signs_in_again().await;
    assert_eq!(payer.standing(&id).await, "completed?", "nothing is finished silently");
    assert!(value::<bool>(&app, "SELECT needs_review FROM transactions").await);
    let said = ["unresolved", "needs review: not final after seven days"];
    assert_eq!(alerts::words(&id), said);
    app.abandon().await; // its poll is dead, and a person goes on
}
