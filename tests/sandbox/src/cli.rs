//! The sandbox as a program of its own.

use std::{future::Future, net::SocketAddr};

use anyhow::Context as _;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::{Sandbox, SandboxConfig};

/// Command line of the sandbox. Every credential has a made-up default that suits local use.
#[derive(Parser)]
#[command(
    name = "drop-sandbox",
    about = "BankID, Neonomics and Sumsub, simulated on one listener"
)]
pub struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:9100", env = "SANDBOX_LISTEN")]
    pub listen: SocketAddr,
    /// The address clients use, when it differs from the listener.
    #[arg(long, env = "SANDBOX_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// Where Sumsub's webhooks are sent.
    #[arg(long, env = "SANDBOX_WEBHOOK_URL")]
    pub webhook_url: Option<String>,
    /// A redirect address registered with BankID; may be given several times.
    #[arg(long = "redirect-uri", env = "SANDBOX_REDIRECT_URIS", value_delimiter = ',')]
    pub redirect_uris: Vec<String>,
    /// BankID's client id.
    #[arg(long, env = "BANKID_CLIENT_ID")]
    pub bankid_client_id: Option<String>,
    /// BankID's client secret.
    #[arg(long, env = "BANKID_CLIENT_SECRET", hide_env_values = true)]
    pub bankid_client_secret: Option<String>,
    /// Neonomics' client id.
    #[arg(long, env = "NEONOMICS_CLIENT_ID")]
    pub neonomics_client_id: Option<String>,
    /// Neonomics' client secret.
    #[arg(long, env = "NEONOMICS_CLIENT_SECRET", hide_env_values = true)]
    pub neonomics_client_secret: Option<String>,
    /// Sumsub's app token.
    #[arg(long, env = "SUMSUB_APP_TOKEN", hide_env_values = true)]
    pub sumsub_app_token: Option<String>,
    /// The secret that signs requests in Sumsub's signed mode.
    #[arg(long, env = "SUMSUB_APP_SECRET", hide_env_values = true)]
    pub sumsub_app_secret: Option<String>,
    /// The secret that signs webhooks.
    #[arg(long, env = "SUMSUB_SECRET_KEY", hide_env_values = true)]
    pub sumsub_secret_key: Option<String>,
}

impl Arguments {
    /// The configuration they ask for.
    pub fn into_config(self) -> SandboxConfig {
        let usual = SandboxConfig::default();
        SandboxConfig {
            listen: self.listen,
            public_url: self.public_url,
            client_id: self.bankid_client_id.unwrap_or(usual.client_id),
            client_secret: self.bankid_client_secret.unwrap_or(usual.client_secret),
            redirect_uris: if self.redirect_uris.is_empty() {
                usual.redirect_uris
            } else {
                self.redirect_uris
            },
            neonomics_client_id: self.neonomics_client_id.unwrap_or(usual.neonomics_client_id),
            neonomics_client_secret: self.neonomics_client_secret.unwrap_or(usual.neonomics_client_secret),
            sumsub_app_token: self.sumsub_app_token.unwrap_or(usual.sumsub_app_token),
            sumsub_app_secret: self.sumsub_app_secret.unwrap_or(usual.sumsub_app_secret),
            sumsub_secret_key: self.sumsub_secret_key.unwrap_or(usual.sumsub_secret_key),
            sumsub_webhook_url: self.webhook_url,
            ..usual
        }
    }
}

/// Runs a sandbox until Ctrl-C or SIGTERM; `ready` learns its address once it can be reached.
pub async fn run(config: SandboxConfig, ready: impl FnOnce(&str)) -> anyhow::Result<()> {
    // Before anything is announced, so that a signal right after it is not lost.
    let stop = stop_signal()?;
    let sandbox = Sandbox::start(config).await?;
    ready(&sandbox.url());
    stop.await;
    sandbox.stop().await
}

fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
