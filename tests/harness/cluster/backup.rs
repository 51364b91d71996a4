//! A base backup, an archive of what was written since, and a restore to a moment in between, all by PostgreSQL's own means.
//! Both lie beside the data, in the folder that goes with the server.
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, interval};

use super::server::Server;

/// What was written in a few seconds is replayed in fewer.
const LONGEST_REPLAY: Duration = Duration::from_mins(1);

impl Server {
    /// What the server does with each file of its log that is full. Half a file is never there under its name.
    pub(super) fn archive_command(&self) -> String {
        let archive = self.folder().join("archive");
        let archive = archive.display();
        format!("archive_command=cp %p {archive}/%f.part && mv {archive}/%f.part {archive}/%f")
    }

    /// Takes a base backup while the server works.
    pub(super) async fn back_up(&self) -> anyhow::Result<()> {
        let program = self.program("pg_basebackup");
        ensure!(
            program.is_file(),
            "{} is missing: it comes with PostgreSQL's client programs",
            program.display()
        );
        let mut command = self.command(program);
        let port = self.port().to_string();
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-c", "fast", "-p", &port, "-D"]);
        command.arg(self.folder().join("base"));
        run(command).await
    }

    /// Waits until everything that was committed before this call is in the archive.
    pub(super) async fn archive(&self) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.url("postgres")).await?;
        let file: String = sqlx::query_scalar("SELECT pg_walfile_name(pg_switch_wal())")
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        let (mut tick, deadline) = (interval(Duration::from_millis(25)), Instant::now() + LONGEST_REPLAY);
        while !self.folder().join("archive").join(&file).exists() {
            ensure!(Instant::now() < deadline, "the server does not archive {file}");
            tick.tick().await;
        }
        Ok(())
    }

    /// Puts the backup in the place of the data, replays the archive up to this moment, and lets the server work again.
    pub(super) async fn restore_to(&mut self, moment: DateTime<Utc>) -> anyhow::Result<()> {
        self.stop().await?;
        let mut copy = self.command(Path::new("/bin/sh"));
        copy.args([
            "-c",
            r#"cd "$1" && rm -rf data && cp -a base data && touch data/recovery.signal"#,
            "sh",
        ]);
        copy.arg(self.folder());
        run(copy).await?;
        let settings = format!(
            "\nrestore_command = 'cp {}/%f %p'\nrecovery_target_time = '{}'\nrecovery_target_action = promote\n",
            self.folder().join("archive").display(),
            moment.to_rfc3339()
        );
        let file = self.folder().join("data/postgresql.auto.conf");
        let written = fs::read_to_string(&file).context("could not read the server's settings")?;
        fs::write(&file, written + &settings).context("could not write the server's settings")?;
        self.start_again().await?;
        let (mut tick, deadline) = (interval(Duration::from_millis(25)), Instant::now() + LONGEST_REPLAY);
        loop {
            let mut connection = PgConnection::connect(&self.url("postgres")).await?;
            let replays: bool = sqlx::query_scalar("SELECT pg_is_in_recovery()")
                .fetch_one(&mut connection)
                .await?;
            connection.close().await?;
            if !replays {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the server does not end its recovery");
            tick.tick().await;
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    let name = command.get_program().to_owned();
    let output = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("could not run {}", name.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({}): {}", name.display(), output.status, said.trim());
    }
    Ok(())
}
