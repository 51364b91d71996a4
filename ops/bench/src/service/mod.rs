//! The whole service, each process as in production, and the simulated providers in the bench's own.

pub(crate) mod logins;
mod payer;
pub(crate) mod payments;
mod people;
pub(crate) mod storm;
pub(crate) mod webhooks;

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::{AsFd, OwnedFd},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Context;
use clap::Args;
use drop_common::{
    clock::Clock,
    config::{ApiSettings, Environment, WorkerSettings},
    telemetry::{self, LogFormat},
};
use drop_sandbox::Sandbox;
use drop_tests::{person::browser, settings};
use reqwest::Client;
use tokio::process::{Child, Command};

use crate::{database::Database, worker::resident_mib};

/// Of each process of the service, which shares the machine with the other one, the database, the providers and the clients.
const THREADS: &str = "1";

/// One API, one worker, and the providers.
pub(crate) struct Service {
    pub(crate) url: String,
    pub(crate) sandbox: Sandbox,
    worker_internal: SocketAddr,
    client: Client,
    addresses: AtomicU32,
    _api: Child,
    worker: Child,
}

impl Service {
    /// Starts all of it over the database, and waits until the API answers.
    pub(crate) async fn start(database: &Database) -> anyhow::Result<Self> {
        Self::start_with(database, &[]).await
    }

    /// The same with some variables set otherwise.
    pub(crate) async fn start_with(database: &Database, changes: &[(&'static str, &str)]) -> anyhow::Result<Self> {
        let (public, worker) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
        let (url, worker_internal) = (format!("http://{}", public.local_addr()?), worker.local_addr()?);
        let sandbox = Sandbox::start(settings::sandbox(&url)).await?;
        let mut variables = settings::variables(&url, &sandbox.url());
        variables.push(("DATABASE_URL", database.url.clone()));
        // Each person comes from an address of their own, as the limits per address ask for.
        variables.push(("DROP_TRUSTED_PROXIES", "127.0.0.1".into()));
        variables.push(("DROP_API_INTERNAL_LISTEN", "127.0.0.1:0".into()));
        variables.extend(changes.iter().map(|&(name, value)| (name, value.to_owned())));
        let service = Self {
            url,
            sandbox,
            worker_internal,
            client: browser(),
            addresses: AtomicU32::new(0),
            _api: start("api", public, &variables)?,
            worker: start("worker", worker, &variables)?,
        };
        service.until_it_answers().await?;
        Ok(service)
    }

    /// The address of somebody who has not asked for anything yet.
    pub(crate) fn fresh_address(&self) -> String {
        let [_, a, b, c] = self.addresses.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        format!("10.{a}.{b}.{c}")
    }

    /// Kills the worker; from here on nobody runs jobs.
    pub(crate) async fn stop_worker(&mut self) -> anyhow::Result<()> {
        Ok(self.worker.kill().await?)
    }

    /// What the worker holds in memory.
    pub(crate) fn worker_memory_mib(&self) -> anyhow::Result<f64> {
        resident_mib(self.worker.id().context("the worker has ended")?)
    }

    /// Seconds the worker has spent in calls to a provider's operation so far, by its own metric.
    pub(crate) async fn seconds_at(&self, provider: &str, operation: &str) -> anyhow::Result<f64> {
        let series = "drop_provider_request_duration_seconds_sum";
        let scraped = self
            .client
            .get(format!("http://{}/metrics", self.worker_internal))
            .send()
            .await?
            .text()
            .await?;
        let labels = [format!("provider=\"{provider}\""), format!("operation=\"{operation}\"")];
        let line = scraped
            .lines()
            .find(|line| line.starts_with(series) && labels.iter().all(|label| line.contains(label)));
        let value = line.and_then(|line| line.rsplit(' ').next());
        Ok(value.context("the worker does not measure its calls")?.parse()?)
    }

    async fn until_it_answers(&self) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(50));
        for _ in 0..400 {
            ticks.tick().await;
            let asked = self.client.get(format!("{}/v1/health", self.url));
            if asked.send().await.is_ok_and(|answer| answer.status() == 200) {
                return Ok(());
            }
        }
        anyhow::bail!("the API does not answer")
    }
}

/// The child is given its listener itself, as its standard input.
fn start(part: &str, listener: TcpListener, variables: &[(&'static str, String)]) -> anyhow::Result<Child> {
    Ok(Command::new(std::env::current_exe()?)
        .args(["process", part])
        .env_clear()
        .env("RUST_LOG", "error")
        .env("TOKIO_WORKER_THREADS", THREADS)
        .envs(variables.iter().map(|(name, value)| (*name, value.as_str())))
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .kill_on_drop(true)
        .spawn()?)
}

/// A process of the service.
#[derive(Debug, Args)]
pub(crate) struct Process {
    /// `api` or `worker`.
    part: String,
}

impl Process {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        drop_common::providers::install_tls();
        telemetry::log(LogFormat::suited(true));
        let environment = Environment::from_process();
        let listener = TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned()?);
        listener.set_nonblocking(true)?;
        let listener = listener.try_into()?;
        match self.part.as_str() {
            "api" => {
                let settings = ApiSettings::read(&environment)?;
                let internal = tokio::net::TcpListener::bind(settings.api.internal_listen).await?;
                drop_api::serve(settings, Clock::real(), listener, internal).await
            }
            "worker" => {
                let settings = WorkerSettings::read(&environment)?;
                drop_worker::work(settings, Clock::real(), listener, std::future::pending()).await
            }
            part => anyhow::bail!("there is no part {part}"),
        }
    }
}
