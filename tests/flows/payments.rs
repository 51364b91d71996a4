//! Payments as their owner asks for them (contract 3.3, 4 and 5).

use chrono::TimeDelta;
use drop_common::{
    domain::account_number::{AccountNumber, Scheme},
    keyring::Keyring,
};
use drop_sandbox::{Account, Decision, Fault, Operation};
use drop_tests::app::{TestApp, eventually};
use serde_json::json;

use crate::paying::{audited, becomes, execute, order, ordered, pays, pays_later, shown, value};

#[tokio::test]
async fn a_payment_is_approved_at_the_bank_and_completes() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let paid = pays(&anna, &account, "first").await;
    assert_eq!(paid.status, 201, "{:?}", paid.problem());
    assert_eq!(paid.body["status"], "processing");
    let id = paid.body["id"].as_str().unwrap();
    anna.decides(paid.body["scaRedirect"].as_str().unwrap(), Decision::Approve)
        .await;
    becomes(&anna, id, "completed").await;
    assert_eq!(app.sandbox.neonomics().payments().len(), 1);
    for (action, actor) in [("payment.requested", "user"), ("payment.initiated", "worker")] {
        let sql =
            format!("SELECT count(*) FROM audit_log WHERE (action, actor, object) = ('{action}', '{actor}', '{id}')");
        assert_eq!(value::<i64>(&app, &sql).await, 1, "{action}");
    }
    app.finish().await;
}

#[tokio::test]
async fn the_same_key_is_the_same_payment_and_another_order_under_it_is_422() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let (one, other) = tokio::join!(pays(&anna, &account, "same"), pays(&anna, &account, "same"));
    assert_eq!((one.status.as_u16(), other.status.as_u16()), (201, 201));
    assert_eq!(one.body["id"], other.body["id"]);
    assert!(one.replayed != other.replayed, "one of them was the first");
    let reused = anna
        .post_keyed("/v1/transactions", "same", &order(&account, "2011.00"))
        .await;
    assert_eq!(reused.problem(), (422, "idempotency_key_reused"));
    assert_eq!(app.sandbox.neonomics().payments().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_known_key_is_answered_201_while_the_first_request_runs_and_while_the_circuit_is_open() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    execute(
        &app,
        "UPDATE breaker SET open = true, opened_at = clock_timestamp(), retry_at = clock_timestamp() + interval '60 s'
          WHERE key = 'neonomics/pisp'",
    )
    .await;
    let again = pays_later(&anna, &account, "first").await;
    assert_eq!(
        (again.status.as_u16(), again.replayed),
        (201, true),
        "{:?}",
        again.problem()
    );
    assert_eq!(
        (&again.body["id"], &again.body["status"]),
        (&json!(id), &json!("processing"))
    );
    let other = anna
        .post_keyed("/v1/transactions", "second", &order(&account, "50.00"))
        .await;
    assert_eq!(other.problem(), (502, "circuit_open"));
    assert!(other.retry_after.is_some());
    app.abandon().await;
}

#[tokio::test]
async fn two_people_with_one_key_at_the_same_moment_have_a_payment_each() {
    let app = TestApp::start().await;
    let (anna, marko) = (app.signed_in("anna").await, app.signed_in("marko").await);
    let (hers, his) = (anna.has_an_account().await, marko.has_an_account().await);
    app.stop_worker().await;
    let key = "6f1c2b8e-52c4-4f0b-9a53-1d1c63f0a6f1";
    // The first to come has written its row and cannot commit; the second then waits for it at the index.
    let mut gate = app.db.begin().await.unwrap();
    sqlx::query("LOCK TABLE jobs IN EXCLUSIVE MODE")
        .execute(&mut *gate)
        .await
        .unwrap();
    let waiting = async |count: i64| {
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        assert!(
            eventually(async || value::<i64>(&app, waits).await == count).await,
            "{count}"
        );
    };
    let second = async {
        waiting(1).await;
        let opened = async {
            waiting(2).await;
            gate.commit().await.unwrap();
        };
        tokio::join!(pays_later(&marko, &his, key), opened).0
    };
    let (one, other) = tokio::join!(pays_later(&anna, &hers, key), second);
    assert_eq!(
        (one.status.as_u16(), other.status.as_u16()),
        (202, 202),
        "{:?}",
        other.problem()
    );
    assert_ne!(one.body["id"], other.body["id"]);
    app.run_jobs().await;
    let sent = app.sandbox.neonomics().payments();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent.iter().filter(|payment| payment.request_id == key).count(), 1);
    app.abandon().await;
}

#[tokio::test]
async fn an_equal_payment_under_another_key_names_the_first_and_passes_when_it_is_confirmed() {
    // The account's index was made with a key that has been replaced since.
    let old_key = [7; 32];
    let app = TestApp::start_with(&[
        ("DROP_ENCRYPTION_KEY_ID", "2"),
        (
            "DROP_ENCRYPTION_KEY_PREVIOUS",
            "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
        ),
        ("DROP_ENCRYPTION_KEY_PREVIOUS_ID", "1"),
    ])
    .await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let first = pays(&anna, &account, "first").await;
    let payee = AccountNumber::parse(Scheme::Bban, "265-1234567-89").unwrap();
    let index = Keyring::new(1, &old_key, &[])
        .unwrap()
        .blind_index("account", payee.canonical_secret());
    let mut tx = app.db.begin().await.unwrap();
    // Nobody may change whom a payment pays.
    sqlx::raw_sql("ALTER TABLE transactions DISABLE TRIGGER a_payment_keeps_its_rules")
        .execute(&mut *tx)
        .await
        .unwrap();
    let rewritten =
        sqlx::query("UPDATE transactions SET creditor_account_index = $1 WHERE creditor_account_index <> $1")
            .bind(index)
            .execute(&mut *tx)
            .await
            .unwrap();
    assert_eq!(rewritten.rows_affected(), 1);
    sqlx::raw_sql("ALTER TABLE transactions ENABLE TRIGGER a_payment_keeps_its_rules")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let alike = pays(&anna, &account, "second").await;
    assert_eq!(alike.problem(), (409, "possible_duplicate"));
    let id = first.body["id"].as_str().unwrap();
    assert_eq!(alike.location, Some(format!("/v1/transactions/{id}")));
    assert_eq!(alike.retry_after, Some(60), "when the first is worth another look");
    let mut confirmed = order(&account, "2010.00");
    confirmed["confirmDuplicateOf"] = json!(id);
    let twice = anna.post_keyed("/v1/transactions", "second", &confirmed).await;
    assert_eq!(twice.status, 201, "{:?}", twice.problem());
    assert_ne!(twice.body["id"], first.body["id"]);
    app.finish().await;
}

#[tokio::test]
async fn a_payment_in_another_currency_than_that_of_the_limits_is_refused() {
    let app = TestApp::start().await;
    app.sandbox.neonomics().set_accounts(vec![Account {
        iban: "NO9386011117947".to_owned(),
        bban: None,
        currency: "EUR".to_owned(),
        name: "Valutakonto".to_owned(),
        product: "Valutakonto".to_owned(),
        minor: 10_000_000,
    }]);
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let mut wanted = order(&account, "50.00");
    wanted["instructedAmount"]["currency"] = json!("EUR");
    let refused = anna.post_keyed("/v1/transactions", "first", &wanted).await;
    assert_eq!(refused.problem(), (422, "validation_failed"));
    assert_eq!(refused.body["errors"][0]["field"], "instructedAmount.currency");
    let kroner = pays(&anna, &account, "second").await;
    assert_eq!(kroner.body["errors"][0]["field"], "instructedAmount.currency");
    assert_eq!(value::<i64>(&app, "SELECT count(*) FROM transactions").await, 0);
    app.finish().await;
}

#[tokio::test]
async fn a_lane_that_falls_behind_takes_no_new_payment_and_still_answers_a_known_key() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    app.advance(TimeDelta::seconds(6)).await;
    let refused = anna
        .post_later("/v1/transactions", "second", &order(&account, "50.00"))
        .await;
    assert_eq!(refused.problem(), (503, "overloaded"));
    assert!(refused.retry_after.is_some());
    assert_eq!(
        audited(&app, "payment.requested").await,
        1,
        "the second was not started"
    );
    let again = pays_later(&anna, &account, "first").await;
    assert_eq!((again.status.as_u16(), &again.body["id"]), (201, &json!(id)));
    app.run_jobs().await;
    let taken = anna
        .post_later("/v1/transactions", "second", &order(&account, "50.00"))
        .await;
    assert_eq!(taken.status, 202, "{:?}", taken.problem());
    app.abandon().await;
}

#[tokio::test]
async fn a_bank_that_asks_for_fewer_calls_is_sent_no_payment_for_that_long() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.sandbox
        .fault(Operation::Payment, Fault::Limited { retry_after: 20 }, 1);
    let limited = pays(&anna, &account, "first").await;
    assert_eq!(
        (
            limited.status.as_u16(),
            &limited.body["status"],
            &limited.body["reason"]
        ),
        (201, &json!("failed"), &json!("rate_limited"))
    );
    let refused = pays(&anna, &account, "second").await;
    assert_eq!(refused.problem(), (503, "overloaded"));
    assert!(
        matches!(refused.retry_after, Some(10..=20)),
        "{:?}",
        refused.retry_after
    );
    app.advance(TimeDelta::seconds(21)).await;
    assert_eq!(pays(&anna, &account, "second").await.status, 201);
    app.finish().await;
}

#[tokio::test]
async fn a_bank_that_answers_500_opens_the_circuit_and_the_next_payment_is_502_circuit_open() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.sandbox.fault(Operation::Payment, Fault::status(500), 3);
    let first = pays(&anna, &account, "first").await;
    assert_eq!(first.problem(), (502, "circuit_open"));
    let refused = anna
        .post_keyed("/v1/transactions", "second", &order(&account, "50.00"))
        .await;
    assert_eq!(refused.problem(), (502, "circuit_open"));
    let rows: Vec<String> = sqlx::query_scalar("SELECT status FROM transactions")
        .fetch_all(&app.db)
        .await
        .unwrap();
    assert_eq!(rows, ["processing"], "the first stays, the second was never written");
    app.abandon().await;
}

#[tokio::test]
async fn who_does_not_wait_gets_202_and_finds_the_link_at_the_location() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.stop_worker().await;
    let accepted = pays_later(&anna, &account, "first").await;
    assert_eq!(accepted.status, 202, "{:?}", accepted.problem());
    let location = accepted.location.clone().expect("a location");
    assert!(anna.get(&location).await.body["scaRedirect"].is_null());
    app.run_jobs().await;
    let link = anna.get(&location).await.body["scaRedirect"].clone();
    assert!(link.is_string(), "{link}");
    let again = pays(&anna, &account, "first").await;
    assert_eq!((again.status.as_u16(), &again.body["scaRedirect"]), (201, &link));
    assert_eq!(
        shown(&anna, again.body["id"].as_str().unwrap()).await["scaRedirect"],
        link
    );
    app.finish().await;
}
