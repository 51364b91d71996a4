//! The launcher as a process, and what is left of it.
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// More than a debug build on a busy machine needs for a whole walk-through.
const PATIENCE: Duration = Duration::from_mins(3);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Launchers run one after the other: each is four processes and a server, and times are looked at.
static ALONE: Mutex<()> = Mutex::new(());

/// A temporary folder of its own, so that what is left can be seen: files in it, and processes that know its name.
pub(crate) struct Place {
    folder: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = std::env::temp_dir().join(format!("drop-launch-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o1777)).unwrap();
        Self { folder, _alone: alone }
    }

    /// The launcher, to be started here, with a database of its own.
    pub(crate) fn launcher(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_drop-local"));
        command
            .env("TMPDIR", &self.folder)
            .env_remove("DROP_DATABASE_URL")
            .env_remove("RUST_LOG");
        command
    }

    /// What is left: files, and processes that know this folder.
    pub(crate) fn left(&self) -> Vec<String> {
        let files = fs::read_dir(&self.folder).unwrap();
        let files = files.map(|entry| entry.unwrap().path().display().to_string());
        let processes = self.processes().into_iter().map(|(id, line)| format!("{id} {line}"));
        files.chain(processes).collect()
    }

    /// The processes that have this folder in their arguments, as the database's programs do, or in their
    /// environment, as the launcher and its children do.
    pub(crate) fn processes(&self) -> Vec<(u32, String)> {
        let folder = self.folder.to_str().unwrap();
        let output = Command::new("ps").args(["-A", "-o", "pid=,args="]).output().unwrap();
        let all = String::from_utf8_lossy(&output.stdout).into_owned();
        let parsed = all.lines().filter_map(|line| {
            let (id, line) = line.trim_start().split_once(' ')?;
            Some((id.parse::<u32>().ok()?, line.to_owned()))
        });
        parsed
            .filter(|(id, line)| {
                let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
                line.contains(folder) || String::from_utf8_lossy(&environment).contains(folder)
            })
            .collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A running launcher; what it prints is kept. Dropping it kills it.
pub(crate) struct Launched {
    child: Child,
    said: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Launched {
    pub(crate) fn start(command: &mut Command) -> Self {
        let piped = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let said = Arc::default();
        let readers = vec![
            keep(child.stdout.take().unwrap(), &said),
            keep(child.stderr.take().unwrap(), &said),
        ];
        Self { child, said, readers }
    }

    /// Everything printed so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Returns as soon as it has printed this.
    pub(crate) fn wait_for(&mut self, text: &str) {
        within(&format!("the launcher says {text:?}"), || {
            let ended = self.child.try_wait().unwrap().is_some() && self.readers.iter().all(JoinHandle::is_finished);
            let said = self.said();
            assert!(
                said.contains(text) || !ended,
                "it ended without saying {text:?}:\n{said}"
            );
            said.contains(text)
        });
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &id])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for its end. How it ended, and all it printed.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        within("the launcher ends", || self.child.try_wait().unwrap().is_some());
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        (self.child.wait().unwrap(), self.said())
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keep(output: impl Read + Send + 'static, said: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            said.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}

/// Looks until something is so, a bounded time.
pub(crate) fn within(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}
