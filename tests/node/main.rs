//! One process of the service for the tests that need real ones: they are many, and they are killed.

#![expect(
    clippy::disallowed_methods,
    reason = "the jobs of `drop-node queue` take a given time on purpose"
)]

mod breaker;
mod queue;

use std::{net::TcpListener, os::fd::AsFd, process::ExitCode};

use anyhow::{Context, bail};
use clap::Parser;
use drop_common::{
    clock::Clock,
    config::{ApiSettings, Environment, WorkerSettings},
    providers, telemetry,
};

#[tokio::main]
async fn main() -> ExitCode {
    providers::install_tls();
    let environment = Environment::from_process();
    let _reports = telemetry::start(&environment, "drop-node");
    telemetry::ended(run(environment).await)
}

async fn run(environment: Environment) -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("api") => api(&environment).await,
        Some("worker") => worker(&environment).await,
        Some("migrate") => drop_worker::migrate(&environment).await,
        Some("operator") => {
            let Operator { verb } = Operator::parse_from(std::env::args().skip(1));
            drop_worker::operator::operate(&environment, verb).await
        }
        Some("retain") => drop_worker::retain(&environment).await,
        Some("queue") => queue::run(&environment).await,
        Some("breaker") => breaker::run(&environment).await,
        _ => bail!("usage: drop-node api|worker|migrate|operator|retain|queue|breaker"),
    }
}

/// The operator's verbs, as `drop-worker` has them.
#[derive(Parser)]
struct Operator {
    #[command(subcommand)]
    verb: drop_worker::operator::Verb,
}

/// The public listener is our standard input.
async fn api(environment: &Environment) -> anyhow::Result<()> {
    let settings = ApiSettings::read(environment)?;
    let public = TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    public.set_nonblocking(true).context("standard input is no listener")?;
    let internal = tokio::net::TcpListener::bind(settings.api.internal_listen).await?;
    tell(&internal)?;
    drop_api::serve(settings, Clock::real(), public.try_into()?, internal).await
}

async fn worker(environment: &Environment) -> anyhow::Result<()> {
    let settings = WorkerSettings::read(environment)?;
    let internal = tokio::net::TcpListener::bind(settings.worker.internal_listen).await?;
    tell(&internal)?;
    drop_worker::run_on(settings, internal).await
}

/// Any free port, which only this process knows.
fn tell(internal: &tokio::net::TcpListener) -> anyhow::Result<()> {
    if let Ok(file) = std::env::var("DROP_NODE_TELLS") {
        std::fs::write(file, internal.local_addr()?.to_string())?;
    }
    Ok(())
}
