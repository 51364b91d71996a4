//! The public API's process, and the document of what it serves.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use drop_common::{config::Environment, telemetry};

/// Serves Drop's public API.
#[derive(Parser)]
#[command(name = "drop-api", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until told to end; the same as no command.
    Run,
    /// Write the OpenAPI document to standard output. Needs no configuration.
    Openapi {
        /// The version of the specification.
        #[arg(long, value_enum, default_value = "3.1")]
        version: Version,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Version {
    /// For most tools.
    #[value(name = "3.1")]
    V31,
    /// For generators that stop at 3.0.
    #[value(name = "3.0")]
    V30,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        None | Some(Command::Run) => Ok(run().await),
        Some(Command::Openapi { version }) => write(version).map(|()| ExitCode::SUCCESS),
    }
}

async fn run() -> ExitCode {
    drop_common::providers::install_tls();
    let environment = Environment::from_process();
    // Ends last, so that what the end itself says is reported too.
    let _reports = telemetry::start(&environment, "drop-api");
    telemetry::ended(drop_api::run(&environment).await)
}

fn write(version: Version) -> anyhow::Result<()> {
    let documents = drop_api::openapi::published();
    let document = match version {
        Version::V31 => documents.v31,
        Version::V30 => documents.v30,
    };
    let text = drop_common::openapi::file_text(&document);
    Ok(io::stdout().write_all(text.as_bytes())?)
}
