//! Logins and payments while the balances of very many accounts are read, beside the same without.

use std::time::{Duration, Instant};

use anyhow::ensure;
use drop_common::{
    queue::{self, Job, Lane, payloads::PlanBalanceSyncs},
    storage::schedule,
};
use drop_sandbox::{BankSettings, Person};
use drop_tests::person::browser;
use reqwest::Client;

use super::{Service, logins, payer::Payer, payments, people::people};
use crate::{
    Sizes,
    database::Database,
    table::{Figure, Table, percentile, progress, rate},
};

/// So many that nobody pays more often than a user may.
const PAYERS: usize = 64;
/// Logins, and beside them payments, of one measurement: one after the other of each.
const EACH: usize = 200;

/// Whoever pays, and whoever else logs in.
struct People {
    persons: Vec<Person>,
    payers: Vec<Payer>,
    client: Client,
}

/// Measures without the storm and within it, by turns.
pub(crate) async fn measure(database: &Database, sizes: &Sizes, table: &mut Table) -> anyhow::Result<()> {
    let service = Service::start(database).await?;
    // The accounts have one handle at the bank, which would count all their reads as one account's.
    let unlimited = |bank: &mut BankSettings| bank.unattended_reads = usize::MAX;
    service.sandbox.neonomics().configure(unlimited);
    let (people, mut numbers) = (prepare(&service).await?, 0..);
    accounts(database, sizes.accounts).await?;
    // As a service that has run for a while: each of its connections knows the statements.
    side_by_side(&service, &people, &mut numbers).await?;
    payments::settle(database, &service).await?;
    for round in 1..=sizes.rounds {
        progress(&format!("round {round} of {}", sizes.rounds));
        let (logins, payments) = side_by_side(&service, &people, &mut numbers).await?;
        table.add(Figure::LoginCalmP95, logins);
        table.add(Figure::PaymentCalmP95, payments);
        payments::settle(database, &service).await?;
        begin(database).await?;
        let started = Instant::now();
        let (logins, payments) = side_by_side(&service, &people, &mut numbers).await?;
        table.add(Figure::LoginStormP95, logins);
        table.add(Figure::PaymentStormP95, payments);
        let read = usize::try_from(reads(database).await?)?;
        ensure!(read > 0, "no balance was read meanwhile");
        table.add(Figure::StormReads, rate(read, started.elapsed().as_secs_f64()));
        table.add(Figure::StormMemory, service.worker_memory_mib()?);
        end(database).await?;
        payments::settle(database, &service).await?;
    }
    Ok(())
}

async fn prepare(service: &Service) -> anyhow::Result<People> {
    let client = browser();
    let (persons, mut payers) = (people(PAYERS + EACH), Vec::new());
    for person in &persons {
        service.sandbox.bankid().add_person(person.clone());
    }
    for person in &persons[..PAYERS] {
        payers.push(Payer::prepare(service, &client, person).await?);
    }
    Ok(People {
        persons,
        payers,
        client,
    })
}

/// More accounts under the first payer's consent, never read and due for nothing yet.
async fn accounts(database: &Database, count: usize) -> anyhow::Result<()> {
    sqlx::query(
        "INSERT INTO bank_accounts (id, user_id, consent_id, bank, resource_id, account_sealed, account_index, account_masked, currency)
         SELECT gen_random_uuid(), user_id, consent_id, bank, resource_id, account_sealed, sha256(n::text::bytea), account_masked, currency
           FROM (SELECT * FROM bank_accounts ORDER BY created_at LIMIT 1) first, generate_series(1, $1) n",
    )
    .bind(i64::try_from(count)?)
    .execute(&database.pool)
    .await?;
    database.run("ANALYZE bank_accounts; CHECKPOINT").await
}

/// p95 of the logins and of the payments, in milliseconds.
async fn side_by_side(
    service: &Service,
    people: &People,
    numbers: &mut impl Iterator<Item = usize>,
) -> anyhow::Result<(f64, f64)> {
    let logins = async {
        let mut times = Vec::new();
        for person in people.persons[PAYERS..].iter().cycle().take(EACH) {
            let took = logins::log_in(service, &people.client, person).await?;
            times.push(took.as_secs_f64() * 1_000.0);
        }
        anyhow::Ok(percentile(&times, 0.95))
    };
    let payments = async {
        let mut times = Vec::new();
        for (payer, number) in people.payers.iter().cycle().zip(numbers).take(EACH) {
            times.push(payments::pay(payer, service, &people.client, number).await? * 1_000.0);
        }
        anyhow::Ok(percentile(&times, 0.95))
    };
    tokio::try_join!(logins, payments)
}

/// All of the accounts are due at once, and a plan begins.
async fn begin(database: &Database) -> anyhow::Result<()> {
    database
        .run("UPDATE bank_accounts SET next_sync_at = clock_timestamp()")
        .await?;
    let slot = schedule::now(&database.pool).await?;
    let mut tx = database.pool.begin().await?;
    queue::enqueue(&mut tx, &PlanBalanceSyncs { slot }).await?;
    tx.commit().await?;
    Ok(())
}

async fn reads(database: &Database) -> anyhow::Result<i64> {
    Ok(
        sqlx::query_scalar("SELECT count(*) FROM balance_reads WHERE NOT attended")
            .fetch_one(&database.pool)
            .await?,
    )
}

/// Ends the storm: what runs may finish, and the rest is not read.
async fn end(database: &Database) -> anyhow::Result<()> {
    pause(database, true).await?;
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    loop {
        ticks.tick().await;
        let running: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE lane = $1 AND state = 'running'")
            .bind(Lane::BalanceBatch.id())
            .fetch_one(&database.pool)
            .await?;
        if running == 0 {
            break;
        }
    }
    sqlx::query("DELETE FROM jobs WHERE lane = $1 OR kind = $2")
        .bind(Lane::BalanceBatch.id())
        .bind(PlanBalanceSyncs::KIND)
        .execute(&database.pool)
        .await?;
    for statement in ["TRUNCATE balance_reads", "VACUUM jobs, bank_accounts", "CHECKPOINT"] {
        database.run(statement).await?;
    }
    pause(database, false).await
}

async fn pause(database: &Database, paused: bool) -> anyhow::Result<()> {
    sqlx::query("UPDATE lanes SET paused = $1 WHERE lane = $2")
        .bind(paused)
        .bind(Lane::BalanceBatch.id())
        .execute(&database.pool)
        .await?;
    Ok(())
}
