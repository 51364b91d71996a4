//! Payments: what the service adds to the bank's own time, how many it takes a second, and what the circuit costs.

use std::time::{Duration, Instant};

use anyhow::ensure;
use drop_common::{
    queue::Lane,
    resilience::breaker::{self, BreakerKey},
};
use drop_sandbox::{Fault, Operation};
use drop_tests::person::browser;
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::Client;

use super::{Service, logins, payer::Payer, people::people};
use crate::{
    database::Database,
    table::{Figure, Table, percentile, progress, rate},
};

/// How long the simulated bank thinks about a payment.
const BANK_MS: u64 = 50;
/// So many that nobody pays more often than a user may.
const PAYERS: usize = 64;
/// One after the other, for the time that is added.
const ALONE: usize = 100;
/// All at once, for the rate.
const TOGETHER: usize = 1_000;
const AT_A_TIME: usize = 32;
/// The target: so many durable commits, and so many milliseconds more.
const COMMITS_ALLOWED: f64 = 6.0;
const MORE_ALLOWED_MS: f64 = 5.0;
const ASKED: usize = 2_000;

/// Pays for some rounds.
pub(crate) async fn measure(database: &Database, rounds: usize, table: &mut Table) -> anyhow::Result<()> {
    let service = Service::start(database).await?;
    let client = browser();
    let mut payers = Vec::new();
    for person in people(PAYERS) {
        service.sandbox.bankid().add_person(person.clone());
        payers.push(Payer::prepare(&service, &client, &person).await?);
    }
    service
        .sandbox
        .faults()
        .add(Operation::Payment, Fault::Delay { ms: BANK_MS }, None);
    let mut numbers = 0..;
    // As a service that has run for a while: the database knows its tables, and each connection the statements. Planned for
    // tables that were empty, they would read them whole until autovacuum has come by.
    pay_together(&service, &client, &payers, &mut numbers).await?;
    settle(database, &service).await?;
    database.run("ANALYZE").await?;
    pay_together(&service, &client, &payers, &mut numbers).await?;
    settle(database, &service).await?;
    for round in 1..=rounds {
        progress(&format!("round {round} of {rounds}"));
        alone(database, &service, &client, &payers, &mut numbers, table).await?;
        settle(database, &service).await?;
        let started = Instant::now();
        pay_together(&service, &client, &payers, &mut numbers).await?;
        table.add(Figure::Payments, rate(TOGETHER, started.elapsed().as_secs_f64()));
        settle(database, &service).await?;
        circuit(database, table).await?;
    }
    Ok(())
}

/// The bank settles every payment, and the worker hears of it and tells each person: it has nothing to do for any of them while
/// the next are measured.
pub(super) async fn settle(database: &Database, service: &Service) -> anyhow::Result<()> {
    let bank = service.sandbox.neonomics();
    for payment in bank.payments().iter().filter(|payment| payment.status != "ACSC") {
        bank.set_payment_status(&payment.id, "ACSC")?;
    }
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    for _ in 0..120 {
        ticks.tick().await;
        let open: i64 = sqlx::query_scalar("SELECT count(*) FROM transactions WHERE NOT bank_final")
            .fetch_one(&database.pool)
            .await?;
        let untold: i64 = sqlx::query_scalar("SELECT count(*) FROM notifications WHERE delivered_at IS NULL")
            .fetch_one(&database.pool)
            .await?;
        if open == 0 && untold == 0 {
            return Ok(());
        }
        sqlx::query("UPDATE jobs SET run_at = clock_timestamp() WHERE lane = $1 AND state = 'ready' AND run_at > clock_timestamp()")
            .bind(Lane::PaymentPoll.id())
            .execute(&database.pool)
            .await?;
    }
    anyhow::bail!("the payments do not settle")
}

/// One at a time: from the order to the link, and how much of that was the bank's. Beside each a [commit](logins::commit).
async fn alone(
    database: &Database,
    service: &Service,
    client: &Client,
    payers: &[Payer],
    numbers: &mut impl Iterator<Item = usize>,
    table: &mut Table,
) -> anyhow::Result<()> {
    let (mut whole, mut commits) = (Vec::new(), Vec::new());
    let mut connection = database.pool.acquire().await?;
    // Not between two payments: whoever looks makes the worker read every gauge, beside the payment that comes next.
    let before = service.seconds_at("neonomics", "payment_initiate").await?;
    for (payer, number) in payers.iter().cycle().zip(numbers.by_ref()).take(ALONE) {
        commits.push(logins::commit(&mut connection).await?);
        whole.push(pay(payer, service, client, number).await? * 1_000.0);
    }
    let bank = service.seconds_at("neonomics", "payment_initiate").await? - before;
    let bank = bank * 1_000.0 / rate(ALONE, 1.0);
    let added: Vec<_> = whole.iter().map(|took| took - bank).collect();
    let commit = percentile(&commits, 0.5);
    table.add(Figure::Commit, commit);
    table.add(Figure::PaymentAllowed, COMMITS_ALLOWED.mul_add(commit, MORE_ALLOWED_MS));
    table.add(Figure::PaymentWhole, percentile(&whole, 0.5));
    table.add(Figure::PaymentAtBank, bank);
    table.add(Figure::PaymentAdded, percentile(&added, 0.5));
    table.add(Figure::PaymentAddedP99, percentile(&added, 0.99));
    table.add(Figure::PaymentAddedCommits, percentile(&added, 0.5) / commit);
    Ok(())
}

async fn pay_together(
    service: &Service,
    client: &Client,
    payers: &[Payer],
    numbers: &mut impl Iterator<Item = usize>,
) -> anyhow::Result<()> {
    let orders: Vec<_> = payers.iter().cycle().zip(numbers).take(TOGETHER).collect();
    stream::iter(orders)
        .map(|(payer, number)| pay(payer, service, client, number))
        .buffer_unordered(AT_A_TIME)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(())
}

/// Seconds from the order to its link.
pub(super) async fn pay(payer: &Payer, service: &Service, client: &Client, number: usize) -> anyhow::Result<f64> {
    let order = payer.order(service, client, number);
    let asked = Instant::now();
    let answer = order.send().await?;
    let took = asked.elapsed().as_secs_f64();
    ensure!(
        answer.status() == 201,
        "a payment was answered with {}",
        answer.status()
    );
    Ok(took)
}

/// Whether a call may leave, as it is asked before each, beside the least that a statement costs.
async fn circuit(database: &Database, table: &mut Table) -> anyhow::Result<()> {
    let mut connection = database.pool.acquire().await?;
    let started = Instant::now();
    for _ in 0..ASKED {
        sqlx::query("SELECT 1").execute(&mut *connection).await?;
    }
    table.add(
        Figure::BareStatement,
        started.elapsed().as_secs_f64() * 1_000.0 / rate(ASKED, 1.0),
    );
    let started = Instant::now();
    for _ in 0..ASKED {
        breaker::state_in(&mut *connection, BreakerKey::NeonomicsPisp).await?;
    }
    table.add(
        Figure::CircuitAsked,
        started.elapsed().as_secs_f64() * 1_000.0 / rate(ASKED, 1.0),
    );
    Ok(())
}
