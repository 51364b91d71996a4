//! The three records, read so that what goes on meanwhile cannot look like a fault: the orders that had arrived, then the
//! rows, then the bank.

use drop_sandbox::{Entry, Operation, Payment};
use serde::Deserialize;
use serde_json::Value;
use sqlx::{FromRow, PgConnection, PgPool, types::Json};

use super::{Arrived, Heard, locked};
use crate::app::TestApp;

/// The three records of all payments.
#[derive(Debug, Clone)]
pub struct Books {
    /// What people heard, oldest first.
    pub heard: Vec<Heard>,
    /// What the bank got and did.
    pub bank: Bank,
    /// The payments as they are stored, oldest first.
    pub payments: Vec<Row>,
    /// The accounts they are paid from.
    pub accounts: Vec<Account>,
    /// `PISP_DEDUPE_PROVEN`: an order may be sent again although its outcome is unknown.
    pub dedupe_proven: bool,
    /// `PISP_RETRY_5XX`: an order may be sent again after 500, 502 or 503.
    pub retries_5xx: bool,
}

/// What the bank got and did.
#[derive(Debug, Clone)]
pub struct Bank {
    /// The orders on their arrival.
    pub arrived: Vec<Arrived>,
    /// The orders with their answers.
    pub posts: Vec<Entry>,
    /// What it made of them.
    pub orders: Vec<Payment>,
}

/// A stored payment with all that hangs on it.
#[derive(Debug, Clone, FromRow)]
pub struct Row {
    /// `tx_…`.
    pub id: String,
    /// `usr_…`.
    pub user_id: String,
    /// `acc_…`.
    pub account: String,
    /// The client's key.
    pub client_key: String,
    /// `X-Request-ID` of every attempt.
    pub request_id: String,
    /// Minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// The payee.
    pub creditor_name: String,
    /// Where it stands.
    #[sqlx(flatten)]
    pub state: State,
    /// A person looks at it.
    pub needs_review: bool,
    /// The bank's id of it.
    pub payment_id: Option<String>,
    /// The one link.
    pub sca_redirect: Option<String>,
    /// Minor units that are held for it.
    pub hold: i64,
    /// Jobs that will move it on.
    pub live_jobs: i64,
    /// Its approval is to be started, and no job will do that.
    pub approval_is_left: bool,
    /// Oldest first.
    pub attempts: Json<Vec<Attempt>>,
    /// Its audit rows, oldest first.
    pub story: Json<Vec<Step>>,
    /// The subjects of the notifications about it.
    pub told: Json<Vec<String>>,
}

/// The columns that say where a payment stands, in the words of the database and of answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, FromRow)]
pub struct State {
    /// What the person sees.
    pub status: String,
    /// Why it failed.
    pub reason: Option<String>,
    /// The bank's last word.
    pub bank_status: Option<String>,
    /// Nothing more comes from the bank.
    pub bank_final: bool,
}

/// An attempt to tell the bank.
#[derive(Debug, Clone, Deserialize, FromRow)]
pub struct Attempt {
    /// SHA-256 of its body, hexadecimal.
    pub body_sha256: String,
    /// What became of it.
    pub outcome: String,
    /// It began after its owner had wished the order back. Time that was moved between the two hides that.
    pub unwanted: bool,
}

/// An audit row.
#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    /// What happened.
    pub action: String,
    /// Ids and words.
    pub detail: Value,
}

/// What is held on an account.
#[derive(Debug, Clone, FromRow)]
pub struct Account {
    /// `acc_…`.
    pub id: String,
    /// What it says.
    pub held: i64,
    /// What its payments say together.
    pub holds: i64,
}

impl Row {
    /// Every state it was in by its audit rows, the first one included.
    pub fn history(&self) -> Vec<State> {
        let mut states = vec![State::requested()];
        for step in &self.story.0 {
            let (last, detail) = (states.last().cloned().unwrap_or_else(State::requested), &step.detail);
            match (step.action.as_str(), detail["to"].as_str()) {
                ("payment.moved", Some(to)) => states.push(State {
                    status: to.to_owned(),
                    reason: detail["reason"].as_str().map(str::to_owned),
                    bank_status: detail["bank_status"].as_str().map(str::to_owned),
                    bank_final: detail["bank_final"] == true,
                }),
                // The bank took it with a word that changes nothing else.
                ("payment.initiated", _) if detail["bank_status"].is_string() => states.push(State {
                    bank_status: detail["bank_status"].as_str().map(str::to_owned),
                    ..last
                }),
                // Taken back at once: the owner's wish and its fulfilment are one row.
                ("payment.cancellation_requested", Some(to)) => states.push(State {
                    status: to.to_owned(),
                    bank_final: detail["bank_final"] == true,
                    ..last
                }),
                _ => {}
            }
        }
        states
    }

    /// The orders that the bank made of it.
    pub fn orders<'a>(&self, bank: &'a Bank) -> Vec<&'a Payment> {
        let own = bank.orders.iter().filter(|order| order.request_id == self.request_id);
        own.collect()
    }

    /// An operator has settled it by what they were told: the bank of the test may say otherwise.
    pub fn is_settled_by_hand(&self) -> bool {
        self.story.0.iter().any(|step| step.action == "payment.settled")
    }
}

impl State {
    /// As a payment begins.
    pub fn requested() -> Self {
        Self {
            status: "processing".to_owned(),
            reason: None,
            bank_status: None,
            bank_final: false,
        }
    }

    /// As an answer shows it.
    pub fn shown(answer: &Value) -> Self {
        let text = |name: &str| answer[name].as_str().map(str::to_owned);
        Self {
            status: text("status").unwrap_or_default(),
            reason: text("reason"),
            bank_status: text("bankStatus"),
            bank_final: answer["bankFinal"] == true,
        }
    }
}

impl TestApp {
    /// The three records, the rows as this transaction sees them.
    pub async fn books_in(&self, tx: &mut PgConnection) -> Books {
        let (heard, arrived) = (locked(&self.ledger.heard).clone(), locked(&self.ledger.arrived).clone());
        let posts = self.sandbox.journal().entries_of(Operation::Payment);
        let payments = sqlx::query_as(PAYMENTS)
            .fetch_all(&mut *tx)
            .await
            .expect("the payments");
        let accounts = sqlx::query_as(ACCOUNTS).fetch_all(tx).await.expect("the accounts");
        Books {
            heard,
            bank: Bank {
                arrived,
                posts,
                orders: self.sandbox.neonomics().payments(),
            },
            payments,
            accounts,
            dedupe_proven: self.variable("PISP_DEDUPE_PROVEN").as_deref() == Some("true"),
            retries_5xx: self.variable("PISP_RETRY_5XX").as_deref() != Some("deduplicated"),
        }
    }
}

/// The attempts under this key that have no outcome yet.
pub(super) async fn under_way(db: &PgPool, request_id: &str) -> sqlx::Result<Vec<Attempt>> {
    sqlx::query_as(
        "SELECT encode(a.body_hash, 'hex') AS body_sha256, a.outcome,
                EXISTS (SELECT FROM audit_log l WHERE l.object = 'tx_' || replace(t.id::text, '-', '')
                           AND l.action = 'payment.cancellation_requested' AND l.at < a.sent_at) AS unwanted
           FROM payment_attempts a JOIN transactions t ON t.id = a.transaction_id
          WHERE t.idempotency_key::text = $1 AND a.outcome = 'sending'",
    )
    .bind(request_id)
    .fetch_all(db)
    .await
}

const PAYMENTS: &str = "
    SELECT named.id, 'usr_' || replace(t.user_id::text, '-', '') AS user_id,
           'acc_' || replace(t.account_id::text, '-', '') AS account, t.client_key,
           t.idempotency_key::text AS request_id, t.amount, t.currency, t.creditor_name, t.status, t.reason,
           t.bank_status, t.bank_final, t.needs_review, t.payment_id, t.sca_redirect, t.hold,
           (SELECT count(*) FROM jobs j WHERE j.kind IN ('initiate-payment', 'poll-payment')
               AND j.unique_key = named.id AND j.state IN ('ready', 'running')) AS live_jobs,
           coalesce(t.authorisation IN ('wanted', 'starting'), false)
             AND NOT EXISTS (SELECT FROM jobs j WHERE j.kind = 'start-authorisation' AND j.unique_key = named.id
                                AND j.state IN ('ready', 'running')) AS approval_is_left,
           (SELECT coalesce(jsonb_agg(jsonb_build_object('body_sha256', encode(a.body_hash, 'hex'),
                                                         'outcome', a.outcome, 'unwanted',
                                                         EXISTS (SELECT FROM audit_log l WHERE l.object = named.id
                                                            AND l.action = 'payment.cancellation_requested'
                                                            AND l.at < a.sent_at)) ORDER BY a.id), '[]')
              FROM payment_attempts a WHERE a.transaction_id = t.id) AS attempts,
           (SELECT coalesce(jsonb_agg(jsonb_build_object('action', l.action, 'detail', l.detail) ORDER BY l.id), '[]')
              FROM audit_log l WHERE l.object = named.id) AS story,
           (SELECT coalesce(jsonb_agg(n.subject ORDER BY n.subject), '[]')
              FROM notifications n WHERE n.kind = 'payment' AND n.subject LIKE named.id || ':%') AS told
      FROM transactions t CROSS JOIN LATERAL (SELECT 'tx_' || replace(t.id::text, '-', '') AS id) named
     ORDER BY t.id";

const ACCOUNTS: &str = "
    SELECT 'acc_' || replace(a.id::text, '-', '') AS id, a.held,
           (SELECT coalesce(sum(t.hold), 0)::bigint FROM transactions t WHERE t.account_id = a.id) AS holds
      FROM bank_accounts a ORDER BY a.id";
