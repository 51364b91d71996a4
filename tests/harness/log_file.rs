//! The file that the processes of a test write their lines to; it goes with the test.

use std::{env, fs, path::PathBuf, thread};

use crate::processes::SAYS_TO;

/// What a service says that nobody has told to say more or less.
const LINES: &str = "warn,drop_api=info,drop_worker=info,drop_common=info";

/// One file.
pub(crate) struct LogFile(PathBuf);

impl LogFile {
    pub(crate) fn new() -> Self {
        Self(env::temp_dir().join(format!("drop-said-{}", uuid::Uuid::now_v7())))
    }

    /// What makes a process write there.
    pub(crate) fn variables(&self) -> [(&'static str, String); 2] {
        let path = self.0.to_str().expect("a path that is text");
        [(SAYS_TO, path.to_owned()), ("RUST_LOG", LINES.to_owned())]
    }

    /// What was said so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.0).unwrap_or_default()).into_owned()
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        if thread::panicking() {
            for line in self.text().lines().filter(|line| line.contains("ERROR")) {
                eprintln!("{line}");
            }
        }
        let _ = fs::remove_file(&self.0);
    }
}
