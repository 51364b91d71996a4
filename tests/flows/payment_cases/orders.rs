//! Orders that cannot be paid, and limits (cases 39 to 47, 51 and 54).

use drop_tests::app::TestApp;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    paying::{at_the_bank, execute, order, shown, value},
    payment_faults::scene::a_minute_passes,
};

/// Orders from an account, each with one thing wrong; the status and the field that the answer names, if it does.
fn unpayable(own: &str, foreign: &str) -> Vec<(Value, u16, &'static str)> {
    let amount = "instructedAmount.amount";
    let with = |at: &str, value: Value| {
        let mut wanted = order(own, "10.00");
        *wanted.pointer_mut(at).unwrap() = value;
        wanted
    };
    let mut refused = Vec::new();
    for wrong in [
        "0",
        "-0",
        "0.00",
        "-1.00",
        "NaN",
        "1e3",
        "10,50",
        "1.005",
        "+1",
        ".5",
        "5.",
        " 1",
        "",
        "1 000.00",
        "123456789012345",
        "99999999999999999999",
        "1٫00",
    ] {
        refused.push((with("/instructedAmount/amount", json!(wrong)), 422, amount));
    }
    for number in [json!(10), json!(0.1 + 0.2), json!(1.005), json!(null)] {
        refused.push((with("/instructedAmount/amount", number), 422, ""));
    }
    refused.extend([
        (with("/instructedAmount/amount", json!("0.99")), 422, ""), // below the least
        (with("/instructedAmount/amount", json!("100000.01")), 422, ""),
        (
            with("/instructedAmount/currency", json!("nok")),
            422,
            "instructedAmount.currency",
        ),
        (
            with("/instructedAmount/currency", json!("XXX")),
            422,
            "instructedAmount.currency",
        ),
        (
            with("/instructedAmount/currency", json!("EUR")),
            422,
            "instructedAmount.currency",
        ),
        (with("/creditorName", json!("line\nbreak")), 422, "creditorName"),
        (with("/creditorName", json!("😀")), 422, "creditorName"),
        (
            with("/remittanceInformation", json!("x".repeat(141))),
            422,
            "remittanceInformation",
        ),
        (
            with("/creditorAccount", json!({ "iban": "NO9386011117948" })),
            422,
            "creditorAccount.iban",
        ),
        (
            with("/creditorAccount", json!({ "bban": "86011117948" })),
            422,
            "creditorAccount.bban",
        ),
        // To oneself, in each way to write it.
        (
            with("/creditorAccount", json!({ "iban": "no93 8601 1117 947" })),
            422,
            "creditorAccount",
        ),
        (
            with("/creditorAccount", json!({ "bban": "8601.11.17947" })),
            422,
            "creditorAccount",
        ),
        // Somebody else's account, and none.
        (with("/accountId", json!(foreign)), 404, ""),
        (
            with("/accountId", json!("acc_0190a5a47c7e7d5ab8a1f2d3c4b5a697")),
            404,
            "",
        ),
    ]);
    refused
}

#[tokio::test]
async fn an_order_that_cannot_be_paid_is_refused_with_the_field_that_is_wrong_and_leaves_no_row() {
    let app = TestApp::start().await;
    let (anna, marko) = (app.signed_in("anna").await, app.signed_in("marko").await);
    let (hers, his) = (anna.has_an_account().await, marko.has_an_account().await);
    let refused = unpayable(&hers, &his);
    for (number, (wanted, status, field)) in refused.iter().enumerate() {
        let answer = anna
            .post_later("/v1/transactions", &format!("order-{number}"), wanted)
            .await;
        assert_eq!(answer.status.as_u16(), *status, "{wanted}: {}", answer.body);
        if !field.is_empty() {
            assert!(
                answer.body["errors"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|error| error["field"] == *field),
                "{wanted}: {}",
                answer.body
            );
        }
    }
    assert_eq!(value::<i64>(&app, "SELECT count(*) FROM transactions").await, 0);

    // What only looks odd is paid: the texts as banks carry them.
    let mut odd = order(&hers, "10.00");
    odd["creditorName"] = json!("Åse Brønn");
    odd["remittanceInformation"] = json!("x".repeat(140));
    let paid = anna.post_keyed("/v1/transactions", "order-0", &odd).await;
    assert_eq!(paid.status, 201, "a refused key is unused: {:?}", paid.problem());
    let sent = &app.sandbox.neonomics().payments()[0].order;
    assert_eq!(sent["creditorName"], "Ase Bronn");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_payments_at_once_the_one_above_the_days_limit_is_refused_and_the_day_is_that_of_oslo() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.stop_worker().await;
    app.lane("payment.send", "max_ready_age = NULL").await; // nobody sends them, and that is all right
    // Three of 99,000 are more than a quarter of a million; each is more than the account holds by the last balance.
    let asks = async |number: i32| {
        let wanted = order(&account, &format!("99000.{number:02}"));
        anna.post_later("/v1/transactions", &format!("large-{number}"), &wanted)
            .await
    };
    let answers = join_all((0..8).map(asks)).await;
    let count = |status: u16| answers.iter().filter(|answer| answer.status.as_u16() == status).count();
    assert_eq!((count(202), count(422)), (2, 6));
    let refused = answers.iter().find(|answer| answer.status == 422).unwrap();
    assert_eq!(refused.problem(), (422, "limit_exceeded"));
    assert_eq!(value::<i64>(&app, "SELECT count(*) FROM transactions").await, 2);

    let midnight = "date_trunc('day', clock_timestamp() AT TIME ZONE 'Europe/Oslo') AT TIME ZONE 'Europe/Oslo'";
    let made_at = async |moment: &str| {
        let end = "expires_at - created_at"; // how long it may be sent is part of the order
        let sql = format!("UPDATE transactions SET created_at = {moment}, expires_at = {moment} + ({end})");
        execute(&app, &sql).await;
    };
    made_at(midnight).await;
    assert_eq!(
        asks(90).await.problem(),
        (422, "limit_exceeded"),
        "from midnight on it is today"
    );
    made_at(&format!("{midnight} - interval '1 ms'")).await;
    assert_eq!(asks(91).await.status, 202, "before it was yesterday");
    app.abandon().await;
}

#[tokio::test]
async fn what_the_bank_may_still_pay_counts_towards_the_day_whatever_its_owner_was_told() {
    let limits = [("PAYMENT_MAX_MINOR", "300000"), ("PAYMENT_DAILY_MINOR", "300000")];
    let app = TestApp::start_with(&limits).await;
    let bank = app.sandbox.neonomics();
    bank.configure(|bank| bank.cancel_needs_approval = true);
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let payment = at_the_bank(&app, &anna, &account).await;
    execute(&app, "UPDATE transactions SET sca_deadline = clock_timestamp()").await;
    a_minute_passes(&app).await;
    app.run_jobs().await;
    let soft = shown(&anna, &payment.id).await;
    assert_eq!((&soft["status"], &soft["bankFinal"]), (&json!("failed"), &json!(false)));
    let other = order(&account, "1000.00");
    let asks = async || anna.post_later("/v1/transactions", "other", &other).await;
    assert_eq!(asks().await.problem(), (422, "limit_exceeded"));

    bank.set_payment_status(&bank.payments()[0].id, "RJCT").unwrap();
    a_minute_passes(&app).await;
    app.run_jobs().await;
    assert_eq!(shown(&anna, &payment.id).await["bankFinal"], true);
    let accepted = asks().await;
    assert_eq!(accepted.status, 202, "{:?}", accepted.problem());
    app.abandon().await;
}
