//! Withdrawals whose answer is lost, and what later words of the bank make of them: no payment is called unpaid for certain on
//! the strength of one moment, in which everything may have met the same fault.

use drop_common::queue::{self, payloads::ReconcilePayments};
use drop_sandbox::{Fault, Operation};
use drop_tests::{
    alerts,
    app::{TestApp, eventually},
    person::{Answer, SignedIn, browser},
};
use rstest::rstest;

use crate::{
    paying::{anna_at_the_bank, approved, at_the_bank, audited, execute, value},
    payment_faults::scene::{PROGRAM, kill},
};

/// Why its order is to be withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Because {
    /// The time for approval is over.
    TimeIsOver,
    /// Its person wants it back.
    Wished,
}

impl Because {
    /// The job that withdraws it.
    const fn kind(self) -> &'static str {
        match self {
            Self::TimeIsOver => "poll-payment",
            Self::Wished => "cancel-payment",
        }
    }

    /// Where it stands while nobody knows what came of that.
    const fn open(self) -> &'static str {
        match self {
            Self::TimeIsOver => "failed|sca_timeout|false|201000|true",
            Self::Wished => "processing|unconfirmed|false|201000|true",
        }
    }

    /// Where it stands once it is withdrawn for certain.
    const fn over(self) -> &'static str {
        match self {
            Self::TimeIsOver => "failed|sca_timeout|true|0|true",
            Self::Wished => "cancelled|done|true|0|true",
        }
    }

    /// Lets it happen.
    async fn happens(self, app: &TestApp, person: &SignedIn<'_>, id: &str) {
        match self {
            Self::TimeIsOver => {
                let over = "UPDATE transactions SET sca_deadline = clock_timestamp() - interval '1 s'";
                execute(app, over).await;
            }
            Self::Wished => {
                let request = person.request(&format!("/v1/transactions/{id}/cancel"));
                let asked = Answer::of(request.header("Prefer", "respond-async").send().await.unwrap()).await;
                assert_eq!(asked.status, 202, "{:?}", asked.problem());
            }
        }
    }
}

/// A payment whose order was to be withdrawn, and of that nobody knows what became.
async fn with_a_lost_withdrawal(app: &TestApp, person: &SignedIn<'_>, because: Because, lost: Fault) -> String {
    let account = person.has_an_account().await;
    let payment = at_the_bank(app, person, &account).await;
    because.happens(app, person, &payment.id).await;
    app.sandbox.fault(Operation::PaymentCancel, lost, 1);
    runs(app, because.kind()).await;
    payment.id
}

/// Runs what is due of this kind, and what that brings about at once.
async fn runs(app: &TestApp, kind: &str) {
    let due = format!(
        "UPDATE jobs SET run_at = clock_timestamp() + CASE WHEN kind = '{kind}' THEN '0 s' ELSE '1 h' END::interval
          WHERE state = 'ready'"
    );
    execute(app, &due).await;
    app.run_jobs().await;
}

/// All calls about the payment are answered with 404, in one look.
async fn a_burst_of_404s(app: &TestApp) {
    app.sandbox.fault(Operation::PaymentStatus, Fault::status(404), 2);
    app.sandbox.fault(Operation::PaymentCancel, Fault::status(404), 1);
    runs(app, "poll-payment").await;
    app.sandbox.faults().clear(None);
}

/// The status, the reason or what became of the wish, whether that is final, what is held, and whether nobody need look.
async fn standing(app: &TestApp) -> String {
    let standing = "SELECT concat_ws('|', status, coalesce(reason, cancellation), CASE WHEN bank_final THEN 'true' ELSE 'false' END,
            (SELECT held FROM bank_accounts), CASE WHEN needs_review THEN 'false' ELSE 'true' END) FROM transactions";
    value(app, standing).await
}

async fn told(app: &TestApp) -> String {
    let told = "SELECT coalesce((SELECT title FROM notifications WHERE kind = 'payment' ORDER BY id DESC LIMIT 1), '')";
    value(app, told).await
}

fn withdrawals(app: &TestApp) -> usize {
    app.sandbox.journal().entries_of(Operation::PaymentCancel).len()
}

async fn is_marked(app: &TestApp) -> bool {
    value(app, "SELECT withdrawing_at IS NOT NULL FROM transactions").await
}

#[rstest]
#[case(Because::TimeIsOver)]
#[case(Because::Wished)]
#[tokio::test]
async fn a_burst_of_404s_ends_no_payment_that_the_bank_pays_after_it(#[case] because: Because) {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    with_a_lost_withdrawal(&app, &anna, because, Fault::Drop).await;
    a_burst_of_404s(&app).await;
    assert_eq!(withdrawals(&app), 2, "asked once more");
    assert_eq!(standing(&app).await, because.open());
    let bank = app.sandbox.neonomics();
    bank.set_payment_status(&bank.payments()[0].id, "ACSC").unwrap();
    runs(&app, "poll-payment").await;
    let (status, held): (String, i64) = (
        value(&app, "SELECT status FROM transactions WHERE bank_final").await,
        value(&app, "SELECT held FROM bank_accounts").await,
    );
    assert_eq!(
        (status.as_str(), held),
        ("completed", 201_000),
        "held until the next balance"
    );
    assert_eq!(told(&app).await, "Betalingen er fullført");
    app.finish().await;
}

#[rstest]
#[case(Because::TimeIsOver)]
#[case(Because::Wished)]
#[tokio::test]
async fn an_order_that_the_bank_does_not_know_for_a_while_was_withdrawn(#[case] because: Because) {
    alerts::listen();
    let app = TestApp::start().await;
    app.sandbox.neonomics().configure(|bank| bank.forgets_withdrawn = true);
    let anna = app.signed_in("anna").await;
    let id = with_a_lost_withdrawal(&app, &anna, because, Fault::ExecuteThenDrop).await;
    for minutes in [0, 4, 4] {
        let later = format!("UPDATE transactions SET forgotten_at = forgotten_at - interval '{minutes} min'");
        execute(&app, &later).await;
        runs(&app, "poll-payment").await;
        assert_eq!(standing(&app).await, because.open());
    }
    execute(
        &app,
        "UPDATE transactions SET forgotten_at = forgotten_at - interval '2 min'",
    )
    .await;
    runs(&app, "poll-payment").await;
    assert_eq!(standing(&app).await, because.over());
    assert!(alerts::about(&id).is_empty());
    app.finish().await;
}

#[tokio::test]
async fn a_word_of_the_bank_about_a_living_order_takes_what_was_forgotten_back() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    with_a_lost_withdrawal(&app, &anna, Because::TimeIsOver, Fault::Drop).await;
    a_burst_of_404s(&app).await;
    let later = "UPDATE transactions SET forgotten_at = forgotten_at - interval '11 min'";
    execute(&app, later).await;
    runs(&app, "poll-payment").await;
    a_burst_of_404s(&app).await;
    assert_eq!(
        standing(&app).await,
        Because::TimeIsOver.open(),
        "it was known in between"
    );
    app.abandon().await;
}

#[tokio::test]
async fn an_order_that_the_bank_knew_while_it_was_asked_once_more_is_not_believed_forgotten_soon_after() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    with_a_lost_withdrawal(&app, &anna, Because::TimeIsOver, Fault::Drop).await;
    a_burst_of_404s(&app).await;
    // Of this look's three calls the last one finds it.
    app.sandbox.fault(Operation::PaymentStatus, Fault::status(404), 1);
    app.sandbox.fault(Operation::PaymentCancel, Fault::status(404), 1);
    runs(&app, "poll-payment").await;
    assert_eq!(withdrawals(&app), 3);
    let later = "UPDATE transactions SET forgotten_at = forgotten_at - interval '11 min'";
    execute(&app, later).await;
    a_burst_of_404s(&app).await;
    assert_eq!(standing(&app).await, "failed|sca_timeout|false|201000|false");
    app.abandon().await;
}

#[tokio::test]
async fn an_order_that_the_bank_has_accepted_is_not_believed_forgotten_however_often_it_is_wished_back() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let id = with_a_lost_withdrawal(&app, &anna, Because::Wished, Fault::Drop).await;
    let bank = app.sandbox.neonomics();
    bank.set_payment_status(&bank.payments()[0].id, "ACSP").unwrap();
    runs(&app, "poll-payment").await;
    for _ in 0..2 {
        Because::Wished.happens(&app, &anna, &id).await;
        app.sandbox.fault(Operation::PaymentCancel, Fault::status(404), 1);
        // The look that follows the wish is answered like the one that belongs to it.
        app.sandbox.fault(Operation::PaymentStatus, Fault::status(404), 2);
        runs(&app, Because::Wished.kind()).await;
        app.sandbox.faults().clear(None);
        assert_eq!(standing(&app).await, "processing|unconfirmed|false|201000|false");
        let later = "UPDATE transactions SET forgotten_at = forgotten_at - interval '11 min'";
        execute(&app, later).await;
    }
    app.abandon().await;
}

#[tokio::test]
async fn a_withdrawal_that_did_nothing_explains_no_404_of_later() {
    alerts::listen();
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let id = with_a_lost_withdrawal(&app, &anna, Because::TimeIsOver, Fault::Drop).await;
    runs(&app, "poll-payment").await;
    assert!(is_marked(&app).await, "it may still be on its way to the bank");
    let later = "UPDATE transactions SET withdrawing_at = withdrawing_at - interval '5 min'";
    execute(&app, later).await;
    runs(&app, "poll-payment").await;
    assert!(!is_marked(&app).await);
    app.sandbox.fault(Operation::PaymentStatus, Fault::status(404), 1);
    runs(&app, "poll-payment").await;
    assert_eq!(withdrawals(&app), 1);
    assert_eq!(standing(&app).await, "failed|sca_timeout|false|201000|false");
    assert_eq!(alerts::words(&id), ["needs review: the bank does not know it"]);
    app.abandon().await;
}

#[tokio::test]
async fn an_order_that_the_bank_has_accepted_is_not_withdrawn_again_because_its_person_wanted_it_back() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    with_a_lost_withdrawal(&app, &anna, Because::Wished, Fault::Drop).await;
    let bank = app.sandbox.neonomics();
    bank.set_payment_status(&bank.payments()[0].id, "ACSP").unwrap();
    runs(&app, "poll-payment").await;
    a_burst_of_404s(&app).await;
    assert_eq!(withdrawals(&app), 1);
    assert_eq!(standing(&app).await, "processing|unconfirmed|false|201000|false");
    app.abandon().await;
}

#[tokio::test]
async fn who_comes_back_while_the_bank_says_again_that_it_knows_no_order_is_not_told_that_it_is_over() {
    let app = TestApp::start().await;
    let bank = app.sandbox.neonomics();
    bank.configure(|bank| bank.forgets_withdrawn = true);
    let anna = app.signed_in("anna").await;
    with_a_lost_withdrawal(&app, &anna, Because::TimeIsOver, Fault::ExecuteThenDrop).await;
    runs(&app, "poll-payment").await;
    let later = "UPDATE transactions SET forgotten_at = forgotten_at - interval '11 min'";
    execute(&app, later).await;
    let before = withdrawals(&app);
    app.sandbox
        .fault(Operation::PaymentCancel, Fault::Delay { ms: 1_500 }, 1);
    let returns = async {
        let asked = async || withdrawals(&app) > before;
        assert!(eventually(asked).await, "the bank is not asked");
        let back = bank.payments()[0].redirect.clone();
        assert_eq!(browser().get(back).send().await.unwrap().status(), 200);
    };
    tokio::join!(runs(&app, "poll-payment"), returns);
    assert_eq!(standing(&app).await, "failed|sca_timeout|false|201000|false");
    app.abandon().await;
}

#[rstest]
#[case(Because::TimeIsOver)]
#[case(Because::Wished)]
#[tokio::test]
async fn a_withdrawal_that_never_left_because_the_circuit_opened_leaves_no_mark(#[case] because: Because) {
    let app = TestApp::start().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    because.happens(&app, &anna, &payment.id).await;
    execute(
        &app,
        "CREATE FUNCTION open_the_circuit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           UPDATE breaker SET open = true, opened_at = clock_timestamp(), retry_at = clock_timestamp() + interval '60 s'
            WHERE key = 'neonomics/pisp';
           RETURN NULL; END $$;
         CREATE TRIGGER opens_the_circuit AFTER UPDATE ON transactions FOR EACH ROW
           WHEN (OLD.withdrawing_at IS NULL AND NEW.withdrawing_at IS NOT NULL) EXECUTE FUNCTION open_the_circuit()",
    )
    .await;
    runs(&app, because.kind()).await;
    assert_eq!(audited(&app, "payment.withdrawing").await, 1);
    assert_eq!(withdrawals(&app), 0);
    assert!(!is_marked(&app).await);
    app.abandon().await;
}

#[tokio::test]
async fn who_approves_and_comes_back_while_the_bank_is_asked_about_that_keeps_their_payment() {
    let app = TestApp::start().await;
    let bank = app.sandbox.neonomics();
    bank.configure(|bank| bank.withdraws_approved = true);
    let (_, payment) = anna_at_the_bank(&app).await;
    // Nobody could look at the bank when the time was over, and now somebody can.
    execute(
        &app,
        "UPDATE transactions SET sca_deadline = clock_timestamp() - interval '31 s'",
    )
    .await;
    let mut tx = app.db.begin().await.unwrap();
    queue::enqueue(&mut tx, &ReconcilePayments {}).await.unwrap();
    tx.commit().await.unwrap();
    app.sandbox
        .fault(Operation::PaymentStatus, Fault::Delay { ms: 1_500 }, 1);
    let looks = || app.sandbox.journal().entries_of(Operation::PaymentStatus).len();
    let before = looks();
    let returns = async {
        let asked = async || looks() > before;
        assert!(eventually(asked).await, "the bank is not asked");
        let back = approved(&app, &payment.link);
        assert_eq!(browser().get(back).send().await.unwrap().status(), 200);
    };
    tokio::join!(runs(&app, "reconcile-payments"), returns);
    assert_eq!(withdrawals(&app), 0);
    for _ in 0..3 {
        runs(&app, "poll-payment").await;
    }
    assert_eq!(
        value::<String>(&app, "SELECT status FROM transactions").await,
        "completed"
    );
    app.abandon().await;
}

/// The commit of the intent is done, and its answer is lost: nothing has left by then, so nothing of it can be lost.
#[rstest]
#[case(Because::TimeIsOver)]
#[case(Because::Wished)]
#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_that_is_the_first_is_so_although_the_answer_to_its_intent_was_lost(#[case] because: Because) {
    let app = TestApp::start_on_a_lossy_way().await;
    let (anna, payment) = anna_at_the_bank(&app).await;
    because.happens(&app, &anna, &payment.id).await;
    app.lose_commit_after("UPDATE transactions SET withdrawing_at");
    app.sandbox.fault(Operation::PaymentStatus, Fault::status(404), 4);
    app.sandbox.fault(Operation::PaymentCancel, Fault::status(404), 1);
    let due = format!(
        "UPDATE jobs SET run_at = clock_timestamp() WHERE kind = '{}'",
        because.kind()
    );
    execute(&app, &due).await;
    let worker = app.worker_process(PROGRAM, &[("DROP_LANES", "payment.poll")]);
    let answered = async || withdrawals(&app) == 1 && !is_marked(&app).await;
    let explains = "a withdrawal of before explains what the bank says later";
    assert!(eventually(answered).await, "{explains}");
    kill(worker).await;
    assert!(app.has_lost_a_commit());
    app.abandon().await;
}

/// Somebody is called once nothing more can be found out; here the next look does.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_may_not_ask_for_a_withdrawal_once_more_leaves_it_to_the_next_one_and_calls_nobody() {
    let app = TestApp::start().await;
    app.sandbox.neonomics().configure(|bank| bank.forgets_withdrawn = true);
    let anna = app.signed_in("anna").await;
    with_a_lost_withdrawal(&app, &anna, Because::TimeIsOver, Fault::ExecuteThenDrop).await;
    let looks = || app.sandbox.journal().entries_of(Operation::PaymentStatus).len();
    let attempts = "SELECT max(attempt) FROM jobs WHERE kind = 'poll-payment'";
    let (seen, tried): (_, i32) = (looks(), value(&app, attempts).await);
    execute(
        &app,
        "UPDATE jobs SET run_at = clock_timestamp() WHERE kind = 'poll-payment' AND state = 'ready'",
    )
    .await;
    let held_up = [
        ("DROP_LANES", "payment.poll"),
        ("DROP_FAILPOINT", "pay.polled=sleep:1000"),
    ];
    let worker = app.worker_process(PROGRAM, &held_up);
    assert!(eventually(async || looks() > seen).await, "nobody looks");
    // By others, in the moment between the look and the withdrawal.
    execute(
        &app,
        "UPDATE breaker SET open = true, opened_at = clock_timestamp(), retry_at = clock_timestamp() + interval '60 s'
          WHERE key = 'neonomics/pisp'",
    )
    .await;
    let written =
        format!("SELECT count(*) FROM jobs WHERE kind = 'poll-payment' AND state = 'ready' AND attempt > {tried}");
    assert!(eventually(async || value::<i64>(&app, &written).await == 1).await);
    kill(worker).await;
    assert_eq!(withdrawals(&app), 1);
    assert_eq!(standing(&app).await, Because::TimeIsOver.open());
    app.abandon().await;
}
