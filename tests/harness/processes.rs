//! A worker process that a test kills, stops and wakes.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::process::{Child, Command};

/// A kill has an effect at once; a drain takes as long as the running jobs do.
const LONGEST_END: Duration = Duration::from_secs(20);

/// The file that a node's output goes to, in place of ours, where this is among its variables.
pub const SAYS_TO: &str = "DROP_NODE_SAYS_TO";

/// The file in which a node says where its internal listener is, where this is among its variables.
pub(crate) const TELLS: &str = "DROP_NODE_TELLS";

/// A running `drop-node`. It is killed when this is dropped, even while it is stopped.
pub struct Node {
    child: Child,
    tells: Option<PathBuf>,
}

impl Node {
    /// Starts a part of the program, which a test names by `env!("CARGO_BIN_EXE_drop-node")`, with these variables
    /// and no others.
    pub fn start(program: &str, part: &str, variables: &[(&str, &str)]) -> Self {
        Self::start_with(program, part, variables, Stdio::null())
    }

    /// The same with this as its standard input.
    pub fn start_with(program: &str, part: &str, variables: &[(&str, &str)], input: Stdio) -> Self {
        let mut command = Command::new(program);
        // The last one counts, as among all variables.
        if let Some((_, file)) = variables.iter().rfind(|(name, _)| *name == SAYS_TO) {
            let output = || File::options().create(true).append(true).open(file).expect("a file");
            command.stdout(output()).stderr(output());
        }
        let tells = variables.iter().rfind(|(name, _)| *name == TELLS);
        let child = command
            .arg(part)
            .env_clear()
            .env("RUST_LOG", "error")
            .envs(variables.iter().copied())
            .stdin(input)
            .kill_on_drop(true)
            .spawn()
            .expect("drop-node starts");
        Self {
            child,
            tells: tells.map(|(_, file)| PathBuf::from(file)),
        }
    }

    /// Where its internal listener is, once it has said so.
    pub(crate) fn internal(&self) -> Option<String> {
        let address = fs::read_to_string(self.tells.as_ref()?).ok()?;
        (!address.is_empty()).then(|| format!("http://{address}"))
    }

    /// Sends a signal by its name without `SIG`, as in `TERM`. std can only kill, and a call into libc would be unsafe.
    pub fn signal(&self, signal: &str) {
        let id = self.child.id().expect("the process has not ended").to_string();
        let sent = std::process::Command::new("/bin/sh")
            .args(["-c", r#"kill -s "$1" "$2""#, "sh", signal, &id])
            .status()
            .expect("a shell");
        assert!(sent.success(), "SIG{signal} could not be sent");
    }

    /// The names of its threads.
    #[cfg(target_os = "linux")]
    pub fn threads(&self) -> Vec<String> {
        let id = self.child.id().expect("the process has not ended");
        let threads = fs::read_dir(format!("/proc/{id}/task")).expect("a running process");
        let names = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
        names.map(|name| name.trim_end().to_owned()).collect()
    }

    /// How large a core dump of it may be, as its limits say: what it keeps to, and what it could ask for.
    #[cfg(target_os = "linux")]
    pub fn core_dump_limits(&self) -> Vec<String> {
        let id = self.child.id().expect("the process has not ended");
        let limits = fs::read_to_string(format!("/proc/{id}/limits")).expect("a running process");
        let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
        let words = core.expect("a limit for core dumps").split_whitespace();
        words.take(2).map(str::to_owned).collect()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// Waits for its end; one that does not come in time is an error.
    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(LONGEST_END, self.child.wait())
            .await
            .expect("the process ends")
            .expect("a child of ours")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(file) = &self.tells {
            fs::remove_file(file).ok();
        }
    }
}
