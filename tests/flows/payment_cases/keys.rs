//! One key is one payment (cases 1 to 7).

use chrono::TimeDelta;
use drop_sandbox::Operation;
use drop_tests::{
    app::{TestApp, eventually},
    person::Answer,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::paying::{approved, audited, order, pays, shown, value};

/// The bank's orders under each `X-Request-ID`.
fn request_ids(app: &TestApp) -> Vec<String> {
    let orders = app.sandbox.neonomics().payments();
    orders.into_iter().map(|order| order.request_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_at_once_with_one_key_are_one_row_one_call_and_equal_answers() {
    let app = TestApp::start().await;
    let (anna, marko) = (app.signed_in("anna").await, app.signed_in("marko").await);
    let (hers, his) = (anna.has_an_account().await, marko.has_an_account().await);
    let key = "6f1c2b8e-52c4-4f0b-9a53-1d1c63f0a6f1";
    let answers = join_all((0..50).map(|_| pays(&anna, &hers, key))).await;

    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses, [201; 50]);
    assert_eq!(
        answers.iter().filter(|answer| !answer.replayed).count(),
        1,
        "one of them was the first"
    );
    let still = |answer: &Answer| {
        let mut shown = answer.body.clone();
        // A look at the bank may come between two answers.
        for moving in ["bankStatus", "version", "updatedAt"] {
            shown[moving].take();
        }
        shown
    };
    let first = still(&answers[0]);
    assert!(first["scaRedirect"].is_string());
    for answer in &answers {
        assert_eq!(still(answer), first);
    }
    assert_eq!(value::<i64>(&app, "SELECT count(*) FROM transactions").await, 1);
    assert_eq!(app.sandbox.journal().entries_of(Operation::Payment).len(), 1);
    assert_eq!(request_ids(&app), [key], "the client's key is what the bank gets");

    // Neither another amount nor another payee under the same key changes anything, or reaches the bank.
    let (amount, mut payee) = (order(&hers, "2011.00"), order(&hers, "2010.00"));
    payee["creditorName"] = json!("Somebody Else");
    for other in [amount, payee] {
        let reused = anna.post_keyed("/v1/transactions", key, &other).await;
        assert_eq!(reused.problem(), (422, "idempotency_key_reused"));
    }
    assert_eq!(value::<i64>(&app, "SELECT count(*) FROM transactions").await, 1);
    assert_eq!(app.sandbox.journal().entries_of(Operation::Payment).len(), 1);

    // Somebody else's equal key is another payment, of which neither sees anything.
    let own = pays(&marko, &his, key).await;
    assert_eq!((own.status.as_u16(), own.replayed), (201, false), "{:?}", own.problem());
    assert_ne!(own.body["id"], first["id"]);
    let keys = request_ids(&app);
    assert_eq!((keys.len(), keys.iter().filter(|id| *id == key).count()), (2, 1));
    for (person, foreign) in [(&marko, &first), (&anna, &own.body)] {
        let path = format!("/v1/transactions/{}", foreign["id"].as_str().unwrap());
        assert_eq!(person.get(&path).await.problem(), (404, "not_found"));
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_those_that_looked_for_a_key_before_it_was_stored_find_it_under_the_lock() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    // All four have looked in vain, and wait for her lock.
    let mut held = app.db.begin().await.unwrap();
    let hold = "SELECT 1 FROM users FOR UPDATE";
    sqlx::query(hold).execute(&mut *held).await.unwrap();
    let goes_on = async {
        let waiting =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let all_wait = async || value::<i64>(&app, waiting).await == 4;
        assert!(eventually(all_wait).await, "they do not wait");
        held.rollback().await.unwrap();
    };
    let (answers, ()) = tokio::join!(join_all((0..4).map(|_| pays(&anna, &account, "one"))), goes_on);
    for answer in &answers {
        assert_eq!(answer.status, 201, "{:?}", answer.problem());
        assert_eq!(answer.body["id"], answers[0].body["id"]);
    }
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert_eq!(app.sandbox.journal().entries_of(Operation::Payment).len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_second_click_is_the_same_payment_whatever_form_its_key_has_and_a_malformed_key_is_400() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    for (number, key) in ["not-a-uuid:7!", "0190a5a4-7c7e-7d5a-b8a1-f2d3c4b5a697"]
        .iter()
        .enumerate()
    {
        let wanted = order(&account, &format!("{}.00", 100 + number));
        let first = anna.post_keyed("/v1/transactions", key, &wanted).await;
        let second = anna.post_keyed("/v1/transactions", key, &wanted).await;
        assert_eq!(
            (first.status.as_u16(), first.replayed),
            (201, false),
            "{:?}",
            first.problem()
        );
        assert_eq!(
            (second.status.as_u16(), second.replayed),
            (201, true),
            "{:?}",
            second.problem()
        );
        assert_eq!(first.body["id"], second.body["id"]);
        // The quotes of a structured field are not part of it.
        let quoted = anna
            .post_keyed("/v1/transactions", &format!("\"{key}\""), &wanted)
            .await;
        assert_eq!((&quoted.body["id"], quoted.replayed), (&first.body["id"], true));
    }
    let sent = app.sandbox.journal().entries_of(Operation::Payment);
    let keys: Vec<_> = sent.iter().map(|post| post.header("x-request-id").unwrap()).collect();
    assert_eq!(keys.len(), 2, "one call each");
    assert!(
        Uuid::try_parse(keys[0]).is_ok(),
        "a key of our own in place of one that is no UUID"
    );
    assert_eq!(keys[1], "0190a5a4-7c7e-7d5a-b8a1-f2d3c4b5a697");

    let nameless = anna.request("/v1/transactions").json(&order(&account, "5.00"));
    let mut refused = vec![Answer::of(nameless.send().await.unwrap()).await];
    for key in ["", "\"\"", &"k".repeat(300), "two words", "æ"] {
        let request = anna.request("/v1/transactions").json(&order(&account, "5.00"));
        let request = request.header("Idempotency-Key", key.as_bytes());
        refused.push(Answer::of(request.send().await.unwrap()).await);
    }
    for answer in refused {
        assert_eq!(answer.problem(), (400, "bad_request"));
        assert_eq!(answer.body["errors"][0]["field"], "Idempotency-Key");
    }
    assert_eq!(value::<i64>(&app, "SELECT count(*) FROM transactions").await, 2);
    app.finish().await;
}

#[tokio::test]
async fn an_equal_payment_after_the_first_is_over_is_allowed_and_the_audit_names_the_first_for_a_minute() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let mut last: Option<String> = None;
    for (key, seconds) in [("first", 0), ("second", 5), ("third", 61)] {
        app.advance(TimeDelta::seconds(seconds)).await;
        let paid = pays(&anna, &account, key).await;
        assert_eq!(paid.status, 201, "{:?}", paid.problem());
        let id = paid.body["id"].as_str().unwrap().to_owned();
        let repeats =
            format!("SELECT detail -> 'repeats' FROM audit_log WHERE action = 'payment.requested' AND object = '{id}'");
        let named: Value = value(&app, &repeats).await;
        assert_eq!(named.as_str(), last.as_deref().filter(|_| seconds < 60), "{key}");

        let back = approved(&app, paid.body["scaRedirect"].as_str().unwrap());
        drop_tests::person::browser().get(back).send().await.unwrap();
        let is_final = async || shown(&anna, &id).await["bankFinal"] == true;
        assert!(drop_tests::app::eventually(is_final).await);
        last = Some(id);
    }
    assert_eq!(audited(&app, "payment.requested").await, 3);
    app.finish().await;
}
