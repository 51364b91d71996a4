//! The worker's process: runs jobs, applies the migrations, or does what an operator says.

use clap::Parser;
use drop_common::{config::Environment, telemetry};

/// Runs Drop's background jobs, and lets operators look into the queue.
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Claim and run jobs until told to end.
    Run {
        /// Only these lanes, separated by commas, each with `=slots` if not the configured number: `login=64,kyc.apply`.
        #[arg(long, env = "DROP_LANES", default_value = "", value_parser = drop_worker::lanes)]
        lanes: drop_worker::Lanes,
    },
    /// Apply the missing migrations and end.
    Migrate,
    #[command(flatten)]
    Operate(drop_worker::operator::Verb),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    drop_common::providers::install_tls();
    let environment = Environment::from_process();
    telemetry::start(telemetry::LogFormat::suited(
        environment.get("DROP_PROFILE") == Some("local"),
    ));
    match Command::parse() {
        Command::Run { lanes } => drop_worker::run(&environment, lanes).await,
        Command::Migrate => drop_worker::migrate(&environment).await,
        Command::Operate(verb) => drop_worker::operator::operate(&environment, verb).await,
    }
}
