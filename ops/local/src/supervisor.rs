//! The children: started, their lines passed on, watched, and stopped.
use std::ffi::OsString;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use crate::console;

/// How long children may take to finish what they are doing; then they are killed. Usually it is a moment: more than
/// the worker's five seconds of draining means that something hangs.
const LONGEST_STOP: Duration = Duration::from_secs(15);
/// Lines already in the pipe of a child that has ended are read within this time.
const LAST_LINES: Duration = Duration::from_secs(1);
const WATCH_EVERY: Duration = Duration::from_millis(50);

/// The running children, in the order of their start. Dropping this kills them.
#[derive(Default)]
pub(crate) struct Supervisor {
    running: Vec<Running>,
}

struct Running {
    name: &'static str,
    child: Child,
    /// Held, never written: it closes when we end, and the child ends with it.
    _stdin: Option<ChildStdin>,
    logs: Vec<JoinHandle<()>>,
}

impl Supervisor {
    /// Starts `program name` with exactly this environment. Its lines are printed with its name in front.
    pub(crate) fn start(
        &mut self,
        name: &'static str,
        program: &Path,
        environment: &[(OsString, OsString)],
    ) -> anyhow::Result<()> {
        let mut command = Command::new(program);
        command
            .arg(name)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)));
        self.spawn(name, command)
    }

    fn spawn(&mut self, name: &'static str, mut command: Command) -> anyhow::Result<()> {
        command
            .process_group(0) // Ctrl-C in the terminal reaches only us, so that we can stop the children in order
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("could not start {name}"))?;
        let mut logs = Vec::new();
        logs.extend(child.stdout.take().map(|out| tokio::spawn(pass_on(name, out))));
        logs.extend(child.stderr.take().map(|err| tokio::spawn(pass_on(name, err))));
        self.running.push(Running {
            name,
            _stdin: child.stdin.take(),
            child,
            logs,
        });
        Ok(())
    }

    /// Waits for the child started last to end by itself, which must be well.
    pub(crate) async fn finished(&mut self) -> anyhow::Result<()> {
        let last = self.running.last_mut().context("nothing was started")?;
        let status = last.child.wait().await?;
        let done = self.running.pop().expect("there was a last one");
        let name = done.name;
        done.read_out().await;
        if status.success() {
            Ok(())
        } else {
            bail!("{name} failed ({status})")
        }
    }

    /// Resolves when any child ends, which none should: the error says which and how.
    pub(crate) async fn a_child_ends(&mut self) -> anyhow::Error {
        let mut tick = interval(WATCH_EVERY);
        loop {
            tick.tick().await;
            for running in &mut self.running {
                match running.child.try_wait() {
                    Ok(None) => {}
                    Ok(Some(status)) => return ended(running.name, status),
                    Err(error) => return anyhow::Error::new(error).context(format!("lost sight of {}", running.name)),
                }
            }
        }
    }

    /// Asks every child to end, the first one (which the others call) when they are done, and kills those that have
    /// not ended within fifteen seconds, or all at once when `hurry` resolves.
    pub(crate) async fn stop(&mut self, hurry: impl Future<Output = ()>) {
        let in_order = async {
            if let Some((first, others)) = self.running.split_first_mut() {
                end_all(others).await;
                end_all(std::slice::from_mut(first)).await;
            }
        };
        tokio::select! {
            ended = timeout(LONGEST_STOP, in_order) => if ended.is_err() {
                console::say(&format!("killing what has not ended within {LONGEST_STOP:?}"));
            },
            () = hurry => {}
        }
        for mut running in self.running.drain(..) {
            let _ = running.child.kill().await; // does nothing to one that has ended
            running.read_out().await;
        }
    }
}

async fn end_all(running: &mut [Running]) {
    for child in &*running {
        child.terminate().await;
    }
    for child in running {
        let _ = child.child.wait().await;
    }
}

impl Running {
    /// std can only kill, and a call into libc would be unsafe: the `kill` program sends SIGTERM.
    async fn terminate(&self) {
        if let Some(id) = self.child.id() {
            let kill = Command::new("kill")
                .args(["-TERM", &id.to_string()])
                .stderr(Stdio::null())
                .status()
                .await;
            if let Err(error) = kill {
                console::say(&format!("could not send SIGTERM to {}: {error}", self.name));
            }
        }
    }

    async fn read_out(self) {
        for log in self.logs {
            let _ = timeout(LAST_LINES, log).await;
        }
    }
}

fn ended(name: &str, status: ExitStatus) -> anyhow::Error {
    anyhow::anyhow!("{name} ended by itself ({status}); its last lines are above")
}

async fn pass_on(name: &'static str, output: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(output);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
        console::log(name, String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    async fn appears(file: &Path) {
        let mut tick = interval(WATCH_EVERY);
        let found = timeout(Duration::from_secs(10), async {
            while !file.exists() {
                tick.tick().await;
            }
        });
        found.await.unwrap();
    }

    #[tokio::test]
    async fn a_child_that_dies_early_is_named_with_its_status() {
        let mut children = Supervisor::default();
        children.spawn("sandbox", shell("cat")).unwrap();
        children.spawn("worker", shell("exit 3")).unwrap();
        let error = children.a_child_ends().await.to_string();
        assert!(error.contains("worker") && error.contains("exit status: 3"), "{error}");
    }

    #[tokio::test]
    async fn a_part_that_should_finish_but_fails_is_an_error() {
        let mut children = Supervisor::default();
        children.spawn("migrate", shell("exit 0")).unwrap();
        children.finished().await.unwrap();
        children.spawn("migrate", shell("exit 4")).unwrap();
        assert!(
            children
                .finished()
                .await
                .unwrap_err()
                .to_string()
                .contains("exit status: 4")
        );
    }

    #[tokio::test]
    async fn a_child_is_asked_to_end_before_it_is_killed() {
        let folder = std::env::temp_dir().join(format!("drop-stop-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).unwrap();
        let (ready, asked) = (folder.join("ready"), folder.join("asked"));
        let script = r#"trap 'touch "$2"; exit 0' TERM; touch "$1"; while :; do sleep 0.05; done"#;
        let mut command = shell(script);
        command.arg("sh").args([&ready, &asked]);
        let mut children = Supervisor::default();
        children.spawn("api", command).unwrap();
        appears(&ready).await;

        children.stop(pending()).await;

        assert!(asked.exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn the_first_child_is_still_there_while_the_others_finish() {
        let folder = std::env::temp_dir().join(format!("drop-order-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).unwrap();
        let mut children = Supervisor::default();
        for (name, last_act) in [
            ("sandbox", "touch ended"),
            ("worker", "[ -e ended ] || touch sandbox-was-there"),
        ] {
            let script = format!("trap '{last_act}; exit 0' TERM; touch {name}; while :; do sleep 0.05; done");
            let mut command = shell(&script);
            command.current_dir(&folder);
            children.spawn(name, command).unwrap();
        }
        appears(&folder.join("sandbox")).await;
        appears(&folder.join("worker")).await;

        children.stop(pending()).await;

        assert!(folder.join("ended").exists() && folder.join("sandbox-was-there").exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn a_child_that_ignores_the_request_is_killed_when_there_is_hurry() {
        let mut children = Supervisor::default();
        children
            .spawn("api", shell("trap '' TERM; while :; do sleep 0.05; done"))
            .unwrap();
        let id = children.running[0].child.id().unwrap();
        timeout(LONGEST_STOP, children.stop(async {})).await.unwrap();
        let alive = Command::new("kill")
            .args(["-0", &id.to_string()])
            .stderr(Stdio::null())
            .status()
            .await
            .unwrap();
        assert!(!alive.success());
    }
}
