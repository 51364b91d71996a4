//! The books show what is wrong: each rule is broken on purpose, in the rows or in what the others wrote down.

use drop_sandbox::{Decision, Fault};
use drop_tests::{
    app::TestApp,
    ledger::{Books, Heard, Row, Rule},
};
use serde_json::json;
use sqlx::AssertSqlSafe;

use super::scene::{Payer, approves, recovers};
use crate::paying::shown;

/// A fault that the books must show.
enum Plant {
    /// In the rows.
    Rows(&'static str),
    /// In what the bank and the people wrote down, or in what was read of the rows.
    Records(fn(&mut Books)),
}

use Plant::{Records, Rows};

/// One payment completed, one rejected, one waits for its approval: in this order.
const COMPLETED: usize = 0;
const REJECTED: usize = 1;
const WAITING: usize = 2;

/// Each rule, and what breaks it.
const FAULTS: [(Rule, Plant); 45] = [
    (Rule::OnePayment, Records(paid_twice)),
    (Rule::OnePayment, Records(ordered_twice)),
    (Rule::OnePayment, Records(ordered_twice_behind_a_500_and_untold)),
    (
        Rule::OnePayment,
        Records(|books| order_of(books, WAITING).authorisations = 2),
    ),
    (
        Rule::OnePayment,
        Records(|books| books.bank.orders[0].request_id.clear()),
    ),
    (
        Rule::OnePayment,
        Rows("UPDATE transactions SET sca_redirect = sca_redirect || '/other'"),
    ),
    (
        Rule::OnePayment,
        Records(|books| first_shown_of(books, WAITING).shown["scaRedirect"] = json!("https://dnb.no/other")),
    ),
    (
        Rule::WrittenBeforeSent,
        Records(|books| books.bank.arrived[1].under_way = Some(Vec::new())),
    ),
    (
        Rule::WrittenBeforeSent,
        Records(|books| books.bank.arrived[1].body_sha256.clear()),
    ),
    (Rule::WrittenBeforeSent, Records(unseen_and_unwritten)),
    (Rule::WrittenBeforeSent, Rows("DELETE FROM payment_attempts")),
    (Rule::OneKeyOnePayment, Records(|books| asked(books).status = 500)),
    (
        Rule::OneKeyOnePayment,
        Records(|books| asked_again(books).shown["id"] = json!("tx_other")),
    ),
    (
        Rule::OneKeyOnePayment,
        Records(|books| asked_again(books).shown["creditorAccount"] = json!("*")),
    ),
    (
        Rule::OneKeyOnePayment,
        Records(|books| asked_again(books).replayed = false),
    ),
    (Rule::OneKeyOnePayment, Records(another_order_accepted)),
    (
        Rule::OneKeyOnePayment,
        Rows("UPDATE transactions SET client_key = client_key || '.'"),
    ),
    (
        Rule::AllowedMoves,
        Rows(
            "INSERT INTO audit_log (actor, action, object, detail)
             SELECT actor, action, object, detail || '{\"to\": \"failed\", \"reason\": \"not_sent\"}' FROM audit_log
              WHERE action = 'payment.moved' AND detail ->> 'to' = 'completed'",
        ),
    ),
    (
        Rule::AllowedMoves,
        Rows("UPDATE transactions SET bank_status = 'ACCC' WHERE status = 'completed'"),
    ),
    (
        Rule::AllowedMoves,
        Rows(
            "INSERT INTO audit_log (actor, action, object) SELECT actor, action, object FROM audit_log
              WHERE action = 'payment.initiated'",
        ),
    ),
    (
        Rule::AllowedMoves,
        Records(|books| books.payments[COMPLETED].story.0.clear()),
    ),
    (Rule::Future, Rows("DELETE FROM jobs")),
    (
        Rule::Future,
        Rows("UPDATE transactions SET authorisation = 'wanted' WHERE status = 'processing'"),
    ),
    (
        Rule::Future,
        Rows("UPDATE jobs SET state = 'done', finished_at = now() WHERE state = 'ready'"),
    ),
    (
        Rule::Future,
        Rows("UPDATE transactions SET needs_review = true WHERE NOT bank_final"),
    ),
    (Rule::Truth, Records(|books| order_of(books, COMPLETED).moved = false)),
    (Rule::Truth, Records(|books| order_of(books, REJECTED).moved = true)),
    (
        Rule::Truth,
        Records(|books| "ACSP".clone_into(&mut order_of(books, REJECTED).status)),
    ),
    (
        Rule::Truth,
        Records(|books| books.payments[REJECTED].state.bank_status = None),
    ),
    (
        Rule::Truth,
        Records(|books| "completed".clone_into(&mut books.payments[WAITING].state.status)),
    ),
    (
        Rule::SentAsAsked,
        Records(|books| books.bank.posts[0].body["instructedAmount"]["amount"] = json!("11.00")),
    ),
    (
        Rule::SentAsAsked,
        Rows("UPDATE payment_attempts SET body_hash = sha256('')"),
    ),
    (Rule::SentAgain, Records(sent_again_after_201)),
    (Rule::SentAgain, Records(sent_five_times)),
    (Rule::SentAgain, Records(sent_again_after_a_500_that_forbids_it)),
    (Rule::Unwanted, Records(|books| books.bank.arrived[0].unwanted = true)),
    (
        Rule::Unwanted,
        Rows(
            "INSERT INTO audit_log (at, actor, action, object)
             SELECT a.sent_at - interval '1 ms', 'user', 'payment.cancellation_requested', 'tx_' || replace(a.transaction_id::text, '-', '')
               FROM payment_attempts a",
        ),
    ),
    (
        Rule::ToldOnce,
        Rows("DELETE FROM notifications WHERE subject LIKE '%:completed'"),
    ),
    (
        Rule::ToldOnce,
        Rows(
            "ALTER TABLE notifications DROP CONSTRAINT notifications_kind_subject_key;
             INSERT INTO notifications (id, user_id, kind, title, body, subject)
             SELECT gen_random_uuid(), user_id, kind, title, body, subject FROM notifications WHERE kind = 'payment'",
        ),
    ),
    (
        Rule::ShownAsItWas,
        Records(|books| first_shown_of(books, WAITING).shown["status"] = json!("failed")),
    ),
    (Rule::Holds, Rows("UPDATE bank_accounts SET held = held + 1")),
    (
        Rule::ToldOnce,
        Rows(
            "UPDATE notifications SET subject = replace(subject, 'failed', 'cancelled') WHERE subject LIKE '%:failed'",
        ),
    ),
    (
        Rule::ShownAsItWas,
        Records(|books| first_shown_of(books, WAITING).user.clear()),
    ),
    (
        Rule::ShownAsItWas,
        Records(|books| first_shown_of(books, WAITING).shown["id"] = json!("tx_lost")),
    ),
    (
        Rule::Holds,
        Rows(
            "UPDATE bank_accounts a SET held = held - t.hold FROM transactions t WHERE t.status = 'processing';
             UPDATE transactions SET hold = 0 WHERE status = 'processing'",
        ),
    ),
];

fn paid_twice(books: &mut Books) {
    let mut second = order_of(books, COMPLETED).clone();
    second.id += "2";
    books.bank.orders.push(second);
}

fn ordered_twice(books: &mut Books) {
    paid_twice(books);
    books.bank.orders.last_mut().unwrap().moved = false;
}

fn ordered_twice_behind_a_500_and_untold(books: &mut Books) {
    ordered_twice(books);
    failed_once_before(books);
}

/// An order of the first payment that was answered with 500 although it was executed.
fn failed_once_before(books: &mut Books) {
    let key = books.payments[COMPLETED].request_id.clone();
    let is_its = |post: &&drop_sandbox::Entry| post.header("x-request-id") == Some(key.as_str());
    let mut failed = books.bank.posts.iter().find(is_its).expect("its order").clone();
    (failed.status, failed.fault) = (Some(500), Some(Fault::ExecuteThenStatus { code: 500 }));
    books.bank.posts.insert(0, failed);
}

fn sent_again_after_a_500_that_forbids_it(books: &mut Books) {
    books.retries_5xx = false;
    failed_once_before(books);
}

fn unseen_and_unwritten(books: &mut Books) {
    books.bank.arrived[0].under_way = None;
    books.payments[COMPLETED].attempts.0[0].body_sha256.clear();
}

fn another_order_accepted(books: &mut Books) {
    let again = asked_again(books);
    again.asked.as_mut().unwrap().1["instructedAmount"]["amount"] = json!("99.00");
}

fn sent_again_after_201(books: &mut Books) {
    let first = books.bank.posts[0].clone();
    books.bank.posts.push(first);
}

fn sent_five_times(books: &mut Books) {
    let mut failed = books.bank.posts[0].clone();
    failed.status = Some(503);
    books.bank.posts.splice(0..0, vec![failed; 5]);
}

/// What was made of one of the three at the bank.
fn order_of(books: &mut Books, payment: usize) -> &mut drop_sandbox::Payment {
    let request_id = &books.payments[payment].request_id;
    let of_it = books
        .bank
        .orders
        .iter_mut()
        .find(|order| order.request_id == *request_id);
    of_it.expect("an order")
}

fn first_shown_of(books: &mut Books, payment: usize) -> &mut Heard {
    let id = &books.payments[payment].id;
    let of_it = |heard: &&mut Heard| heard.shown["id"] == **id && heard.shown["scaRedirect"].is_string();
    books.heard.iter_mut().find(of_it).expect("an answer with its link")
}

fn asked(books: &mut Books) -> &mut Heard {
    books
        .heard
        .iter_mut()
        .find(|heard| heard.asked.is_some())
        .expect("an order")
}

/// The answer to the second request with the same key.
fn asked_again(books: &mut Books) -> &mut Heard {
    books.heard.iter_mut().find(|heard| heard.replayed).expect("a replay")
}

#[tokio::test]
async fn each_rule_of_the_books_is_seen_to_be_broken() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    for decision in [Some(Decision::Approve), Some(Decision::Reject), None] {
        let order = payer.next_order();
        payer.asks(&order).await;
        app.run_jobs().await;
        let again = payer.asks(&order).await;
        let (id, link) = (
            again.body["id"].as_str().unwrap(),
            again.body["scaRedirect"].as_str().unwrap(),
        );
        match decision {
            Some(Decision::Approve) => approves(&app, link).await,
            Some(decision) => drop(app.sandbox.bank().decide_at(link, decision).unwrap()),
            None => {}
        }
        recovers(&app).await;
        shown(&payer.person, id).await;
    }
    app.check_the_books().await;
    let states: Vec<_> = app
        .books()
        .await
        .payments
        .iter()
        .map(Row::clone)
        .map(|row| row.state.status)
        .collect();
    assert_eq!(states, ["completed", "failed", "processing"]);

    for (number, (rule, plant)) in FAULTS.into_iter().enumerate() {
        let mut tx = app.db.begin().await.unwrap();
        if let Rows(sql) = plant {
            // The database's own rules would forbid some of them.
            let unruled =
                "ALTER TABLE transactions DISABLE TRIGGER USER; ALTER TABLE payment_attempts DISABLE TRIGGER USER";
            sqlx::raw_sql(unruled).execute(&mut *tx).await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap();
        }
        let mut books = app.books_in(&mut tx).await;
        tx.rollback().await.unwrap();
        if let Records(change) = plant {
            change(&mut books);
        }
        let broken = books.broken();
        assert!(
            broken.iter().any(|broken| broken.rule == rule),
            "fault {number} of {rule:?}: {broken:?}"
        );
    }
    // The one that waits is to be looked at again by now.
    app.run_jobs().await;
    app.check_the_books().await;
    app.finish().await;
}
