//! The books of all payments: what people heard, what the bank got and did, and what the rows say. Whatever happened in
//! between, a process that died or an answer that was lost, the three must agree.
//!
//! [`TestApp::check_the_books`] joins them. It holds at every moment, so it is asked at the end of every test that leaves
//! a payment behind, and after every kill of those that kill.

mod bank;
mod books;
mod client;
mod moves;
mod rows;

use std::{
    fmt::{self, Write as _},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use drop_sandbox::{Arrival, Operation};
use serde_json::Value;
use sqlx::PgPool;

pub use self::books::{Account, Attempt, Bank, Books, Row, State, Step};
use crate::{app::TestApp, person::Answer};

/// What must hold of every payment, with the invariant that it checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// P1: the bank makes at most one payment of a person's key, and one link at most is handed out for it.
    OnePayment,
    /// P2: an order reaches the bank after the row of its attempt was committed, under the same key and with the same body.
    WrittenBeforeSent,
    /// P3: one key is one payment; its answers are alike, and none is a 500.
    OneKeyOnePayment,
    /// P4: a payment moves as the documents say, and each move has its audit row.
    AllowedMoves,
    /// P5: a payment that is not final has a job, or a person who looks at it.
    Future,
    /// P6, P10: nothing is called failed or cancelled for good that the bank has paid, and nothing completed that it has not.
    Truth,
    /// P7: what was asked for is what is stored and what was sent, byte by byte on every attempt.
    SentAsAsked,
    /// P8: an order is sent again only after an answer that allows it, and then four times at most.
    SentAgain,
    /// Once the wish to take an order back is written, no attempt to send it begins.
    Unwanted,
    /// A person is told once of each end that they see, and of no other.
    ToldOnce,
    /// A person is shown only what the payment was at some time.
    ShownAsItWas,
    /// What is held on an account is what is held for its payments.
    Holds,
}

/// A rule that does not hold, and where.
#[derive(Debug, Clone)]
pub struct Broken {
    /// The rule.
    pub rule: Rule,
    /// The payment, account or key, and what is wrong with it.
    pub what: String,
}

impl Broken {
    fn new(rule: Rule, of: &str, what: impl fmt::Display) -> Self {
        Self {
            rule,
            what: format!("{of}: {what}"),
        }
    }
}

/// An answer about a payment, as somebody got it.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Who asked, `usr_…`.
    pub user: String,
    /// The `Idempotency-Key` and the order, where a payment was asked for.
    pub asked: Option<(String, Value)>,
    /// The answer's status.
    pub status: u16,
    /// The answer says that the key was used before.
    pub replayed: bool,
    /// The answer's body.
    pub shown: Value,
}

/// An order on its arrival at the bank.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// Its `X-Request-ID`.
    pub request_id: String,
    /// SHA-256 of its body, hexadecimal.
    pub body_sha256: String,
    /// The body hashes of the attempts under this key that had no outcome then; `None`: the database was away.
    pub under_way: Option<Vec<String>>,
    /// One of those attempts began after its owner had wished the order back.
    pub unwanted: bool,
}

/// What is written down while a test runs.
#[derive(Debug, Default)]
pub struct Ledger {
    heard: Mutex<Vec<Heard>>,
    arrived: Mutex<Vec<Arrived>>,
}

impl Ledger {
    /// Keeps an answer about payments.
    pub fn hear(&self, user: &str, asked: Option<(&str, &Value)>, answer: &Answer) {
        locked(&self.heard).push(Heard {
            user: user.to_owned(),
            // The quotes of a structured field are not part of the key.
            asked: asked.map(|(key, order)| (key.trim_matches('"').to_owned(), order.clone())),
            status: answer.status.as_u16(),
            replayed: answer.replayed,
            shown: answer.body.clone(),
        });
    }

    /// Keeps a payment that was shown in some other way: in a list, or as an event.
    pub fn see(&self, user: &str, shown: &Value) {
        locked(&self.heard).push(Heard {
            user: user.to_owned(),
            asked: None,
            status: 200,
            replayed: false,
            shown: shown.clone(),
        });
    }

    /// Looks for the attempt of each order that arrives at the bank, before anything comes of it.
    pub(crate) fn witness(self: &Arc<Self>, db: &PgPool) -> impl Fn(Arrival) -> Looking + Send + Sync + 'static {
        let (ledger, db) = (Arc::clone(self), db.clone());
        move |arrival| {
            let (ledger, db) = (Arc::clone(&ledger), db.clone());
            Box::pin(async move {
                if arrival.operation == Operation::Payment {
                    let attempts = books::under_way(&db, &arrival.request_id).await.ok();
                    let unwanted = attempts.iter().flatten().any(|attempt| attempt.unwanted);
                    let bodies = |attempts: Vec<Attempt>| attempts.into_iter().map(|attempt| attempt.body_sha256);
                    locked(&ledger.arrived).push(Arrived {
                        request_id: arrival.request_id,
                        body_sha256: arrival.body_sha256,
                        under_way: attempts.map(|attempts| bodies(attempts).collect()),
                        unwanted,
                    });
                }
            })
        }
    }
}

/// A look into the database.
pub(crate) type Looking = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

impl Books {
    /// Every rule that does not hold.
    pub fn broken(&self) -> Vec<Broken> {
        [
            bank::one_payment,
            bank::written_before_sent,
            bank::sent_as_asked,
            bank::sent_again,
            bank::unwanted,
            bank::truth,
            client::one_key_one_payment,
            client::shown_as_it_was,
            rows::allowed_moves,
            rows::future,
            rows::told_once,
            rows::holds,
        ]
        .iter()
        .flat_map(|rule| rule(self))
        .collect()
    }
}

impl TestApp {
    /// Fails, with all that is wrong, unless what was heard, what the bank did and what the rows say agree.
    pub async fn check_the_books(&self) {
        let books = self.books().await;
        let broken = books.broken();
        if broken.is_empty() {
            return;
        }
        let mut said = String::from("the books are wrong:\n");
        for Broken { rule, what } in broken {
            writeln!(said, "  {rule:?}: {what}").expect("writing to a String cannot fail");
        }
        panic!("{said}\n{books:#?}");
    }

    /// The three records as they are now.
    pub async fn books(&self) -> Books {
        let mut snapshot = self.db.begin().await.expect("the database");
        sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            .execute(&mut *snapshot)
            .await
            .expect("a snapshot");
        let books = self.books_in(&mut snapshot).await;
        snapshot.commit().await.expect("nothing was written");
        books
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
