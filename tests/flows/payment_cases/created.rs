//! What a bank's 201 says, and what it leaves out (cases 17 to 20).

use std::time::Duration;

use drop_sandbox::{Fault, Operation};
use drop_tests::{alerts, app::TestApp, person::browser};
use serde_json::json;

use crate::{
    paying::{audited, pays, shown, value},
    payment_faults::scene::{Payer, a_minute_passes, approves, recovers},
};

#[tokio::test]
async fn a_payment_without_a_link_that_can_be_trusted_is_shown_without_one_and_looked_at_by_a_person() {
    alerts::listen();
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let bank = app.sandbox.neonomics();
    for links in [
        json!({}),
        json!({ "startAuthorisation": { "href": "/v1/payments/x/authorisations" } }),
        json!({ "scaRedirect": { "href": "javascript:alert(1)" } }),
        json!({ "scaRedirect": { "href": "http://dnb.no/sca" } }),
        json!({ "scaRedirect": { "href": "https://dnb.no.evil.example/sca" } }),
    ] {
        bank.configure(|bank| bank.links = Some(links.clone()));
        let id = payer.orders().await;
        recovers(&app).await;
        let stands = shown(&payer.person, &id).await;
        assert_eq!(
            (&stands["status"], &stands["bankStatus"]),
            (&json!("processing"), &json!("RCVD")),
            "{links}"
        );
        assert!(stands["scaRedirect"].is_null(), "{links}: {stands}");
        assert_eq!(alerts::about(&id), ["payment"], "{links}");
        app.check_the_books().await;
    }
    app.finish().await;
}

#[tokio::test]
async fn an_order_whose_outcome_only_a_person_can_find_out_is_answered_at_once() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.sandbox.fault(Operation::Payment, Fault::ExecuteThenDrop, 1);
    // The whole wait is ten seconds.
    let answer = tokio::time::timeout(Duration::from_secs(7), pays(&anna, &account, "first")).await;
    let answer = answer.expect("nothing more comes within the wait");
    assert_eq!(
        (answer.status.as_u16(), &answer.body["status"]),
        (202, &json!("processing")),
        "{:?}",
        answer.problem()
    );
    let id = answer.body["id"].as_str().unwrap();
    assert_eq!(answer.location, Some(format!("/v1/transactions/{id}")));
    assert!(value::<bool>(&app, "SELECT needs_review FROM transactions").await);
    app.abandon().await; // its job is dead, for a person to see
}

#[tokio::test]
async fn what_the_bank_says_at_once_counts_and_what_it_leaves_out_is_not_made_up() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let bank = app.sandbox.neonomics();
    bank.configure(|bank| bank.initial_status = "RJCT".to_owned());
    let order = payer.next_order();
    payer.asks(&order).await;
    app.run_jobs().await;
    let rejected = payer.asks(&order).await;
    let shown_at_once = &rejected.body;
    assert_eq!(
        (
            &shown_at_once["status"],
            &shown_at_once["reason"],
            &shown_at_once["bankFinal"]
        ),
        (&json!("failed"), &json!("bank_rejected"), &json!(true))
    );
    assert!(shown_at_once["scaRedirect"].is_null(), "{shown_at_once}");
    bank.configure(|bank| bank.initial_status = "RCVD".to_owned());

    // Without a status there is none until it is read.
    let silent = payer.orders().await;
    let created = json!({ "paymentId": "pay_silent", "_links": { "scaRedirect": { "href": app.sandbox.url() } } });
    app.sandbox.fault(
        Operation::Payment,
        Fault::Status {
            code: 201,
            body: Some(created.clone()),
        },
        1,
    );
    app.run_jobs().await;
    let stands = shown(&payer.person, &silent).await;
    assert_eq!(
        (&stands["status"], &stands["bankStatus"]),
        (&json!("processing"), &json!(null))
    );
    assert_eq!(stands["scaRedirect"], created["_links"]["scaRedirect"]["href"]);
    let read = Fault::Status {
        code: 200,
        body: Some(json!({ "transactionStatus": "PDNG" })),
    };
    app.sandbox.fault(Operation::PaymentStatus, read, 1);
    a_minute_passes(&app).await;
    app.run_jobs().await;
    assert_eq!(shown(&payer.person, &silent).await["bankStatus"], "PDNG");
    app.finish().await;
}

#[tokio::test]
async fn a_banks_id_that_is_another_payments_overwrites_nothing_and_calls_for_a_person() {
    alerts::listen();
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let (first, link) = payer.has_one_at_the_bank().await;
    let known = app.sandbox.neonomics().payments()[0].id.clone();
    let second = payer.orders().await;
    let created = json!({ "paymentId": known, "transactionStatus": "RCVD" });
    app.sandbox.fault(
        Operation::Payment,
        Fault::Status {
            code: 201,
            body: Some(created),
        },
        1,
    );
    recovers(&app).await;
    assert_eq!(payer.standing(&second).await, "review");
    assert!(alerts::about(&second).contains(&"payment".to_owned()));
    let sent = app.sandbox.journal().entries_of(Operation::Payment);
    assert_eq!(sent.len(), 2, "it is not sent again");
    assert_eq!(shown(&payer.person, &first).await["scaRedirect"], link.as_str());
    approves(&app, &link).await;
    recovers(&app).await;
    assert_eq!(payer.standing(&first).await, "completed");
    assert_eq!(payer.standing(&second).await, "review");
    assert_eq!(audited(&app, "payment.needs_review").await, 1);
    let callback = format!("{}/api/payments/callback?paymentId={known}", app.url);
    assert_eq!(browser().get(callback).send().await.unwrap().status(), 401);
    app.abandon().await;
}
