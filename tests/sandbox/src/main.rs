//! The sandbox by itself: `cargo run -p drop-sandbox -- --listen 127.0.0.1:9100`.

use clap::Parser as _;
use drop_sandbox::{Arguments, run};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    run(Arguments::parse().into_config(), announce).await
}

#[expect(clippy::print_stdout, reason = "the addresses are what this program is started for")]
fn announce(url: &str) {
    println!("BankID     {url}/bankid");
    println!("Neonomics  {url}/neonomics");
    println!("Bank       {url}/bank");
    println!("Sumsub     {url}/sumsub");
    println!("Control    {url}/control");
}
