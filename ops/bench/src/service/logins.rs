//! Complete logins: what the service adds to BankID's own time, and how many it takes a second.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use drop_sandbox::Person;
use drop_tests::person::browser;
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{
    Client,
    header::{ACCEPT, COOKIE, LOCATION, SET_COOKIE},
};
use sqlx::PgConnection;

use super::{Service, people::people};
use crate::{
    database::Database,
    table::{Figure, Table, percentile, progress, rate},
};

/// One after the other, for the time that is added.
const ALONE: usize = 200;
/// All at once, for the rate.
const TOGETHER: usize = 3_000;
const AT_A_TIME: usize = 32;
/// From one login alone to the next, at least: closer together the queue sends one wake-up for two.
const APART: Duration = Duration::from_millis(40);
/// The target: so many durable commits, and so many milliseconds more.
const COMMITS_ALLOWED: f64 = 7.0;
const MORE_ALLOWED_MS: f64 = 5.0;

/// Logs people in for some rounds.
pub(crate) async fn measure(database: &Database, rounds: usize, table: &mut Table) -> anyhow::Result<()> {
    let service = Service::start(database).await?;
    let people = people(TOGETHER);
    for person in &people {
        service.sandbox.bankid().add_person(person.clone());
    }
    let client = browser();
    for person in people.iter().take(50) {
        log_in(&service, &client, person).await?;
    }
    for round in 1..=rounds {
        progress(&format!("round {round} of {rounds}"));
        alone(database, &service, &client, &people, table).await?;
        together(&service, &client, &people, table).await?;
    }
    Ok(())
}

/// One at a time: from the callback to its answer, and how much of that was BankID's. Beside each a [`commit`].
async fn alone(
    database: &Database,
    service: &Service,
    client: &Client,
    people: &[Person],
    table: &mut Table,
) -> anyhow::Result<()> {
    let (mut whole, mut commits) = (Vec::new(), Vec::new());
    let mut connection = database.pool.acquire().await?;
    let mut ticks = tokio::time::interval(APART);
    // Not between two logins: whoever looks makes the worker read every gauge, beside the login that comes next.
    let before = bankid_seconds(service).await?;
    for person in people.iter().cycle().take(ALONE) {
        ticks.tick().await;
        commits.push(commit(&mut connection).await?);
        whole.push(log_in(service, client, person).await?.as_secs_f64() * 1_000.0);
    }
    let bankid = (bankid_seconds(service).await? - before) * 1_000.0 / rate(ALONE, 1.0);
    let added: Vec<_> = whole.iter().map(|took| took - bankid).collect();
    let commit = percentile(&commits, 0.5);
    table.add(Figure::Commit, commit);
    table.add(Figure::LoginAllowed, COMMITS_ALLOWED.mul_add(commit, MORE_ALLOWED_MS));
    table.add(Figure::LoginWhole, percentile(&whole, 0.5));
    table.add(Figure::LoginAdded, percentile(&added, 0.5));
    table.add(Figure::LoginAddedP99, percentile(&added, 0.99));
    table.add(Figure::LoginAddedCommits, percentile(&added, 0.5) / commit);
    Ok(())
}

async fn together(service: &Service, client: &Client, people: &[Person], table: &mut Table) -> anyhow::Result<()> {
    let started = Instant::now();
    stream::iter(people)
        .map(|person| log_in(service, client, person))
        .buffer_unordered(AT_A_TIME)
        .try_collect::<Vec<_>>()
        .await?;
    table.add(Figure::Logins, rate(people.len(), started.elapsed().as_secs_f64()));
    Ok(())
}

/// From the click to the session. Returns the time from the callback to its answer.
pub(super) async fn log_in(service: &Service, client: &Client, person: &Person) -> anyhow::Result<Duration> {
    let address = service.fresh_address();
    let started = client
        .get(format!("{}/api/auth/bankid/login", service.url))
        .header("x-forwarded-for", &address)
        .send()
        .await?;
    let header = |name| started.headers().get(name).and_then(|value| value.to_str().ok());
    let bankid = header(LOCATION).context("no way to BankID")?;
    let cookie = header(SET_COOKIE)
        .and_then(|line| line.split(';').next())
        .context("no cookie")?;
    let callback = service.sandbox.bankid().sign_in(bankid, &person.key)?;
    let back = client
        .get(callback)
        .header("x-forwarded-for", &address)
        .header(COOKIE, cookie)
        .header(ACCEPT, "application/json");
    let asked = Instant::now();
    let answer = back.send().await?;
    let took = asked.elapsed();
    ensure!(answer.status() == 200, "a login ended with {}", answer.status());
    Ok(took)
}

async fn bankid_seconds(service: &Service) -> anyhow::Result<f64> {
    Ok(service.seconds_at("bankid", "token").await? + service.seconds_at("bankid", "jwks").await?)
}

/// The milliseconds of one durable commit of one row: the unit of the limit. Beside what it is the unit of, for a disk that is
/// quick for five hundred in a row is not so for one now and then, nor the same a moment later.
pub(super) async fn commit(connection: &mut PgConnection) -> anyhow::Result<f64> {
    let started = Instant::now();
    sqlx::query("INSERT INTO bare (kind, lane, payload, max_attempts) VALUES ('bench', 8, '{}', 5)")
        .execute(connection)
        .await?;
    Ok(started.elapsed().as_secs_f64() * 1_000.0)
}
