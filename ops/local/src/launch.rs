//! One run: everything started in order, the walk-through, and everything stopped in order.
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use drop_tests::cluster::{Cluster, Role};
use tokio::time::{Instant, interval};

use crate::children::Part;
use crate::console;
use crate::environment::{self, Addresses};
use crate::interrupt::Interrupts;
use crate::person::Person;
use crate::ports::{Held, Ports};
use crate::secrets::Secrets;
use crate::supervisor::Supervisor;
use crate::walkthrough;

/// A debug build on a busy machine needs seconds; nothing needs a minute.
const LONGEST_START: Duration = Duration::from_mins(1);
const ASK_EVERY: Duration = Duration::from_millis(100);
const DATABASE: &str = "local";
/// As a shell reports a program ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

/// What happens after the walk-through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The system stays up until a signal.
    StayUp,
    /// The run ends.
    Demo,
}

/// Runs until the end, however it comes. Exit code 0: every step was as expected; 1: something failed; 130: a signal
/// came. Nothing is left running in any of these.
pub(crate) async fn run(mode: Mode, webhook_secret: Option<String>) -> ExitCode {
    let mut interrupts = match Interrupts::listen() {
        Ok(interrupts) => interrupts,
        Err(error) => return failure(&error),
    };
    let mut system = System::default();
    let outcome = tokio::select! {
        biased;
        () = interrupts.next() => None,
        outcome = system.run(mode, webhook_secret) => Some(outcome),
    };
    let code = match outcome {
        None => {
            console::say("interrupted");
            ExitCode::from(INTERRUPTED)
        }
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => failure(&error),
    };
    system.end(interrupts).await;
    code
}

fn failure(error: &anyhow::Error) -> ExitCode {
    console::failed(&format!("{error:#}"));
    ExitCode::FAILURE
}

/// What must be taken down at the end, whatever part of it was reached.
#[derive(Default)]
struct System {
    children: Supervisor,
    cluster: Option<Cluster>,
}

impl System {
    async fn run(&mut self, mode: Mode, webhook_secret: Option<String>) -> anyhow::Result<()> {
        console::waiting("PostgreSQL");
        let cluster = Cluster::obtain(&|text| console::waiting(&format!("PostgreSQL: {text}"))).await?;
        let cluster = self.cluster.insert(cluster);
        cluster.create_service_database(DATABASE).await?;
        let (ports, held) = Ports::choose()?;
        let addresses = Addresses::of(ports);
        let operator_token = Secrets::new().token()?;
        let launcher = Launcher {
            program: std::env::current_exe().context("the launcher cannot find its own program")?,
            environment: environment::of_children(ports, webhook_secret, &operator_token)?,
            databases: [
                (Part::Migrate, cluster.url_as(Role::Migrate, DATABASE)),
                (Part::Api, cluster.url_as(Role::Api, DATABASE)),
                (Part::Worker, cluster.url_as(Role::Worker, DATABASE)),
            ],
            http: http_client()?,
        };
        self.start(&launcher, &addresses, ports, held).await?;
        self.play(&launcher, &addresses).await?;
        if mode == Mode::Demo {
            return Ok(());
        }
        print_addresses(&addresses, &operator_token);
        Err(self.children.a_child_ends().await)
    }

    async fn start(
        &mut self,
        launcher: &Launcher,
        addresses: &Addresses,
        ports: Ports,
        mut held: Held,
    ) -> anyhow::Result<()> {
        let Addresses {
            api_internal,
            worker_internal,
            sandbox,
            ..
        } = addresses;
        held.release(&[ports.sandbox]);
        self.launch(launcher, Part::Sandbox)?;
        self.launch(launcher, Part::Migrate)?;
        console::waiting("the migrations");
        self.children.finished().await?;
        drop(held);
        self.launch(launcher, Part::Api)?;
        self.launch(launcher, Part::Worker)?;
        // The sandbox has no probe: it is ready when BankID's first document can be read.
        let probes = [
            (
                Part::Sandbox,
                format!("{sandbox}/bankid/.well-known/openid-configuration"),
            ),
            (Part::Api, format!("{api_internal}/readyz")),
            (Part::Worker, format!("{worker_internal}/readyz")),
        ];
        for (part, url) in probes {
            console::waiting(&format!("{} to be ready ({url})", part.name()));
            tokio::select! {
                ready = launcher.answers(&url) => ready.with_context(|| format!("{} is not ready", part.name()))?,
                error = self.children.a_child_ends() => return Err(error),
            }
        }
        Ok(())
    }

    async fn play(&mut self, launcher: &Launcher, addresses: &Addresses) -> anyhow::Result<()> {
        let anna = Person::new("anna", launcher.http.clone(), &addresses.api, &addresses.sandbox);
        tokio::select! {
            played = walkthrough::play(anna) => played,
            error = self.children.a_child_ends() => Err(error),
        }
    }

    fn launch(&mut self, launcher: &Launcher, part: Part) -> anyhow::Result<()> {
        let mut environment = launcher.environment.clone();
        if let Some((_, url)) = launcher.databases.iter().find(|(of, _)| *of == part) {
            environment.push(("DATABASE_URL".into(), url.into()));
        }
        self.children.start(part.name(), &launcher.program, &environment)
    }

    /// Stops the children, then the cluster they use. A further signal kills the children at once.
    async fn end(mut self, mut interrupts: Interrupts) {
        console::waiting("the processes to end (Ctrl-C again kills them)");
        self.children.stop(interrupts.next()).await;
        if let Some(cluster) = self.cluster.take() {
            let what = if cluster.is_private() {
                "PostgreSQL to stop"
            } else {
                "the run's databases to be dropped"
            };
            console::waiting(what);
            drop(cluster);
        }
        console::say("nothing is left running");
    }
}

/// How children are started and asked.
struct Launcher {
    program: PathBuf,
    environment: Vec<(OsString, OsString)>,
    /// What each process is to the database: a role of its own.
    databases: [(Part, String); 3],
    http: reqwest::Client,
}

impl Launcher {
    async fn answers(&self, url: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + LONGEST_START;
        let mut tick = interval(ASK_EVERY);
        loop {
            tick.tick().await;
            let answer = match self.http.get(url).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => format!("it answers {}", answer.status()),
                Err(error) => format!("{error:#}"),
            };
            if Instant::now() > deadline {
                bail!("after {LONGEST_START:?} {answer}");
            }
        }
    }
}

/// A client as a browser without scripts is one: it shows redirects instead of following them.
fn http_client() -> anyhow::Result<reqwest::Client> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(30))
        .build()
        .context("could not make an HTTP client")
}

fn print_addresses(addresses: &Addresses, operator_token: &str) {
    let Addresses {
        api,
        api_internal,
        worker_internal,
        sandbox,
    } = addresses;
    let lines = [
        ("API documentation", format!("{api}/docs")),
        ("OpenAPI document", format!("{api}/openapi.json")),
        ("health", format!("{api}/v1/health")),
        ("metrics", format!("{api_internal}/metrics  {worker_internal}/metrics")),
        (
            "operators' page",
            format!("{worker_internal}/operator  token {operator_token}"),
        ),
        ("sandbox control", format!("{sandbox}/control")),
    ];
    for (what, url) in lines {
        console::say(&format!("  {what:<18} {url}"));
    }
    console::say("everything is up; Ctrl-C stops it");
}
