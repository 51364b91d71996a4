//! Measures the job queue, and the service, beside the least that PostgreSQL can do, in one run on one server.
//!
//! Every figure is the median of several rounds, and the rounds of all measurements alternate: what the machine does
//! meanwhile hits them alike, so that ratios can be trusted where rates cannot.

mod baseline;
mod claims;
mod database;
mod drain;
mod enqueue;
mod latency;
mod service;
mod table;
mod worker;

use clap::{Args, Parser, Subcommand};

use database::Database;
use table::{Figure, Table};

/// Measures the job queue against the PostgreSQL it is given.
#[derive(Parser)]
#[command(name = "drop-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    sizes: Sizes,
}

/// How much is measured.
#[derive(Debug, Clone, Args)]
struct Sizes {
    /// A server on which databases may be made; its durability settings decide what the figures mean.
    #[arg(
        long,
        env = "DROP_DATABASE_URL",
        hide_env_values = true,
        required = false,
        global = true,
        default_value = ""
    )]
    url: String,
    /// Rounds of each measurement.
    #[arg(long, global = true, default_value_t = 5)]
    rounds: usize,
    /// Jobs of a drain, and rows of each baseline.
    #[arg(long, default_value_t = 20_000)]
    jobs: usize,
    /// Jobs that wait in the large claim cases.
    #[arg(long, default_value_t = 1_000_000)]
    waiting: usize,
    /// Accounts whose balances are due at once.
    #[arg(long, default_value_t = 100_000)]
    accounts: usize,
    /// Slots of the lane where nothing else is said. It ships with a few: its jobs are rare, and these do nothing.
    #[arg(long, default_value_t = 512)]
    slots: usize,
}

#[derive(Subcommand)]
enum Command {
    /// Measures complete logins instead of the queue.
    Logins,
    /// Measures payments instead of the queue.
    Payments,
    /// Measures the acceptance of webhooks instead of the queue.
    Webhooks,
    /// Measures logins and payments while very many balances are due, instead of the queue.
    Balances,
    // The bench starts itself for its workers: processes of their own, as in production.
    #[command(hide = true)]
    Worker(worker::Worker),
    #[command(hide = true)]
    Process(service::Process),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { command, sizes } = Arguments::parse();
    match command {
        Some(Command::Worker(worker)) => worker.run().await,
        Some(Command::Process(process)) => process.run().await,
        Some(Command::Logins) => measure(&sizes, Subject::Logins).await,
        Some(Command::Payments) => measure(&sizes, Subject::Payments).await,
        Some(Command::Webhooks) => measure(&sizes, Subject::Webhooks).await,
        Some(Command::Balances) => measure(&sizes, Subject::Balances).await,
        None => measure(&sizes, Subject::Queue).await,
    }
}

/// What is measured in one run.
#[derive(Debug, Clone, Copy)]
enum Subject {
    Queue,
    Logins,
    Payments,
    Webhooks,
    Balances,
}

async fn measure(sizes: &Sizes, subject: Subject) -> anyhow::Result<()> {
    anyhow::ensure!(!sizes.url.is_empty(), "say which server: --url or DROP_DATABASE_URL");
    let database = Database::create(&sizes.url).await?;
    let measured = tokio::select! {
        measured = all(&database, sizes, subject) => measured,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    database.remove().await?;
    measured?.print();
    Ok(())
}

async fn all(database: &Database, sizes: &Sizes, subject: Subject) -> anyhow::Result<Table> {
    let mut table = Table::new(format!(
        "{}; {} slots a worker unless a row says otherwise, in a lane that ships with {}",
        database.settings().await?,
        sizes.slots,
        database::LANE.default_slots()
    ));
    match subject {
        Subject::Queue => queue(database, sizes, &mut table).await?,
        Subject::Payments => service::payments::measure(database, sizes.rounds, &mut table).await?,
        Subject::Logins => service::logins::measure(database, sizes.rounds, &mut table).await?,
        Subject::Webhooks => service::webhooks::measure(database, sizes, &mut table).await?,
        Subject::Balances => service::storm::measure(database, sizes, &mut table).await?,
    }
    Ok(table)
}

async fn queue(database: &Database, sizes: &Sizes, table: &mut Table) -> anyhow::Result<()> {
    for round in 1..=sizes.rounds {
        table::progress(&format!("round {round} of {}", sizes.rounds));
        baseline::inserts(database, sizes.jobs, table).await?;
        enqueue::measure(database, sizes.jobs, table).await?;
        baseline::claims(database, sizes.jobs, table).await?;
        for (figure, workers, slots) in [
            (Figure::DrainFewSlots, 1, 64),
            (Figure::Drain1, 1, sizes.slots),
            (Figure::Drain2, 2, sizes.slots),
            (Figure::Drain4, 4, sizes.slots),
        ] {
            let drained = drain::measure(database, sizes.jobs, workers, slots).await?;
            table.add_with_claims(figure, drained.rate, drained.jobs_a_claim);
        }
        latency::measure(database, sizes.slots, table).await?;
        claims::measure(database, sizes, table).await?;
    }
    Ok(())
}
