//! The database goes away while a payment is made: a connection that dies between two statements or in a commit, an answer
//! to a commit that is lost, and the whole server.

use drop_sandbox::{Decision, Fault, Operation};
use drop_tests::{
    alerts,
    app::{TestApp, eventually},
};
use rstest::rstest;
use sqlx::AssertSqlSafe;

use super::scene::{PROGRAM, Payer, approves, kill, recovers};
use crate::paying::{becomes, execute, shown, value};

/// Where a connection dies: at a statement, or in the commit of its transaction.
const AT_THE_STATEMENT: &str = "TRIGGER cut BEFORE";
const IN_THE_COMMIT: &str = "CONSTRAINT TRIGGER cut AFTER";

/// What a connection dies of, once, and the lane whose job it is that dies with it.
const WRITES: [(&str, &str, &str); 11] = [
    (AT_THE_STATEMENT, "INSERT ON payment_attempts", "true"),
    (IN_THE_COMMIT, "INSERT ON payment_attempts", "true"),
    (AT_THE_STATEMENT, "UPDATE ON payment_attempts", "true"),
    (IN_THE_COMMIT, "UPDATE ON payment_attempts", "true"),
    (AT_THE_STATEMENT, "INSERT ON jobs", "NEW.kind = 'poll-payment'"),
    (
        AT_THE_STATEMENT,
        "INSERT ON audit_log",
        "NEW.action = 'payment.initiated'",
    ),
    (AT_THE_STATEMENT, "INSERT ON audit_log", "NEW.action = 'payment.moved'"),
    (IN_THE_COMMIT, "INSERT ON audit_log", "NEW.action = 'payment.moved'"),
    (AT_THE_STATEMENT, "INSERT ON notifications", "true"),
    (IN_THE_COMMIT, "INSERT ON notifications", "true"),
    (AT_THE_STATEMENT, "UPDATE ON bank_accounts", "NEW.held < OLD.held"),
];

/// The connection that does this next dies of it.
async fn arm(app: &TestApp, when: &str, writes: &str, condition: &str) {
    let deferred = if when == IN_THE_COMMIT {
        "DEFERRABLE INITIALLY DEFERRED"
    } else {
        ""
    };
    execute(
        app,
        &format!(
            "CREATE SEQUENCE cuts;
             CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
               'BEGIN IF nextval(''cuts'') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NEW; END';
             CREATE {when} {writes} {deferred} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION cut()"
        ),
    )
    .await;
}

/// Fails unless a connection has died.
async fn disarm(app: &TestApp, what: &str) {
    let cuts: i64 = value(app, "SELECT last_value FROM cuts").await;
    assert!(
        cuts >= 1 && value(app, "SELECT is_called FROM cuts").await,
        "nobody does it: {what}"
    );
    execute(app, "DROP FUNCTION cut CASCADE; DROP SEQUENCE cuts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_p4_p5_o1_a_connection_that_dies_in_any_write_of_a_payment_leaves_it_whole() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    for (when, writes, condition) in WRITES {
        let what = format!("{when} {writes} {condition}");
        let id = payer.orders().await;
        arm(&app, when, writes, condition).await;
        let end = if condition.starts_with("NEW.held") {
            // What is held goes with the end of a payment that is not paid.
            recovers(&app).await;
            let link = shown(&payer.person, &id).await["scaRedirect"]
                .as_str()
                .unwrap()
                .to_owned();
            app.sandbox.bank().decide_at(&link, Decision::Reject).unwrap();
            recovers(&app).await;
            payer.standing(&id).await
        } else {
            payer.plays_out(&id).await
        };
        disarm(&app, &what).await;
        let expected = if condition.starts_with("NEW.held") {
            "failed:bank_rejected"
        } else {
            "completed"
        };
        assert_eq!(end, expected, "{what}");
        app.check_the_books().await;
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_p6_an_answer_to_a_commit_that_is_lost_costs_no_payment_and_lets_nothing_be_sent_twice() {
    let app = TestApp::start_on_a_lossy_way().await;
    app.sandbox
        .neonomics()
        .configure(|bank| bank.explicit_authorisation = true);
    let payer = Payer::of(&app).await;
    for commit in [
        // The attempt is committed and the worker does not know it. It has sent nothing yet, so it reads what became of it.
        "INSERT INTO payment_attempts",
        // What the bank answered is committed and the worker does not know it. It writes that again, and finds it there.
        "UPDATE payment_attempts",
        // The same with the start of its approval, and with what the bank answered to that.
        "UPDATE transactions SET authorisation = $2",
        "UPDATE transactions SET authorisation = 'started'",
    ] {
        let id = payer.orders().await;
        app.lose_commit_after(commit);
        let worker = app.worker_process(PROGRAM, &[("DROP_LANES", "payment.send")]);
        let linked = async || shown(&payer.person, &id).await["scaRedirect"].is_string();
        assert!(eventually(linked).await, "the worker does not go on: {commit}");
        kill(worker).await;
        assert!(app.has_lost_a_commit(), "{commit}");
        assert_eq!(payer.plays_out(&id).await, "completed", "{commit}");
        app.check_the_books().await;
    }
    for call in [Operation::Payment, Operation::PaymentAuthorise] {
        assert_eq!(app.sandbox.journal().entries_of(call).len(), 4, "{call:?}");
    }
    app.finish().await;
}

/// Somebody writes to the payment at the very moment at which the bank's answer is to be written, and commits first.
#[rstest]
#[case::as_a_new_version("version = version + 1, callback_at = clock_timestamp()")]
#[case::without_one("psu_user_agent = NULL")]
#[tokio::test]
async fn p1_p4_what_the_bank_answered_is_written_to_the_payment_as_it_is_by_then(#[case] change: &str) {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let id = payer.orders().await;
    app.sandbox.fault(Operation::Payment, Fault::Delay { ms: 500 }, 1);
    let meanwhile = async {
        let arrived = async || app.sandbox.neonomics().payments().len() == 1;
        assert!(eventually(arrived).await, "the order does not arrive");
        let mut tx = app.db.begin().await.unwrap();
        let change = AssertSqlSafe(format!("UPDATE transactions SET {change}"));
        sqlx::query(change).execute(&mut *tx).await.unwrap();
        let waiting =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let waits = async || value::<i64>(&app, waiting).await == 1;
        assert!(eventually(waits).await, "nobody waits for it");
        tx.commit().await.unwrap();
    };
    tokio::join!(app.run_jobs(), meanwhile);
    let standing = "SELECT t.payment_id IS NOT NULL AND t.sca_redirect IS NOT NULL AND p.outcome = 'accepted'
                           AND (SELECT count(*) FROM jobs WHERE kind = 'poll-payment') = 1
                      FROM transactions t JOIN payment_attempts p ON p.transaction_id = t.id";
    assert!(value::<bool>(&app, standing).await);
    assert_eq!(payer.plays_out(&id).await, "completed");
    app.check_the_books().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acceptance_after_a_failure_that_is_written_twice_is_told_once() {
    let app = TestApp::start_on_a_lossy_way().await;
    let payer = Payer::of(&app).await;
    app.sandbox.fault(Operation::Payment, Fault::status(503), 1);
    let id = payer.orders().await;
    app.lose_commit_after("SET outcome = 'accepted'");
    let worker = app.worker_process(PROGRAM, &[("DROP_LANES", "payment.send")]);
    let is_over = "SELECT count(*) FROM jobs WHERE kind = 'initiate-payment' AND state = 'done'";
    let written = async || app.has_lost_a_commit() && value::<i64>(&app, is_over).await == 1;
    assert!(eventually(written).await, "the worker does not go on");
    kill(worker).await;
    let told = "SELECT count(*) FROM audit_log WHERE action = 'payment.accepted_after_failure'";
    assert_eq!(value::<i64>(&app, told).await, 1);
    assert_eq!(payer.plays_out(&id).await, "completed");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_p6_o2_a_server_that_crashes_while_the_bank_is_asked_loses_nothing_that_the_bank_says() {
    let app = TestApp::start_on_its_own_server().await;
    let payer = Payer::of(&app).await;
    app.start_worker().await;

    // The bank has the order; its answer comes when there is nowhere to write it.
    app.sandbox.fault(Operation::Payment, Fault::Delay { ms: 1_000 }, 1);
    let id = payer.orders().await;
    let arrived = async || app.sandbox.neonomics().payments().len() == 1;
    assert!(eventually(arrived).await, "the order does not arrive");
    crashes(&app, 1_500).await;
    let linked = async || shown(&payer.person, &id).await["scaRedirect"].is_string();
    assert!(eventually(linked).await, "what the bank answered is lost");
    app.check_the_books().await;

    // The same with the word that it is paid.
    app.sandbox
        .fault(Operation::PaymentStatus, Fault::Delay { ms: 1_000 }, 1);
    let link = shown(&payer.person, &id).await["scaRedirect"]
        .as_str()
        .unwrap()
        .to_owned();
    let asked = app.sandbox.journal().entries_of(Operation::PaymentStatus).len();
    approves(&app, &link).await;
    let polled = async || app.sandbox.journal().entries_of(Operation::PaymentStatus).len() > asked;
    assert!(eventually(polled).await, "the bank is not asked");
    crashes(&app, 1_500).await;
    becomes(&payer.person, &id, "completed").await;
    app.check_the_books().await;

    // A worker that dies in the same moment leaves an attempt of which nobody knows what became.
    app.stop_worker().await;
    let id = payer.orders().await;
    app.sandbox.fault(Operation::Payment, Fault::ExecuteThenHang, 1);
    let worker = app.worker_process(PROGRAM, &[("DROP_LANES", "payment.send")]);
    let arrived = async || app.sandbox.neonomics().payments().len() == 2;
    assert!(eventually(arrived).await, "the order does not arrive");
    app.crash_database().await;
    kill(worker).await;
    app.restart_database().await;
    recovers(&app).await;
    assert_eq!(payer.standing(&id).await, "review");
    app.check_the_books().await;

    // Nobody takes an order that cannot be written down; asked again, it is a new one.
    let order = payer.next_order();
    app.crash_database().await;
    assert_eq!(payer.asks(&order).await.problem(), (503, "unavailable"));
    app.restart_database().await;
    let again = payer.asks(&order).await;
    assert_eq!(
        (again.status.as_u16(), again.replayed),
        (202, false),
        "{:?}",
        again.problem()
    );
    assert_eq!(payer.plays_out(again.body["id"].as_str().unwrap()).await, "completed");
    app.abandon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_p6_an_id_of_the_banks_that_cannot_be_stored_in_time_is_told_and_the_payment_can_be_followed_by_it() {
    alerts::listen();
    let app = TestApp::start_on_a_lossy_way().await;
    let payer = Payer::of(&app).await;
    // Stored by a statement whose answer is lost: that is no reason to call anybody.
    let stored = payer.orders().await;
    app.lose_answer_to("UPDATE payment_attempts");
    app.start_worker().await;
    let linked = async || shown(&payer.person, &stored).await["scaRedirect"].is_string();
    assert!(eventually(linked).await, "the worker does not go on");
    app.stop_worker().await;
    assert!(app.has_lost_a_commit() && alerts::words(&stored).is_empty());

    let id = payer.orders().await;
    execute(&app, "UPDATE lanes SET lease = '2 s' WHERE name = 'payment.send'").await;
    app.sandbox.fault(Operation::Payment, Fault::Delay { ms: 500 }, 1);
    app.start_worker().await;
    let arrived = async || app.sandbox.neonomics().payments().len() == 2;
    assert!(eventually(arrived).await, "the order does not arrive");
    app.cut_database_off(true);
    let told = async || !alerts::words(&id).is_empty();
    assert!(eventually(told).await, "nobody is told");
    app.cut_database_off(false);
    let sent = app.sandbox.journal().entries_of(Operation::Payment);
    let key = sent[1].header("x-request-id").unwrap();
    let orders = app.sandbox.neonomics().payments();
    let at_bank = &orders.iter().find(|order| order.request_id == key).unwrap().id;
    let word = format!("not_recorded: X-Request-ID {key}, paymentId {at_bank}");
    assert_eq!(alerts::words(&id)[0], word);

    app.stop_worker().await;
    recovers(&app).await;
    assert_eq!(payer.standing(&id).await, "review");
    let listed = does(&app, &["payments", "list", "--json"]).await;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["request_id"], key);
    assert!(does(&app, &["payments", "list"]).await.contains(key));
    assert!(does(&app, &["payments", "show", &id]).await.contains(key));
    let by = ["--operator", "kari", "--reason", "the alert has its id"];
    does(
        &app,
        &[["payments", "track", &id, "--payment-id", at_bank].as_slice(), &by].concat(),
    )
    .await;
    app.sandbox.bank().decide_payment(at_bank, Decision::Approve).unwrap();
    recovers(&app).await;
    assert_eq!(payer.standing(&id).await, "completed");
    app.abandon().await; // the job that found the attempt is dead, for a person to see
}

/// What the verb prints; it must succeed.
async fn does(app: &TestApp, arguments: &[&str]) -> String {
    let (succeeded, said) = app.operator(PROGRAM, arguments).await;
    assert!(succeeded, "{arguments:?}: {said}");
    said
}

/// The server is away for so long.
async fn crashes(app: &TestApp, ms: u64) {
    app.crash_database().await;
    let away = std::time::Duration::from_millis(ms);
    tokio::time::timeout(away, std::future::pending::<()>()).await.ok();
    app.restart_database().await;
}
