//! The process that cleans up after us. It outlives us, because a destructor does not run after SIGKILL.
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::account::Account;

const SCRIPT: &str = include_str!("watchdog.sh");
/// Five attempts of up to ten seconds each would be the worst; a stop takes a fraction of a second.
const LONGEST_STOP: Duration = Duration::from_mins(1);

/// A folder that is removed, and a process group that is stopped, when this is dropped or when our process ends.
pub(super) struct Watchdog {
    shell: Child,
    folder: PathBuf,
}

impl Watchdog {
    /// Starts the shell and waits until it has made the folder (mode 0700, owned by the account).
    pub(super) fn start(account: &Account, folder: &Path, pg_ctl: &Path) -> anyhow::Result<Self> {
        let mut shell = account
            .command("/bin/sh")
            .args(["-c", SCRIPT, "drop-watchdog"])
            .args([folder, pg_ctl])
            .process_group(0) // Ctrl-C in the terminal must not reach the cluster before we have ended it in order
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("could not start the watchdog shell")?;
        let mut said = String::new();
        let output = shell.stdout.take().expect("stdout is piped");
        BufReader::new(output)
            .read_line(&mut said)
            .context("could not read from the watchdog shell")?;
        if said.trim_end() != "ready" {
            let mut complaint = String::new();
            shell
                .stderr
                .take()
                .expect("stderr is piped")
                .read_to_string(&mut complaint)?;
            shell.wait()?;
            bail!("could not make the folder {}: {}", folder.display(), complaint.trim());
        }
        Ok(Self {
            shell,
            folder: folder.to_owned(),
        })
    }

    /// The group that ends with the watchdog. The server's programs are started in it.
    pub(super) fn group(&self) -> i32 {
        i32::try_from(self.shell.id()).expect("a process id is a positive pid_t")
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lets the watchdog do its work and blocks until the server is stopped and the folder is gone, so that
    /// "dropped" means "nothing is left". False when it could not.
    pub(super) fn release(&mut self) -> bool {
        drop(self.shell.stdin.take());
        let deadline = Instant::now() + LONGEST_STOP;
        loop {
            match self.shell.try_wait() {
                Ok(Some(status)) => return status.success(),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
                _ => return false,
            }
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.release();
    }
}
