//! The worker's process: runs jobs, or applies the migrations.

use clap::Parser;
use drop_common::{config::Environment, telemetry};

/// Runs Drop's background jobs.
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Claim and run jobs until told to end.
    Run,
    /// Apply the missing migrations and end.
    Migrate,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    drop_common::providers::install_tls();
    let environment = Environment::from_process();
    telemetry::start(telemetry::LogFormat::suited(
        environment.get("DROP_PROFILE") == Some("local"),
    ));
    match Command::parse() {
        Command::Run => drop_worker::run(&environment).await,
        Command::Migrate => drop_worker::migrate(&environment).await,
    }
}
