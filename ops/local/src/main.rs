//! Drop on one machine: a private PostgreSQL, the migrations, the sandbox, the API and the worker, each in a process
//! of its own, and a simulated person who walks through the product.
mod children;
mod console;
mod environment;
mod exchange;
mod interrupt;
mod launch;
mod person;
mod ports;
mod secrets;
mod supervisor;
mod walkthrough;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use children::Part;
use launch::Mode;

/// Starts Drop with simulated providers, plays a person's way from login to payment, and stays up until Ctrl-C.
#[derive(Parser)]
#[command(name = "drop-local", version)]
struct Arguments {
    /// The secret that Sumsub's webhooks are signed with, for whoever wants to send some; new and nobody's without it.
    #[arg(long, value_name = "SECRET")]
    webhook_secret: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Plays the walk-through and exits: 0 when every step was as expected, else 1.
    Demo,
    // The launcher starts itself for its children, because `cargo run` builds no other binary.
    #[command(hide = true)]
    Api,
    #[command(hide = true)]
    Worker,
    #[command(hide = true)]
    Sandbox,
    #[command(hide = true)]
    Migrate,
}

#[tokio::main]
async fn main() -> ExitCode {
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing has installed a provider before main");
    let Arguments {
        webhook_secret,
        command,
    } = Arguments::parse();
    match command {
        None => launch::run(Mode::StayUp, webhook_secret).await,
        Some(Command::Demo) => launch::run(Mode::Demo, webhook_secret).await,
        Some(Command::Api) => children::run(Part::Api).await,
        Some(Command::Worker) => children::run(Part::Worker).await,
        Some(Command::Sandbox) => children::run(Part::Sandbox).await,
        Some(Command::Migrate) => children::run(Part::Migrate).await,
    }
}
