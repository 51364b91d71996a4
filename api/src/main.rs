//! The public API's process.

use drop_common::{config::Environment, telemetry};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    drop_common::providers::install_tls();
    let environment = Environment::from_process();
    telemetry::start(telemetry::LogFormat::suited(
        environment.get("DROP_PROFILE") == Some("local"),
    ));
    drop_api::run(&environment).await
}
