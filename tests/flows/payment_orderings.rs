//! Whatever happens to a payment at the bank, in whatever order and however often: in the end it is what the bank's last word
//! says. The state machine alone is tried in `common/tests/payment_status.rs`; here the jobs, the API and the database are.

use std::sync::Arc;

use drop_common::{
    domain::ids::PaymentId,
    queue::{self, payloads::ReconcilePayments},
};
use drop_sandbox::{Fault, Operation, Payment};
use drop_tests::{app::TestApp, person::browser};
use drop_worker::Context;
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestCaseResult, TestRunner},
};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::{
    paying::{execute, shown, value},
    payment_faults::scene::Payer,
};

/// How many ways are tried. Each is a payment of its own in one service, and takes about a fifth of a second.
const WAYS: u32 = 40;
/// No payment needs more looks after the bank's last word.
const LOOKS: usize = 4;

/// What the bank comes to say, one word that nobody knows among it.
const WORDS: [&str; 10] = [
    "RCVD", "PDNG", "ACTC", "ACCP", "ACSP", "ACWP", "PART", "ACSC", "RJCT", "CANC",
];
/// What it says in the end.
const LAST_WORDS: [&str; 4] = ["ACSC", "ACCC", "RJCT", "CANC"];

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The bank comes to say this of it; not once it has said its last word.
    Says(&'static str),
    /// The bank withdraws an order only with another approval, or again without.
    MindsWithdrawals(bool),
    /// This becomes of the next look or withdrawal.
    Mishap(Mishap),
    /// The time for the next look has come.
    Poll,
    /// The wish to take it back is carried out, if there is one.
    Withdraw,
    /// The next look and the wish, by two workers at once.
    AtOnce,
    /// The minute's reconciliation.
    Reconcile,
    /// Every job of it runs once more, also one that has ended: somebody lost its outcome.
    Again,
    /// Its person comes back from the bank.
    ComeBack,
    /// Its person wants it back.
    TakeBack,
    /// The time for approval is over.
    TimeOver,
}

/// What the bank or the way to it does wrong, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mishap {
    /// It says that it does not know an order that it has.
    Unknown,
    /// A look does not arrive.
    LookLost,
    /// A withdrawal does not arrive.
    WithdrawalLost,
    /// A withdrawal is done, and its answer lost.
    AnswerLost,
}

const MISHAPS: [Mishap; 3] = [Mishap::Unknown, Mishap::LookLost, Mishap::WithdrawalLost];

impl Mishap {
    fn fault(self) -> (Operation, Fault) {
        match self {
            Self::Unknown => (Operation::PaymentStatus, Fault::status(404)),
            Self::LookLost => (Operation::PaymentStatus, Fault::Drop),
            Self::WithdrawalLost => (Operation::PaymentCancel, Fault::Drop),
            Self::AnswerLost => (Operation::PaymentCancel, Fault::ExecuteThenDrop),
        }
    }
}

/// Nothing is left of what went wrong before: not at the bank, and not in the circuit.
const ALL_IS_WELL: &str = "UPDATE breaker SET open = false, opened_at = NULL, retry_at = NULL, probe_id = NULL,
    probe_until = NULL, fails = '{}' WHERE open OR fails <> '{}'";

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::sample::select(&WORDS).prop_map(Step::Says),
        1 => any::<bool>().prop_map(Step::MindsWithdrawals),
        3 => Just(Step::Mishap(Mishap::AnswerLost)),
        3 => prop::sample::select(&MISHAPS).prop_map(Step::Mishap),
        4 => Just(Step::Poll),
        2 => Just(Step::Withdraw),
        2 => Just(Step::AtOnce),
        1 => Just(Step::Reconcile),
        1 => Just(Step::Again),
        2 => Just(Step::ComeBack),
        3 => Just(Step::TakeBack),
        2 => Just(Step::TimeOver),
    ]
}

/// One payment on its way.
struct Way<'a> {
    payer: &'a Payer<'a>,
    /// Who run its jobs where two do that at once.
    workers: &'a [Arc<Context>; 2],
    id: String,
    /// As the database has it.
    row: Uuid,
    at_bank: String,
    back: String,
}

impl<'a> Way<'a> {
    async fn of(payer: &'a Payer<'a>, workers: &'a [Arc<Context>; 2]) -> Self {
        let (id, _) = payer.has_one_at_the_bank().await;
        let row = id.parse::<PaymentId>().unwrap().uuid();
        let orders = payer.app.sandbox.neonomics().payments();
        let key = format!("SELECT idempotency_key::text FROM transactions WHERE id = '{row}'");
        let key: String = value(payer.app, &key).await;
        let order = orders.into_iter().find(|order| order.request_id == key).unwrap();
        Self {
            payer,
            workers,
            row,
            at_bank: order.id,
            back: order.redirect,
            id,
        }
    }

    fn app(&self) -> &TestApp {
        self.payer.app
    }

    fn at_bank(&self) -> Payment {
        let orders = self.app().sandbox.neonomics().payments();
        orders.into_iter().find(|order| order.id == self.at_bank).unwrap()
    }

    fn is_over_at_bank(&self) -> bool {
        LAST_WORDS.contains(&self.at_bank().status.as_str())
    }

    fn bank_says(&self, word: &str) {
        if !self.is_over_at_bank() {
            let bank = self.app().sandbox.neonomics();
            bank.set_payment_status(&self.at_bank, word).unwrap();
        }
    }

    /// The waiting jobs of these kinds are due, and no others.
    async fn makes_due(&self, kinds: &str) {
        let due = format!(
            "UPDATE jobs SET run_at = clock_timestamp() + CASE WHEN kind IN ({kinds}) THEN '0 s' ELSE '1 h' END::interval
              WHERE state = 'ready' AND payload ->> 'payment' = '{}'",
            self.row
        );
        execute(self.app(), &due).await;
    }

    /// Runs the waiting jobs of these kinds, and what they bring about at once.
    async fn run(&self, kinds: &str) {
        self.makes_due(kinds).await;
        self.app().run_jobs().await;
    }

    async fn take(&self, step: Step) {
        match step {
            Step::Says(word) => self.bank_says(word),
            Step::MindsWithdrawals(minds) => {
                let bank = self.app().sandbox.neonomics();
                bank.configure(|bank| bank.cancel_needs_approval = minds);
            }
            Step::Mishap(mishap) => {
                let (call, fault) = mishap.fault();
                self.app().sandbox.fault(call, fault, 1);
            }
            Step::AtOnce => {
                self.makes_due("'poll-payment', 'cancel-payment'").await;
                self.app().run_jobs_by(self.workers).await;
            }
            Step::Poll => self.run("'poll-payment'").await,
            Step::Withdraw => self.run("'cancel-payment'").await,
            Step::Reconcile => {
                let mut tx = self.app().db.begin().await.unwrap();
                queue::enqueue(&mut tx, &ReconcilePayments {}).await.unwrap();
                tx.commit().await.unwrap();
                self.run("''").await;
            }
            Step::Again => {
                let again = format!(
                    "UPDATE jobs SET state = 'ready', finished_at = NULL, run_at = clock_timestamp()
                      WHERE state = 'done' AND payload ->> 'payment' = '{}'",
                    self.row
                );
                execute(self.app(), &again).await;
                self.run("'initiate-payment', 'poll-payment', 'cancel-payment'").await;
            }
            Step::ComeBack => assert_eq!(browser().get(&self.back).send().await.unwrap().status(), 200),
            Step::TakeBack => {
                let asked = self.payer.takes_back(&self.id).await.status.as_u16();
                // The last one where the circuit is open.
                assert!([200, 202, 409, 502].contains(&asked), "{asked}");
            }
            Step::TimeOver => {
                let over = format!(
                    "UPDATE transactions SET sca_deadline = clock_timestamp() - interval '31 s' WHERE id = '{}'",
                    self.row
                );
                execute(self.app(), &over).await;
            }
        }
    }

    async fn all_is_well(&self) {
        self.app().sandbox.faults().clear(None);
        execute(self.app(), ALL_IS_WELL).await;
    }

    /// So much time passes that a bank which has forgotten the order is believed.
    async fn time_passes(&self) {
        let later = format!(
            "UPDATE transactions SET forgotten_at = forgotten_at - interval '10 min' WHERE id = '{}'",
            self.row
        );
        execute(self.app(), &later).await;
    }

    /// The bank says its last word, if it has not yet, and everybody does what is left to do.
    async fn end(&self, last: &str) {
        self.all_is_well().await;
        self.bank_says(last);
        for _ in 0..LOOKS {
            self.run("'poll-payment', 'cancel-payment'").await;
            self.time_passes().await;
        }
    }
}

async fn play(way: &Way<'_>, steps: &[Step], last: &str, forgets: bool) -> TestCaseResult {
    let (payer, bank) = (way.payer, way.app().sandbox.neonomics());
    bank.configure(|bank| bank.forgets_withdrawn = forgets);
    for step in steps {
        way.take(*step).await;
    }
    way.end(last).await;
    bank.configure(|bank| (bank.cancel_needs_approval, bank.forgets_withdrawn) = (false, false));

    let (said, shown) = (way.at_bank(), shown(&payer.person, &way.id).await);
    let told = (shown["status"].as_str(), shown["reason"].as_str());
    let agrees = match said.status.as_str() {
        "ACSC" | "ACCC" => told == (Some("completed"), None),
        "RJCT" => told == (Some("failed"), Some("bank_rejected")),
        // The order that was withdrawn when the time was over has timed out; its person has not taken it back.
        "CANC" if told == (Some("failed"), Some("sca_timeout")) => steps.contains(&Step::TimeOver),
        "CANC" => told == (Some("cancelled"), None),
        other => return Err(TestCaseError::fail(format!("{other} is no last word"))),
    };
    // Who came back may have approved it, and an order that the bank has accepted is approved: where the bank has forgotten it then,
    // it is not withdrawn once more to be sure, and a person looks at it.
    let before_approval = ["RCVD", "PDNG", "PATC", "ACTC"];
    let may_be_approved = steps.iter().any(|step| match step {
        Step::Says(word) => !before_approval.contains(word),
        step => *step == Step::ComeBack,
    });
    let answer_lost = steps.contains(&Step::Mishap(Mishap::AnswerLost));
    if forgets && said.withdrawn && shown["bankFinal"] == false && answer_lost && may_be_approved {
        let reviewed = format!("SELECT needs_review FROM transactions WHERE id = '{}'", way.row);
        prop_assert!(value::<bool>(payer.app, &reviewed).await, "{shown}");
        prop_assert!(!said.moved, "{shown}");
        let jobs = format!("DELETE FROM jobs WHERE payload ->> 'payment' = '{}'", way.row);
        execute(payer.app, &jobs).await;
        return Ok(());
    }
    prop_assert!(agrees, "the bank says {}, and the person is shown {shown}", said.status);
    prop_assert!(shown["bankFinal"] == true, "{shown}");
    // What was withdrawn and is not known any more has no last word, or none that anybody waits for.
    if !(said.withdrawn && (forgets || steps.contains(&Step::Mishap(Mishap::Unknown)))) {
        prop_assert_eq!(shown["bankStatus"].as_str(), Some(said.status.as_str()));
    }
    prop_assert_eq!(said.moved, told.0 == Some("completed"));
    let cancellation = shown["cancellation"].as_str();
    prop_assert!(cancellation != Some("requested"), "{shown}");
    prop_assert!(cancellation != Some("done") || !said.moved, "{shown}");
    prop_assert!(cancellation != Some("refused") || !said.withdrawn, "{shown}");
    let left = format!(
        "SELECT count(*) FROM jobs WHERE state NOT IN ('done') AND payload ->> 'payment' = '{}'",
        way.row
    );
    prop_assert_eq!(value::<i64>(payer.app, &left).await, 0, "jobs are left");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p10_whatever_happens_to_a_payment_in_whatever_order_it_ends_as_the_banks_last_word_says() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let workers = [app.worker_by_hand(), app.worker_by_hand()];
    let config = Config {
        cases: WAYS,
        failure_persistence: None,
        max_shrink_iters: 100,
        ..Config::default()
    };
    let ways = (
        prop::collection::vec(step(), 0..12),
        prop::sample::select(&LAST_WORDS),
        any::<bool>(),
    );
    let (handle, mut runner) = (Handle::current(), TestRunner::new(config));
    let tried = tokio::task::block_in_place(|| {
        runner.run(&ways, |(steps, last, forgets)| {
            handle.block_on(async {
                // One person and one address do all of it.
                execute(&app, "DELETE FROM rate_bucket").await;
                play(&Way::of(&payer, &workers).await, &steps, last, forgets).await
            })
        })
    });
    if let Err(wrong) = tried {
        panic!("{wrong}");
    }
    app.check_the_books().await;
    app.off_contract().finish().await;
}
