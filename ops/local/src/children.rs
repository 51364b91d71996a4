//! What a child process of the launcher does.
use std::io::Read;
use std::process::ExitCode;

use anyhow::Context;
use drop_common::config::Environment;
use drop_common::providers;
use drop_common::telemetry::{self, LogFormat};
use drop_sandbox::{Sandbox, SandboxConfig};

use crate::interrupt::Interrupts;

/// A process of the local system; its name is the launcher's argument and the prefix of its log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The simulated providers.
    Sandbox,
    /// Brings the database's tables up to date, and ends.
    Migrate,
    /// The HTTP API.
    Api,
    /// The background worker.
    Worker,
}

impl Part {
    /// The argument that starts it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Migrate => "migrate",
            Self::Api => "api",
            Self::Worker => "worker",
        }
    }
}

/// Runs one part in this process, with the configuration in the environment, until it is told to end.
pub(crate) async fn run(part: Part) -> ExitCode {
    end_with_the_launcher();
    match start(part).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn start(part: Part) -> anyhow::Result<()> {
    let environment = Environment::from_process();
    providers::install_tls();
    telemetry::log(LogFormat::suited(true));
    match part {
        Part::Sandbox => sandbox(&environment).await,
        Part::Migrate => drop_worker::migrate(&environment).await,
        Part::Api => drop_api::run(&environment).await,
        Part::Worker => drop_worker::run(&environment).await,
    }
}

async fn sandbox(environment: &Environment) -> anyhow::Result<()> {
    let mut interrupts = Interrupts::listen()?;
    let value = |name: &str| {
        environment
            .get(name)
            .map(ToOwned::to_owned)
            .with_context(|| format!("{name} is missing"))
    };
    let sandbox = Sandbox::start(SandboxConfig {
        listen: value("DROP_SANDBOX_LISTEN")?
            .parse()
            .context("DROP_SANDBOX_LISTEN is no address")?,
        client_id: value("BANKID_CLIENT_ID")?,
        client_secret: value("BANKID_CLIENT_SECRET")?,
        redirect_uris: vec![value("BANKID_REDIRECT_URI")?],
        neonomics_client_id: value("NEONOMICS_CLIENT_ID")?,
        neonomics_client_secret: value("NEONOMICS_CLIENT_SECRET")?,
        sumsub_app_token: value("SUMSUB_APP_TOKEN")?,
        sumsub_secret_key: value("SUMSUB_SECRET_KEY")?,
        sumsub_webhook_url: Some(format!("{}/v1/webhooks/sumsub", value("DROP_PUBLIC_URL")?)),
        ..SandboxConfig::default()
    })
    .await?;
    interrupts.next().await;
    sandbox.stop().await
}

/// The launcher holds the other end of our standard input and never writes. When it ends, even by SIGKILL, the pipe
/// closes and we end too: nothing outlives a demo. In order, a child is ended by SIGTERM, with the pipe still open.
fn end_with_the_launcher() {
    std::thread::spawn(|| {
        let mut unused = [0; 64];
        while std::io::stdin().read(&mut unused).is_ok_and(|read| read > 0) {}
        // Without a word: whoever read our output is gone as well, and a failed eprintln! would end only this thread.
        std::process::exit(1);
    });
}
