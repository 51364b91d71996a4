//! A PostgreSQL server of our own: made, started, and gone with us.
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use sqlx::{Connection, PgConnection};
use tokio::net::TcpSocket;
use tokio::time::{Instant, interval};

use super::account::Account;
use super::installed::Binaries;
use super::watchdog::Watchdog;

/// A cluster is up in about a second; a loaded machine may need many times that.
const LONGEST_START: Duration = Duration::from_mins(1);
/// Between finding a free port and taking it, another process may take it.
const PORTS_TO_TRY: usize = 5;
/// `fsync` and its like are off: nothing here outlives the run. TCP only, so that no socket path can be too long.
/// Many connections, because every test has pools of its own.
const SETTINGS: [&str; 8] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "timezone=UTC",
    "max_connections=300",
    "log_timezone=UTC",
];

/// A running server with the superuser `postgres`, open to this machine without a password.
pub(super) struct Server {
    watchdog: Watchdog,
    postgres: Option<Child>,
    port: u16,
    archives: bool,
    binaries: Binaries,
    account: Account,
    /// Bound, so that nobody takes the port of a stopped server, and not listening, so that a connection is refused.
    kept: Option<TcpSocket>,
}

impl Server {
    /// Makes a cluster in a new folder and starts it on a free port. Dropping the future undoes everything.
    pub(super) async fn start(
        binaries: Binaries,
        account: Account,
        archives: bool,
        progress: &(dyn Fn(&str) + Sync),
    ) -> anyhow::Result<Self> {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let folder = account.temporary_folder().join(format!("drop-pg-{}", &name[..8]));
        // Before anything else, so that there is no moment in which a kill leaves a folder or a process.
        let watchdog = Watchdog::start(&account, &folder, &binaries.program("pg_ctl"))?;
        let mut server = Self {
            watchdog,
            postgres: None,
            port: 0,
            archives,
            binaries,
            account,
            kept: None,
        };
        progress("making a private cluster");
        server.initdb().await?;
        server.make_archive()?;
        for _ in 0..PORTS_TO_TRY {
            server.port = free_port()?;
            progress(&format!("starting the server on port {}", server.port));
            server.spawn()?;
            if server.answers().await? {
                return Ok(server);
            }
        }
        bail!("{PORTS_TO_TRY} free ports were each taken before PostgreSQL could listen on them")
    }

    /// An immediate stop.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        let mut command = self.account.command(self.binaries.program("pg_ctl"));
        command.args(["-m", "immediate", "-w", "stop", "-D"]).arg(self.data());
        let output = tokio::process::Command::from(command)
            .output()
            .await
            .context("could not run pg_ctl")?;
        ensure!(
            output.status.success(),
            "pg_ctl could not stop the server ({})",
            output.status
        );
        if let Some(mut postgres) = self.postgres.take() {
            postgres.wait()?;
        }
        let kept = TcpSocket::new_v4()?;
        kept.set_reuseaddr(true)?; // connections that have just ended are no obstacle
        kept.bind(([127, 0, 0, 1], self.port).into())?;
        self.kept = Some(kept);
        Ok(())
    }

    /// Starts it where it was.
    pub(super) async fn start_again(&mut self) -> anyhow::Result<()> {
        self.kept = None;
        self.spawn()?;
        ensure!(
            self.answers().await?,
            "the server's port was taken while it was stopped"
        );
        Ok(())
    }

    /// The address of a database on this server.
    pub(super) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The folder that goes with it.
    pub(super) fn folder(&self) -> &std::path::Path {
        self.watchdog.folder()
    }

    /// Where it listens.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// One of PostgreSQL's programs, whether or not this machine has it.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.binaries.program(name)
    }

    /// A command of the server's account, which ends with the server.
    pub(super) fn command(&self, program: impl AsRef<std::path::Path>) -> std::process::Command {
        let mut command = self.account.command(program);
        command.process_group(self.watchdog.group());
        command
    }

    /// The data folder, in that one. What is kept of the data lies beside it (`backup.rs`).
    fn data(&self) -> PathBuf {
        self.watchdog.folder().join("data")
    }

    async fn initdb(&self) -> anyhow::Result<()> {
        let initdb = self.binaries.program("initdb");
        let mut command = self.account.command(&initdb);
        command
            .args([
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
                "--no-instructions",
            ])
            .arg("-D")
            .arg(self.data())
            .process_group(self.watchdog.group());
        let output = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("could not run {}", initdb.display()))?;
        if !output.status.success() {
            bail!(
                "initdb failed ({}): {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }

    fn make_archive(&self) -> anyhow::Result<()> {
        let mut mkdir = self.command("/bin/mkdir");
        let made = mkdir.arg(self.folder().join("archive")).status()?;
        ensure!(made.success(), "could not make the folder of the archive");
        Ok(())
    }

    fn spawn(&mut self) -> anyhow::Result<()> {
        let log = File::create(self.log_file()).context("could not make the server's log file")?;
        let mut command = self.account.command(self.binaries.program("postgres"));
        command.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        if self.archives {
            command.args(["-c", "archive_mode=on", "-c", &self.archive_command()]);
        }
        command
            .process_group(self.watchdog.group())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.postgres = Some(command.spawn().context("could not run postgres")?);
        Ok(())
    }

    /// Waits until the server answers. False: its port was taken. An error: it ended, or never answered.
    async fn answers(&mut self) -> anyhow::Result<bool> {
        let deadline = Instant::now() + LONGEST_START;
        let mut tick = interval(Duration::from_millis(25));
        loop {
            tick.tick().await;
            if let Some(status) = self.postgres.as_mut().expect("spawned before").try_wait()? {
                let log = fs::read_to_string(self.log_file()).unwrap_or_default();
                if log.contains("could not bind") {
                    return Ok(false);
                }
                bail!("PostgreSQL ended while starting ({status}): {}", log.trim());
            }
            let refused = match PgConnection::connect(&self.url("postgres")).await {
                Ok(connection) => {
                    connection.close().await?;
                    return Ok(true);
                }
                Err(error) => error,
            };
            if Instant::now() > deadline {
                return Err(refused).context(format!("PostgreSQL did not answer within {LONGEST_START:?}"));
            }
        }
    }

    fn log_file(&self) -> PathBuf {
        self.watchdog.folder().join("server.log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let stopped = self.watchdog.release();
        if let Some(mut postgres) = self.postgres.take() {
            if !stopped {
                tracing::warn!("PostgreSQL in {} had to be killed", self.watchdog.folder().display());
                let _ = postgres.kill();
            }
            let _ = postgres.wait();
        }
    }
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("there is no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}
