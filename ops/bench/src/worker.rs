//! A worker process of the bench, and the parent's hand on it.

use std::{
    fmt::Display,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use clap::Args;
use drop_common::{
    queue::{Handler, Job, JobError, Lane, Lease, Outcome, Registry, Verdict, Wake, Watch, WorkersConfig, run_workers},
    storage::{self, PoolOptions},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
};

use crate::database::{Database, LANE};

/// A job that does nothing but note how long it waited.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Bench {
    /// When it was enqueued, in microseconds since 1970; 0: nobody asks.
    pub(crate) sent_at_us: u64,
}

impl Job for Bench {
    const KIND: &'static str = "bench";
    const LANE: Lane = LANE;
}

impl Handler<Notes> for Bench {
    async fn run(self, notes: Arc<Notes>, _lease: Lease) -> Result<Verdict, JobError> {
        notes.runs.fetch_add(1, Ordering::Relaxed);
        if self.sent_at_us > 0 {
            let waited = now_us().saturating_sub(self.sent_at_us);
            notes
                .waited_us
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(waited);
        }
        Ok(Outcome::Done.into())
    }
}

/// The present in microseconds since 1970: parent and workers are on one machine.
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// What a worker saw.
#[derive(Default)]
struct Notes {
    runs: AtomicUsize,
    waited_us: Mutex<Vec<u64>>,
    claims_us: Mutex<Vec<u64>>,
}

impl Watch for Notes {
    fn claimed(&self, _lane: Lane, jobs: usize, took: Duration) {
        if jobs > 0 {
            let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.claims_us.lock().unwrap_or_else(PoisonError::into_inner).push(took);
        }
    }
}

/// What a worker reports when it ends.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Handlers that ran.
    pub(crate) runs: usize,
    /// From the enqueue to the start of the handler, microseconds.
    pub(crate) waited_us: Vec<u64>,
    /// Claims that found something, microseconds each.
    pub(crate) claims_us: Vec<u64>,
    /// Resident memory, MiB.
    pub(crate) memory_mib: f64,
}

impl Report {
    /// How many claims found something.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(crate) fn claims(&self) -> f64 {
        self.claims_us.len() as f64
    }
}

/// Runs jobs until standard input ends, then prints a report.
#[derive(Debug, Args)]
pub(crate) struct Worker {
    #[arg(long)]
    slots: usize,
}

impl Worker {
    #[expect(clippy::print_stdout, reason = "the parent reads it")]
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let url = std::env::var("DROP_DATABASE_URL").context("the parent sets it")?;
        let options = PoolOptions {
            max: 8,
            acquire_timeout: Duration::from_secs(5),
        };
        let db = storage::connect(&url.into(), options).await?;
        let notes = Arc::new(Notes::default());
        let watch: Arc<dyn Watch> = Arc::<Notes>::clone(&notes);
        let registry = Registry::new().with::<Bench>().watched_by(watch);
        let config = WorkersConfig {
            slots: [(LANE, self.slots)].into(),
            grace: Duration::from_secs(30),
        };
        run_workers(config, registry, Arc::clone(&notes), db, Wake::default(), async {
            println!("up");
            let closed = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
            let _ = closed.await;
        })
        .await?;
        let taken =
            |values: &Mutex<Vec<u64>>| std::mem::take(&mut *values.lock().unwrap_or_else(PoisonError::into_inner));
        let report = Report {
            runs: notes.runs.load(Ordering::Relaxed),
            waited_us: taken(&notes.waited_us),
            claims_us: taken(&notes.claims_us),
            memory_mib: resident_mib("self")?,
        };
        println!("{}", serde_json::to_string(&report)?);
        Ok(())
    }
}

/// What a process holds in memory; `self` is this one.
pub(crate) fn resident_mib(process: impl Display) -> anyhow::Result<f64> {
    let status =
        std::fs::read_to_string(format!("/proc/{process}/status")).context("memory is read from Linux's /proc")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().nth(1))
        .context("no VmRSS")?
        .parse()?;
    Ok(kib / 1024.0)
}

/// A worker process under way.
pub(crate) struct Running {
    child: Child,
    output: BufReader<tokio::process::ChildStdout>,
}

impl Running {
    /// Starts one and waits until it is up.
    pub(crate) async fn start(database: &Database, slots: usize) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["worker", "--slots", &slots.to_string()])
            .env("DROP_DATABASE_URL", &database.url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut output = BufReader::new(child.stdout.take().context("piped")?);
        let mut line = String::new();
        output.read_line(&mut line).await?;
        anyhow::ensure!(line.trim() == "up", "a worker did not start");
        Ok(Self { child, output })
    }

    /// Lets it end, and reads its report.
    pub(crate) async fn end(mut self) -> anyhow::Result<Report> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).await?;
        let status = self.child.wait().await?;
        anyhow::ensure!(status.success(), "a worker failed: {status}");
        Ok(serde_json::from_str(&text)?)
    }
}
