//! A person who pays, and processes that die of it.

use std::{
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    sync::atomic::{AtomicU32, Ordering},
};

use drop_sandbox::Decision;
use drop_tests::{
    app::TestApp,
    person::{Answer, SignedIn, browser},
    processes::Node,
};
use serde_json::Value;

use crate::paying::{execute, order, shown, value};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_drop-node");
const SIGABRT: i32 = 6;

/// Somebody with a bank account, whose payments all differ: none is taken for a repetition of another.
pub(crate) struct Payer<'a> {
    pub(crate) app: &'a TestApp,
    pub(crate) person: SignedIn<'a>,
    account: String,
    payments: AtomicU32,
}

/// An order under its key.
pub(crate) struct Order {
    pub(crate) key: String,
    pub(crate) body: Value,
}

impl<'a> Payer<'a> {
    /// Anna. From here on jobs run by hand, or in processes that a test starts.
    pub(crate) async fn of(app: &'a TestApp) -> Self {
        let person = app.signed_in("anna").await;
        let account = person.has_an_account().await;
        app.stop_worker().await;
        Self {
            app,
            person,
            account,
            payments: AtomicU32::new(0),
        }
    }

    /// The same person in a new session: the old one may have ended with the time that was moved.
    pub(crate) async fn signs_in_again(&mut self) {
        self.app.start_worker().await;
        self.person = self.app.signed_in("anna").await;
        self.app.stop_worker().await;
    }

    /// An order that is none of the earlier ones.
    pub(crate) fn next_order(&self) -> Order {
        let number = self.payments.fetch_add(1, Ordering::Relaxed);
        Order {
            key: format!("payment-{number}"),
            body: order(&self.account, &format!("{}.{:02}", 10 + number / 100, number % 100)),
        }
    }

    /// Asks for it without waiting for the bank.
    pub(crate) async fn asks(&self, order: &Order) -> Answer {
        let path = "/v1/transactions";
        self.person.post_later(path, &order.key, &order.body).await
    }

    /// Has ordered a payment that nobody has sent yet; its id.
    pub(crate) async fn orders(&self) -> String {
        let accepted = self.asks(&self.next_order()).await;
        assert_eq!(accepted.status, 202, "{:?}", accepted.problem());
        accepted.body["id"].as_str().unwrap().to_owned()
    }

    /// Has a payment that waits for its approval at the bank; its id and the link.
    pub(crate) async fn has_one_at_the_bank(&self) -> (String, String) {
        let id = self.orders().await;
        self.app.run_jobs().await;
        let link = shown(&self.person, &id).await["scaRedirect"]
            .as_str()
            .unwrap()
            .to_owned();
        (id, link)
    }

    /// Wishes to take it back, without waiting for the bank.
    pub(crate) async fn takes_back(&self, id: &str) -> Answer {
        let request = self.person.request(&format!("/v1/transactions/{id}/cancel"));
        let answer = Answer::of(request.header("Prefer", "respond-async").send().await.unwrap()).await;
        self.app.ledger.hear(&self.person.user, None, &answer);
        answer
    }

    /// Lets the service go on by itself, approves the payment if it comes to that, and says how it ended.
    pub(crate) async fn plays_out(&self, id: &str) -> String {
        recovers(self.app).await;
        if let Some(link) = shown(&self.person, id).await["scaRedirect"].as_str() {
            approves(self.app, link).await;
            recovers(self.app).await;
        }
        self.standing(id).await
    }

    /// `review`, or the status with the reason, and with `?` where the bank has not said its last word.
    pub(crate) async fn standing(&self, id: &str) -> String {
        let shown = shown(&self.person, id).await;
        let (_, hex) = id.split_once('_').unwrap();
        let in_review = format!("SELECT needs_review FROM transactions WHERE replace(id::text, '-', '') = '{hex}'");
        if shown["status"] == "processing" && value(self.app, &in_review).await {
            return "review".to_owned();
        }
        let parts = [shown["status"].as_str(), shown["reason"].as_str()];
        let known = parts.into_iter().flatten().collect::<Vec<_>>().join(":");
        known + if shown["bankFinal"] == true { "" } else { "?" }
    }
}

/// Approves at the bank and comes back.
pub(crate) async fn approves(app: &TestApp, link: &str) {
    let decided = app.sandbox.bank().decide_at(link, Decision::Approve);
    let back = decided.expect("a decision").expect("a way back");
    assert_eq!(browser().get(back).send().await.unwrap().status(), 200);
}

/// A worker that serves this lane reaches the point and dies there.
pub(crate) async fn worker_dies(app: &TestApp, lane: &str, point: &str) {
    worker_dies_the(1, app, lane, point).await;
}

/// As [`worker_dies`], when it reaches the point for the nth time.
pub(crate) async fn worker_dies_the(nth: u32, app: &TestApp, lane: &str, point: &str) {
    let armed = format!("{point}=abort@{nth}");
    let changes = [("DROP_FAILPOINT", armed.as_str()), ("DROP_LANES", lane)];
    let ended = app.worker_process(PROGRAM, &changes).ended().await;
    assert_died(ended, point);
}

pub(crate) fn assert_died(ended: ExitStatus, point: &str) {
    assert_eq!(ended.signal(), Some(SIGABRT), "it did not die at {point}: {ended:?}");
}

/// Ends a process at once, if it has not ended itself.
pub(crate) async fn kill(mut process: Node) {
    if process.is_running() {
        process.signal("KILL");
    }
    process.ended().await;
}

/// Whoever is left takes over what the dead have held, and goes on for a while.
pub(crate) async fn recovers(app: &TestApp) {
    for _ in 0..4 {
        a_minute_passes(app).await;
        app.run_jobs().await;
    }
}

/// Whoever is left takes over, and so much time passes that a bank which has forgotten an order is believed.
pub(crate) async fn recovers_at_length(app: &TestApp) {
    for _ in 0..3 {
        recovers(app).await;
    }
}

/// For the queue, the circuits and what the bank has forgotten alone: a session would end with the tenth of these minutes.
pub(crate) async fn a_minute_passes(app: &TestApp) {
    execute(
        app,
        "UPDATE jobs SET lease_until = lease_until - interval '61 s', claimed_at = claimed_at - interval '61 s'
          WHERE state = 'running';
         UPDATE jobs SET run_at = run_at - interval '61 s' WHERE state = 'ready';
         UPDATE transactions SET forgotten_at = forgotten_at - interval '61 s' WHERE forgotten_at IS NOT NULL;
         UPDATE breaker SET retry_at = retry_at - interval '61 s', probe_until = probe_until - interval '61 s',
                fails = ARRAY(SELECT at - interval '61 s' FROM unnest(fails) at) WHERE open OR fails <> '{}'",
    )
    .await;
}
