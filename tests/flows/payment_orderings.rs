//! Whatever happens to a payment at the bank, in whatever order and however often: in the end it is what the bank's last word
//! says. The state machine alone is tried in `common/tests/payment_status.rs`; here the jobs, the API and the database are.

use drop_common::{
    domain::ids::PaymentId,
    queue::{self, payloads::ReconcilePayments},
};
use drop_sandbox::Payment;
use drop_tests::{app::TestApp, person::browser};
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
    /// The time for the next look has come.
    Poll,
    /// The wish to take it back is carried out, if there is one.
    Withdraw,
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

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::sample::select(&WORDS).prop_map(Step::Says),
        1 => any::<bool>().prop_map(Step::MindsWithdrawals),
        4 => Just(Step::Poll),
        2 => Just(Step::Withdraw),
        1 => Just(Step::Reconcile),
        1 => Just(Step::Again),
        2 => Just(Step::ComeBack),
        2 => Just(Step::TakeBack),
        2 => Just(Step::TimeOver),
    ]
}

/// One payment on its way.
struct Way<'a> {
    payer: &'a Payer<'a>,
    id: String,
    /// As the database has it.
    row: Uuid,
    at_bank: String,
    back: String,
}

impl<'a> Way<'a> {
    async fn of(payer: &'a Payer<'a>) -> Self {
        let (id, _) = payer.has_one_at_the_bank().await;
        let row = id.parse::<PaymentId>().unwrap().uuid();
        let orders = payer.app.sandbox.neonomics().payments();
        let key = format!("SELECT idempotency_key::text FROM transactions WHERE id = '{row}'");
        let key: String = value(payer.app, &key).await;
        let order = orders.into_iter().find(|order| order.request_id == key).unwrap();
        Self {
            payer,
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

    /// Runs the waiting jobs of these kinds, and what they bring about at once.
    async fn run(&self, kinds: &str) {
        let due = format!(
            "UPDATE jobs SET run_at = clock_timestamp() + CASE WHEN kind IN ({kinds}) THEN '0 s' ELSE '1 h' END::interval
              WHERE state = 'ready' AND payload ->> 'payment' = '{}'",
            self.row
        );
        execute(self.app(), &due).await;
        self.app().run_jobs().await;
    }

    async fn take(&self, step: Step) {
        match step {
            Step::Says(word) => self.bank_says(word),
            Step::MindsWithdrawals(minds) => {
                let bank = self.app().sandbox.neonomics();
                bank.configure(|bank| bank.cancel_needs_approval = minds);
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
                assert!([200, 202, 409].contains(&asked), "{asked}");
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

    /// The bank says its last word, if it has not yet, and everybody does what is left to do.
    async fn end(&self, last: &str) {
        self.bank_says(last);
        for _ in 0..LOOKS {
            self.run("'poll-payment', 'cancel-payment'").await;
        }
    }
}

async fn play(payer: &Payer<'_>, steps: &[Step], last: &str) -> TestCaseResult {
    // One person and one address do all of it.
    execute(payer.app, "DELETE FROM rate_bucket").await;
    let way = Way::of(payer).await;
    for step in steps {
        way.take(*step).await;
    }
    way.end(last).await;
    let bank = payer.app.sandbox.neonomics();
    bank.configure(|bank| bank.cancel_needs_approval = false);

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
    prop_assert!(agrees, "the bank says {}, and the person is shown {shown}", said.status);
    prop_assert!(shown["bankFinal"] == true, "{shown}");
    prop_assert_eq!(shown["bankStatus"].as_str(), Some(said.status.as_str()));
    prop_assert_eq!(said.moved, told.0 == Some("completed"));
    let cancellation = shown["cancellation"].as_str();
    prop_assert!(cancellation != Some("requested"), "{shown}");
    prop_assert!(cancellation != Some("done") || !said.moved, "{shown}");
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
    let config = Config {
        cases: WAYS,
        failure_persistence: None,
        max_shrink_iters: 100,
        ..Config::default()
    };
    let ways = (prop::collection::vec(step(), 0..10), prop::sample::select(&LAST_WORDS));
    let (handle, mut runner) = (Handle::current(), TestRunner::new(config));
    let tried =
        tokio::task::block_in_place(|| runner.run(&ways, |(steps, last)| handle.block_on(play(&payer, &steps, last))));
    if let Err(wrong) = tried {
        panic!("{wrong}");
    }
    app.check_the_books().await;
    app.off_contract().finish().await;
}
