//! Kills at random points, for as long as one likes, of workers, of APIs and of the database, at a bank that fails in every
//! way, for a person who is unlinked or rejected meanwhile. The seed, which it prints, gives the same choices again; how the
//! processes fall over each other is theirs.

use std::{env, time::Duration};

use chrono::TimeDelta;
use drop_sandbox::Decision;
use drop_tests::app::TestApp;
use serde_json::Value;

use super::{
    mishaps,
    scene::{PROGRAM, Payer, a_minute_passes, kill, recovers},
};
use crate::paying::{execute, shown, value};

const SEED: &str = "DROP_KILL_SEED";
const ROUNDS: &str = "DROP_KILL_ROUNDS";

const POINTS: [&str; 22] = [
    "queue.claimed",
    "queue.domain_committed",
    "queue.before_ack",
    "pay.claimed",
    "pay.attempt_written",
    "pay.sending",
    "pay.response_read",
    "pay.result",
    "pay.recorded",
    "authorise.claimed",
    "authorise.written",
    "authorise.sending",
    "authorise.response_read",
    "authorise.result",
    "pay.poll_claimed",
    "pay.polled",
    "pay.withdrawn",
    "pay.final",
    "cancel.claimed",
    "cancel.withdrawn",
    "cancel.result",
    "cancel.recorded",
];

/// Numbers that follow from a seed (splitmix64).
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub(super) fn one_of<T: Clone>(&mut self, things: &[T]) -> T {
        let number = self.below(things.len().try_into().unwrap());
        things[usize::try_from(number).unwrap()].clone()
    }
}

fn number(variable: &str) -> Option<u64> {
    Some(env::var(variable).ok()?.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes, and longer on request: CONTRIBUTING.md"]
async fn p1_p5_p6_kills_at_random_points_leave_the_books_right() {
    let seed = number(SEED).unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0));
    println!("{SEED}={seed}");
    let mut chance = Chance(seed);
    let proven = chance.below(2) == 1;
    let retries = chance.one_of(&["always", "deduplicated"]);
    let changes = [
        ("PISP_DEDUPE_PROVEN", if proven { "true" } else { "false" }),
        ("PISP_RETRY_5XX", retries),
    ];
    let app = TestApp::start_on_its_own_server_with(&changes).await;
    let explicit = chance.below(2) == 1;
    app.sandbox.neonomics().configure(|bank| {
        bank.deduplicate = proven;
        bank.explicit_authorisation = explicit;
    });
    let mut payer = Payer::of(&app).await;
    execute(&app, "UPDATE lanes SET lease = '2 s'").await;
    let mut ids: Vec<String> = Vec::new();
    for round in 1..=number(ROUNDS).unwrap_or(100) {
        mishaps::to_the_person(&mut payer, &mut chance).await;
        for _ in 0..=chance.below(3) {
            let order = payer.next_order();
            mishaps::asks_an_api_that_dies(&payer, &order, &mut chance).await;
            let answer = payer.asks(&order).await;
            match answer.status.as_u16() {
                // The second: the API that died had taken it.
                201 | 202 => ids.push(answer.body["id"].as_str().unwrap().to_owned()),
                // The person may not pay or has no account; the circuit is open, or the lane full.
                403 | 404 | 429 | 502 | 503 => {}
                _ => panic!("{:?}", answer.problem()),
            }
        }
        mishaps::at_the_bank(&app, &mut chance);
        let armed = format!("{}=abort@{}", chance.one_of(&POINTS), 1 + chance.below(3));
        let lanes = ("DROP_LANES", "payment.send,payment.poll");
        let mut workers = vec![app.worker_process(PROGRAM, &[lanes, ("DROP_FAILPOINT", &armed)])];
        if chance.below(2) == 0 {
            workers.push(app.worker_process(PROGRAM, &[lanes]));
        }
        for id in ids.iter().rev().take(8) {
            somebody_does_something(&payer, id, &mut chance).await;
        }
        if chance.below(12) == 0 {
            mishaps::the_database_restarts(&app).await;
        }
        let time = Duration::from_millis(200 + chance.below(2_500));
        tokio::time::timeout(time, workers[0].ended()).await.ok();
        for worker in workers {
            kill(worker).await;
        }
        if chance.below(3) == 0 {
            a_minute_passes(&app).await;
        }
        if round % 10 == 0 {
            app.check_the_books().await;
            payer.signs_in_again().await;
        }
    }

    app.sandbox.faults().clear(None);
    for _ in 0..3 {
        app.advance(TimeDelta::minutes(6)).await;
        recovers(&app).await;
    }
    let open = "SELECT count(*) FROM transactions WHERE NOT bank_final AND NOT needs_review";
    assert_eq!(value::<i64>(&app, open).await, 0, "somebody is left waiting");
    let ends = "SELECT string_agg(status || ': ' || count, ', ') FROM
                 (SELECT status, count(*) FROM transactions GROUP BY 1 ORDER BY 1) AS ends";
    println!("{}", value::<String>(&app, ends).await);
    app.abandon().await;
}

/// The payment's owner looks at it, approves or rejects it, comes back or does not, or takes it back.
async fn somebody_does_something(payer: &Payer<'_>, id: &str, chance: &mut Chance) {
    let Value::String(link) = shown(&payer.person, id).await["scaRedirect"].take() else {
        // It may be about to be sent, or sent again.
        if chance.below(6) == 0 {
            mishaps::takes_back(payer, id, chance).await;
        }
        return;
    };
    let bank = payer.app.sandbox.bank();
    // What was decided or withdrawn before is no longer open to a decision.
    match chance.below(6) {
        0 => drop(bank.decide_at(&link, Decision::Approve)),
        1 => {
            if let Ok(Some(back)) = bank.decide_at(&link, Decision::Approve) {
                mishaps::comes_back(payer.app, &back, chance).await;
            }
        }
        2 => drop(bank.decide_at(&link, Decision::Reject)),
        3 => mishaps::takes_back(payer, id, chance).await,
        _ => {}
    }
}
