//! Payments that a person looks at, settled by what they found out at the bank.

use chrono::TimeDelta;
use drop_sandbox::{Fault, Operation};
use drop_tests::{app::TestApp, person::SignedIn};
use serde_json::{Value, json};

use crate::{
    paying::{execute, order, ordered, pays_later, rewrite, shown, value},
    payment_faults::scene::{Payer, recovers},
};

const BY: [&str; 4] = ["--operator", "kari", "--reason", "asked the bank"];

async fn operator(app: &TestApp, arguments: &[&str]) -> (bool, String) {
    app.operator(env!("CARGO_BIN_EXE_drop-node"), arguments).await
}

pub(crate) async fn does(app: &TestApp, arguments: &[&str]) -> String {
    let (succeeded, said) = operator(app, arguments).await;
    assert!(succeeded, "{arguments:?}: {said}");
    said
}

async fn refuses(app: &TestApp, arguments: &[&str]) -> String {
    let (succeeded, said) = operator(app, arguments).await;
    assert!(!succeeded, "{arguments:?}: {said}");
    said
}

pub(crate) fn with_by<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    arguments.iter().chain(&BY).copied().collect()
}

/// A payment of which nobody knows whether the bank has it: the answer was lost.
async fn in_review(app: &TestApp, person: &SignedIn<'_>, fault: Fault) -> String {
    let account = person.has_an_account().await;
    let id = ordered(app, person, &account).await;
    app.sandbox.fault(Operation::Payment, fault, 1);
    app.run_jobs().await;
    assert!(value::<bool>(app, "SELECT needs_review FROM transactions").await);
    id
}

async fn ended(person: &SignedIn<'_>, id: &str) -> (Value, Value, Value) {
    let mut shown = shown(person, id).await;
    (
        shown["status"].take(),
        shown["reason"].take(),
        shown["bankFinal"].take(),
    )
}

#[tokio::test]
async fn a_payment_in_review_is_listed_with_its_story_and_settled_by_the_banks_final_word() {
    for (code, status, reason) in [
        ("ACSC", "completed", Value::Null),
        ("RJCT", "failed", json!("bank_rejected")),
        ("CANC", "cancelled", Value::Null),
    ] {
        let app = TestApp::start().await;
        let anna = app.signed_in("anna").await;
        let id = in_review(&app, &anna, Fault::ExecuteThenDrop).await;
        let listed: Value = serde_json::from_str(&does(&app, &["payments", "list", "--json"]).await).unwrap();
        assert_eq!(
            (&listed[0]["id"], &listed[0]["status"]),
            (&json!(id), &json!("processing"))
        );
        assert!(listed[0]["why"].as_str().unwrap().contains("the bank may have"));
        let story = does(&app, &["payments", "show", &id]).await;
        for step in [
            "payment.requested",
            "attempt.sent",
            "answer.ambiguous",
            "payment.needs_review",
        ] {
            assert!(story.contains(step), "{step}: {story}");
        }
        does(&app, &with_by(&["payments", "settle", &id, "--bank-status", code])).await;
        assert_eq!(ended(&anna, &id).await, (json!(status), reason, json!(true)));
        assert_eq!(does(&app, &["payments", "list", "--json"]).await.trim(), "[]");
        let (actor, detail): (String, Value) =
            sqlx::query_as("SELECT actor, detail FROM audit_log WHERE action = 'payment.settled'")
                .fetch_one(&app.db)
                .await
                .unwrap();
        assert_eq!((actor.as_str(), &detail["operator"]), ("operator", &json!("kari")));
        assert_eq!(detail["found"]["bank_status"], code);
        let told: i64 = value(&app, "SELECT count(*) FROM notifications WHERE kind = 'payment'").await;
        assert_eq!(told, 1);
        let again = refuses(&app, &with_by(&["payments", "settle", &id, "--bank-status", code])).await;
        assert!(again.contains("does not wait for a person"), "{again}");
        app.abandon().await;
    }
}

#[tokio::test]
async fn a_payment_that_never_got_there_fails_and_its_hold_goes() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let id = in_review(&app, &anna, Fault::status(504)).await;
    assert_eq!(value::<i64>(&app, "SELECT held FROM bank_accounts").await, 201_000);
    does(&app, &with_by(&["payments", "settle", &id, "--never-arrived"])).await;
    assert_eq!(
        ended(&anna, &id).await,
        (json!("failed"), json!("not_sent"), json!(true))
    );
    assert_eq!(value::<i64>(&app, "SELECT held FROM bank_accounts").await, 0);
    app.abandon().await;
}

#[tokio::test]
async fn a_payment_that_the_bank_has_after_all_is_asked_for_until_it_is_final() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let id = in_review(&app, &anna, Fault::ExecuteThenDrop).await;
    let bank = app.sandbox.neonomics();
    let at_bank = bank.payments()[0].id.clone();
    does(&app, &with_by(&["payments", "track", &id, "--payment-id", &at_bank])).await;
    let never = refuses(&app, &with_by(&["payments", "settle", &id, "--never-arrived"])).await;
    assert!(never.contains("does not wait for a person"), "{never}");
    bank.set_payment_status(&at_bank, "ACSC").unwrap();
    app.advance(TimeDelta::seconds(61)).await;
    app.run_jobs().await;
    assert_eq!(ended(&anna, &id).await, (json!("completed"), Value::Null, json!(true)));
    app.abandon().await;
}

#[tokio::test]
async fn a_word_that_is_not_final_or_a_payment_that_is_nobodys_to_settle_changes_nothing() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let id = in_review(&app, &anna, Fault::ExecuteThenDrop).await;
    let unknown = "tx_0190a5a47c7e7d5ab8a1f2d3c4b5a697";
    for arguments in [
        vec!["payments", "settle", &id, "--bank-status", "ACSP"],
        vec!["payments", "settle", &id, "--bank-status", "acsc"],
        vec!["payments", "settle", &id],
        vec!["payments", "settle", &id, "--never-arrived", "--bank-status", "ACSC"],
        vec!["payments", "settle", unknown, "--never-arrived"],
        vec!["payments", "track", unknown, "--payment-id", "pay_1"],
        vec!["payments", "track", &id, "--payment-id", ""],
    ] {
        refuses(&app, &with_by(&arguments)).await;
    }
    refuses(&app, &["payments", "settle", &id, "--never-arrived"]).await;
    assert_eq!(
        ended(&anna, &id).await,
        (json!("processing"), Value::Null, json!(false))
    );
    let changes: i64 = value(&app, "SELECT count(*) FROM audit_log WHERE actor = 'operator'").await;
    assert_eq!(changes, 0);
    app.abandon().await;
}

#[tokio::test]
async fn an_order_that_the_bank_failed_on_every_time_is_sent_again_by_a_person_under_its_key() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let id = payer.orders().await;
    app.sandbox.fault(Operation::Payment, Fault::status(503), 4);
    recovers(&app).await;
    assert_eq!(payer.standing(&id).await, "review");
    let story = does(&app, &["payments", "show", &id]).await;
    assert!(story.contains("the bank failed on every attempt"), "{story}");
    // Its time is over by now: it begins again with whoever asks the bank once more.
    let older = "UPDATE transactions SET created_at = created_at - interval '5 min', expires_at = expires_at - interval '5 min'";
    rewrite(&app, older).await;
    does(&app, &with_by(&["payments", "retry", &id])).await;
    let again = refuses(&app, &with_by(&["payments", "retry", &id])).await;
    assert!(again.contains("does not wait for a person"), "{again}");
    assert_eq!(payer.plays_out(&id).await, "completed");
    let sent = app.sandbox.journal().entries_of(Operation::Payment);
    assert_eq!(sent.len(), 5);
    let key = sent[0].header("x-request-id");
    assert!(sent.iter().all(|post| post.header("x-request-id") == key));
    let detail: Value = value(&app, "SELECT detail FROM audit_log WHERE action = 'payment.retried'").await;
    assert_eq!(
        (&detail["operator"], detail["found"]["x_request_id"].as_str()),
        (&json!("kari"), key)
    );
    app.abandon().await; // the job that failed four times is dead
}

#[tokio::test]
async fn an_order_that_may_be_with_the_bank_or_that_its_owner_wants_back_is_not_sent_again_by_anybody() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let id = in_review(&app, &anna, Fault::ExecuteThenDrop).await;
    let refused = refuses(&app, &with_by(&["payments", "retry", &id])).await;
    assert!(refused.contains("nothing was changed"), "{refused}");
    // The same where it only failed, and where its owner has asked for it back.
    rewrite(&app, "UPDATE payment_attempts SET outcome = 'transient'").await;
    execute(&app, "UPDATE transactions SET cancellation = 'unconfirmed'").await;
    let refused = refuses(&app, &with_by(&["payments", "retry", &id])).await;
    assert!(refused.contains("nothing was changed"), "{refused}");
    assert!(value::<bool>(&app, "SELECT needs_review FROM transactions").await);
    assert_eq!(app.sandbox.journal().entries_of(Operation::Payment).len(), 1);
    app.abandon().await;
}

#[tokio::test]
async fn whoever_tracks_a_payment_is_told_what_the_database_refused_and_nothing_of_the_row() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    payer.has_one_at_the_bank().await;
    let known = app.sandbox.neonomics().payments()[0].id.clone();
    let id = payer.orders().await;
    app.sandbox.fault(Operation::Payment, Fault::ExecuteThenDrop, 1);
    app.run_jobs().await;
    let tracks = ["payments", "track", &id, "--payment-id", &known];
    let refused = refuses(&app, &with_by(&tracks)).await;
    assert!(
        refused.contains("another payment has that id; nothing was changed"),
        "{refused}"
    );

    let tracks = ["payments", "track", &id, "--payment-id", "pay_0"];
    for (refusal, said) in [
        ("ERRCODE = '40P01'", "database error 40P01"),
        (
            "ERRCODE = '23514', CONSTRAINT = 'a_rule'",
            "database error 23514 (a_rule)",
        ),
    ] {
        let refuse = format!(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
               'BEGIN RAISE EXCEPTION USING MESSAGE = NEW.creditor_name, {}; END';
             CREATE OR REPLACE TRIGGER refuses BEFORE UPDATE ON transactions FOR EACH ROW EXECUTE FUNCTION refuse()",
            refusal.replace('\'', "''")
        );
        execute(&app, &refuse).await;
        let refused = refuses(&app, &with_by(&tracks)).await;
        assert!(
            refused.contains(said) && refused.contains("nothing was changed"),
            "{refused}"
        );
        assert!(
            !refused.contains("another payment") && !refused.contains("Marko"),
            "{refused}"
        );
    }
    execute(&app, "DROP TRIGGER refuses ON transactions").await;
    app.abandon().await;
}

#[tokio::test]
async fn an_order_that_is_sent_again_counts_towards_the_day_on_which_it_is_and_is_held_for_once() {
    let app = TestApp::start().await;
    let mut anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let id = ordered(&app, &anna, &account).await;
    app.sandbox.fault(Operation::Payment, Fault::status(503), 4);
    recovers(&app).await;
    let held = "SELECT held FROM bank_accounts";
    assert_eq!(value::<i64>(&app, held).await, 201_000);
    app.lane("payment.send", "max_ready_age = NULL").await; // nobody sends the others, and that is all right

    // What is paid on the day after leaves no room for it, and the day after that none for the others.
    let pays = async |person: &SignedIn<'_>, amount: &str| {
        let order = order(&account, amount);
        person.post_later("/v1/transactions", amount, &order).await
    };
    for day in 1..=2 {
        app.advance(TimeDelta::days(1)).await;
        app.start_worker().await;
        anna = app.signed_in("anna").await;
        app.stop_worker().await;
        if day == 1 {
            for amount in ["100000.00", "99999.00", "50000.00"] {
                let asked = pays(&anna, amount).await;
                assert_eq!(asked.status, 202, "{:?}", asked.problem());
            }
            let refused = refuses(&app, &with_by(&["payments", "retry", &id])).await;
            assert!(refused.contains("above what is left of the day's limit"), "{refused}");
            assert!(value::<bool>(&app, "SELECT bool_or(needs_review) FROM transactions").await);
        }
    }
    let holds = value::<i64>(&app, held).await;
    does(&app, &with_by(&["payments", "retry", &id])).await;
    assert_eq!(value::<i64>(&app, held).await, holds, "it was held all the time");
    for (amount, status) in [
        ("99000.00", 202),
        ("98000.00", 202),
        ("51000.00", 422),
        ("50990.00", 202),
    ] {
        assert_eq!(pays(&anna, amount).await.status, status, "{amount}");
    }
    app.abandon().await;
}

#[tokio::test]
async fn the_owner_of_an_order_that_was_sent_again_is_told_once_that_its_link_is_there() {
    for explicit in [false, true] {
        let app = TestApp::start().await;
        app.sandbox
            .neonomics()
            .configure(|bank| bank.explicit_authorisation = explicit);
        let payer = Payer::of(&app).await;
        let id = payer.orders().await;
        app.sandbox.fault(Operation::Payment, Fault::status(503), 4);
        recovers(&app).await;
        app.advance(TimeDelta::minutes(4)).await;
        does(&app, &with_by(&["payments", "retry", &id])).await;
        recovers(&app).await;
        assert!(shown(&payer.person, &id).await["scaRedirect"].is_string());
        let told = "SELECT string_agg(title, '|') FROM notifications WHERE kind = 'payment'";
        assert_eq!(
            value::<String>(&app, told).await,
            "Betalingen venter på deg",
            "{explicit}"
        );
        assert_eq!(payer.plays_out(&id).await, "completed");
        app.abandon().await; // the job that failed four times is dead
    }
}

/// The payment was asked for so many days before operations had it sent again.
async fn was_asked_for_days_ago(app: &TestApp, days: u32) {
    let earlier = format!("UPDATE transactions SET created_at = created_at - interval '{days} days'");
    rewrite(app, &earlier).await;
}

#[tokio::test]
async fn an_order_that_was_sent_again_after_a_week_is_not_paid_twice_by_mistake() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    ordered(&app, &anna, &account).await;
    was_asked_for_days_ago(&app, 8).await;
    let asked = pays_later(&anna, &account, "second").await;
    assert_eq!(asked.problem(), (409, "possible_duplicate"));
    app.abandon().await;
}

#[tokio::test]
async fn the_owner_of_an_order_that_was_sent_again_need_not_come_where_the_bank_wants_no_approval() {
    for (word, told) in [
        ("RJCT", Some("Betalingen ble ikke gjennomført")),
        ("ACSC", Some("Betalingen er fullført")),
        ("ACSP", None),
    ] {
        let app = TestApp::start().await;
        app.sandbox
            .neonomics()
            .configure(|bank| bank.initial_status = word.to_owned());
        let anna = app.signed_in("anna").await;
        let account = anna.has_an_account().await;
        ordered(&app, &anna, &account).await;
        was_asked_for_days_ago(&app, 1).await;
        app.run_jobs().await;
        let titles: Option<String> = value(
            &app,
            "SELECT string_agg(title, '|') FROM notifications WHERE kind = 'payment'",
        )
        .await;
        assert_eq!(titles.as_deref(), told, "{word}");
        app.abandon().await;
    }
}
