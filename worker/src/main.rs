//! The worker's process: runs jobs, applies the migrations, or does what an operator says.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use drop_common::{config::Environment, openapi, telemetry};

/// Runs Drop's background jobs, and lets operators look into the queue.
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Claim and run jobs until told to end.
    Run {
        /// Only these lanes, comma-separated, each with `=slots` if not the usual number: `login=128,kyc.apply`. Without
        /// it `DROP_LANES` counts, and without that every lane.
        #[arg(long)]
        lanes: Option<String>,
    },
    /// Apply the missing migrations and end.
    Migrate,
    /// Delete what was kept long enough, move apart what is kept of people who were erased, and end.
    Retain,
    /// Write the OpenAPI document of the operators' API to standard output. Needs no configuration.
    Openapi,
    #[command(flatten)]
    Operate(drop_worker::operator::Verb),
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let command = Command::parse();
    drop_common::providers::install_tls();
    let environment = Environment::from_process();
    // Ends last, so that what the end itself says is reported too.
    let _reports = telemetry::start(&environment, "drop-worker");
    let ended = match command {
        Command::Run { lanes: None } => drop_worker::run(&environment).await,
        Command::Run { lanes: Some(lanes) } => drop_worker::run(&environment.with("DROP_LANES", &lanes)).await,
        Command::Migrate => drop_worker::migrate(&environment).await,
        Command::Retain => drop_worker::retain(&environment).await,
        Command::Openapi => write_document(),
        // Somebody at a terminal reads why.
        Command::Operate(verb) => {
            let done = drop_worker::operator::operate(&environment, verb).await;
            return done
                .map(|()| ExitCode::SUCCESS)
                .map_err(|error| anyhow::anyhow!(telemetry::causes(error.as_ref())));
        }
    };
    Ok(telemetry::ended(ended))
}

fn write_document() -> anyhow::Result<()> {
    let text = openapi::file_text(&drop_worker::operator::document());
    Ok(io::stdout().write_all(text.as_bytes())?)
}
