//! A bank that accepts a payment with a change (ACWC): what it will pay is read, shown and compared.

use chrono::TimeDelta;
use drop_sandbox::{Fault, Operation};
use drop_tests::{alerts, app::TestApp, person::SignedIn};
use rstest::rstest;
use serde_json::{Value, json};

use crate::paying::{approved, at_the_bank, audited, rewrite, shown, value};

/// A payment that the bank has accepted with a change, as a read of it shows.
async fn changed(app: &TestApp, person: &SignedIn<'_>, order: Value) -> String {
    app.sandbox.neonomics().configure(|bank| {
        bank.progression = vec!["ACWC".to_owned(), "ACSC".to_owned()];
        bank.changed_order = Some(order);
    });
    let account = person.has_an_account().await;
    let payment = at_the_bank(app, person, &account).await;
    approved(app, &payment.link); // and the person closes the browser
    payment.id
}

/// The next look at the bank.
async fn look(app: &TestApp) {
    app.advance(TimeDelta::seconds(61)).await;
    app.run_jobs().await;
}

fn reads(app: &TestApp) -> usize {
    app.sandbox.journal().entries_of(Operation::PaymentRead).len()
}

#[rstest]
#[case::less(json!({ "instructedAmount": { "amount": "2009.50", "currency": "NOK" } }), "2009.50", "NOK", true)]
#[case::another_currency(json!({ "instructedAmount": { "amount": "2010.00", "currency": "EUR" } }), "2010.00", "EUR", true)]
#[case::another_day(json!({ "requestedExecutionDate": "2999-12-31" }), "2010.00", "NOK", true)]
#[case::nothing_of_these(json!({ "creditorName": "MARKO PETROVIC" }), "2010.00", "NOK", false)]
#[tokio::test]
async fn the_banks_amount_is_shown_and_a_difference_is_told_once(
    #[case] order: Value,
    #[case] amount: &str,
    #[case] currency: &str,
    #[case] differs: bool,
) {
    alerts::listen();
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let id = changed(&app, &anna, order).await;
    assert_eq!(shown(&anna, &id).await["bankAmount"], Value::Null);
    look(&app).await;
    let payment = shown(&anna, &id).await;
    assert_eq!(
        (&payment["status"], &payment["bankStatus"]),
        (&json!("processing"), &json!("ACWC"))
    );
    assert_eq!(payment["bankAmount"], json!({ "amount": amount, "currency": currency }));
    assert_eq!(
        payment["instructedAmount"],
        json!({ "amount": "2010.00", "currency": "NOK" })
    );
    let told: &[&str] = if differs { &["accepted_with_change"] } else { &[] };
    assert_eq!(alerts::words(&id), told);
    assert_eq!((reads(&app), audited(&app, "payment.bank_order_read").await), (1, 1));

    look(&app).await;
    let payment = shown(&anna, &id).await;
    assert_eq!(
        (&payment["status"], &payment["bankFinal"]),
        (&json!("completed"), &json!(true))
    );
    assert_eq!(payment["bankAmount"]["amount"], amount);
    assert_eq!(alerts::words(&id), told);
    assert_eq!(reads(&app), 1);
    app.finish().await;
}

#[tokio::test]
async fn an_order_that_could_not_be_read_is_read_with_the_next_look_even_after_the_last_word() {
    alerts::listen();
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let id = changed(
        &app,
        &anna,
        json!({ "instructedAmount": { "amount": "1.00", "currency": "NOK" } }),
    )
    .await;
    app.sandbox.fault(Operation::PaymentRead, Fault::status(503), 1);
    look(&app).await;
    assert_eq!(shown(&anna, &id).await["bankAmount"], Value::Null);
    assert!(alerts::about(&id).is_empty());
    look(&app).await;
    let payment = shown(&anna, &id).await;
    assert_eq!(
        (&payment["bankFinal"], &payment["bankAmount"]["amount"]),
        (&json!(true), &json!("1.00"))
    );
    assert_eq!(alerts::words(&id), ["accepted_with_change"]);
    app.finish().await;
}

#[rstest]
#[case::no_answer(None, json!({}))]
#[case::no_such_currency(None, json!({ "instructedAmount": { "amount": "1.00", "currency": "XXX" } }))]
#[case::no_exact_amount(None, json!({ "instructedAmount": { "amount": "1.005", "currency": "NOK" } }))]
#[case::refused(Some(403), json!({}))]
#[tokio::test]
async fn a_bank_that_never_says_what_it_changed_is_told_with_its_last_word(
    #[case] status: Option<u16>,
    #[case] order: Value,
) {
    alerts::listen();
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let unreadable = order == json!({});
    let id = changed(&app, &anna, order).await;
    if unreadable {
        let fault = status.map_or(Fault::Garbage, Fault::status);
        app.sandbox.fault(Operation::PaymentRead, fault, 2);
    }
    look(&app).await;
    assert!(alerts::about(&id).is_empty());
    look(&app).await;
    let payment = shown(&anna, &id).await;
    assert_eq!(
        (&payment["status"], &payment["bankAmount"]),
        (&json!("completed"), &Value::Null)
    );
    assert_eq!(
        (reads(&app), alerts::words(&id)),
        (2, vec!["accepted_with_change".to_owned()])
    );
    let change: String = value(&app, "SELECT bank_change FROM transactions").await;
    assert_eq!(change, "unread");
    app.finish().await;
}

#[tokio::test]
async fn the_day_of_an_order_that_was_sent_again_is_the_day_on_which_it_was() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let today: String = value(&app, "SELECT (now() AT TIME ZONE 'Europe/Oslo')::date::text").await;
    let id = changed(&app, &anna, json!({ "requestedExecutionDate": today })).await;
    rewrite(
        &app,
        "UPDATE transactions SET created_at = created_at - interval '2 days'",
    )
    .await;
    app.run_jobs().await;
    look(&app).await;
    assert_eq!(
        value::<String>(&app, "SELECT bank_change FROM transactions").await,
        "same",
        "{id}"
    );
    app.abandon().await;
}
