//! Under which account the server's programs run. PostgreSQL refuses to run as root.
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// The account of the server's programs and the folder its files may lie in.
pub(super) struct Account {
    /// `None`: our own account. Root names another one.
    other: Option<Entry>,
}

struct Entry {
    name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// Our own account, or, when we are root, `postgres`, else `nobody`.
    pub(super) fn choose() -> anyhow::Result<Self> {
        if own_uid()? != 0 {
            return Ok(Self { other: None });
        }
        let accounts = fs::read_to_string("/etc/passwd").context("could not read /etc/passwd")?;
        let Some(entry) = ["postgres", "nobody"].iter().find_map(|name| find(&accounts, name)) else {
            bail!("PostgreSQL does not run as root, and there is no account postgres or nobody to run it as");
        };
        Ok(Self { other: Some(entry) })
    }

    /// True when we are root and therefore run the server as somebody else.
    pub(super) fn is_other(&self) -> bool {
        self.other.is_some()
    }

    /// For messages: who runs the server.
    pub(super) fn name(&self) -> &str {
        self.other.as_ref().map_or("this account", |entry| &entry.name)
    }

    /// A command under this account: nothing on stdin, no variable of ours but PATH, and `/` as its folder, because
    /// the account may not be able to read ours.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .env("PATH", search_path())
            .env("LC_ALL", "C")
            .env("TZ", "UTC");
        command.current_dir("/").stdin(Stdio::null());
        if let Some(entry) = &self.other {
            command.uid(entry.uid).gid(entry.gid); // std also empties the list of groups
        }
        command
    }

    /// The temporary folder: ours, or `/tmp` when the account could not pass through ours.
    pub(super) fn temporary_folder(&self) -> PathBuf {
        let ours = std::env::temp_dir();
        if self.is_other() && !self.reaches(&ours) {
            PathBuf::from("/tmp")
        } else {
            ours
        }
    }

    /// Whether the account can enter this folder.
    pub(super) fn reaches(&self, folder: &Path) -> bool {
        let entered = self
            .command("/bin/sh")
            .args(["-c", r#"cd "$1""#, "sh"])
            .arg(folder)
            .stderr(Stdio::null())
            .status();
        entered.is_ok_and(|status| status.success())
    }
}

/// Our effective user id. std has no call for it, and a call into libc would be unsafe.
fn own_uid() -> anyhow::Result<u32> {
    let output = Command::new("id")
        .arg("-u")
        .stdin(Stdio::null())
        .output()
        .context("could not run id -u")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().with_context(|| format!("id -u answered {text:?}"))
}

fn find(accounts: &str, name: &str) -> Option<Entry> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Entry {
            name: name.to_owned(),
            uid,
            gid,
        })
    })
}

fn search_path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let accounts = "root:x:0:0:root:/root:/bin/sh\npostgresql:x:7:8::/:/bin/sh\npostgres:x:101:104:,,,:/:/bin/sh\n";
        let entry = find(accounts, "postgres").unwrap();
        assert_eq!((entry.uid, entry.gid), (101, 104));
        assert!(find(accounts, "nobody").is_none());
    }
}
