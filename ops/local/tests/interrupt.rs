//! The launcher is told to end, or killed, while PostgreSQL is starting: nothing may be left.
#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails here fails the test")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rstest::rstest;

#[rstest]
#[case::ctrl_c("INT")]
#[case::terminate("TERM")]
#[case::terminal_closed("HUP")]
fn a_signal_during_the_start_of_postgresql_ends_the_run_with_130_and_leaves_nothing(#[case] signal: &str) {
    let place = Place::new();
    let mut launcher = place.launch();
    read_until(&mut launcher, "private cluster");
    send(signal, &launcher);
    assert_eq!(launcher.wait().unwrap().code(), Some(130));
    assert!(place.is_empty());
    assert_eq!(processes_naming(&place.0), Vec::<String>::new());
}

#[test]
fn a_launcher_killed_during_the_start_of_postgresql_leaves_nothing() {
    let place = Place::new();
    let mut launcher = place.launch();
    read_until(&mut launcher, "starting the server");
    launcher.kill().unwrap();
    launcher.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !(place.is_empty() && processes_naming(&place.0).is_empty()) {
        assert!(Instant::now() < deadline, "{:?}", processes_naming(&place.0));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_that_cannot_be_used_is_an_error_that_says_so() {
    let output = Command::new(env!("CARGO_BIN_EXE_drop-local"))
        .arg("demo")
        .env("DROP_DATABASE_URL", "postgres://drop:hunter2@127.0.0.1:1/postgres")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("DROP_DATABASE_URL cannot be used"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

fn read_until(launcher: &mut Child, part: &str) {
    let mut lines = BufReader::new(launcher.stdout.as_mut().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap().contains(part)),
        "the launcher never said: {part}"
    );
}

fn send(signal: &str, launcher: &Child) {
    let sent = Command::new("kill")
        .arg(format!("-{signal}"))
        .arg(launcher.id().to_string())
        .status()
        .unwrap();
    assert!(sent.success());
}

/// A temporary folder of its own, so that what is left can be seen.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("drop-launch-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o1777)).unwrap();
        Self(folder)
    }

    fn launch(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_drop-local"))
            .arg("demo")
            .env("TMPDIR", &self.0)
            .env_remove("DROP_DATABASE_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn is_empty(&self) -> bool {
        fs::read_dir(&self.0).unwrap().next().is_none()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn processes_naming(folder: &Path) -> Vec<String> {
    let output = Command::new("ps")
        .args(["-A", "-o", "args"])
        .output()
        .expect("ps is installed");
    let all = String::from_utf8_lossy(&output.stdout).into_owned();
    all.lines()
        .filter(|line| line.contains(folder.to_str().unwrap()))
        .map(ToOwned::to_owned)
        .collect()
}
