//! The PostgreSQL binaries that are already on this machine.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::account::Account;

/// The oldest version the product's SQL runs on.
const OLDEST: u32 = 15;
const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// A folder with all the programs a server needs.
#[derive(Debug)]
pub(super) struct Binaries {
    pub(super) folder: PathBuf,
    /// As `postgres --version` prints it.
    pub(super) version: String,
}

impl Binaries {
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// The first folder that counts, in the order `DROP_PG_BIN`, `pg_config`, `PATH`, Debian's, Homebrew's. What was
/// looked at in vain is added to `tried`.
pub(super) fn find(account: &Account, tried: &mut Vec<String>) -> Option<Binaries> {
    for (origin, folders) in places() {
        let mut seen = false;
        for folder in folders {
            match examine(&folder, account) {
                Ok(binaries) => return Some(binaries),
                Err(reason) => {
                    seen = true;
                    tried.push(format!("{origin}: {} {reason}", folder.display()));
                }
            }
        }
        if !seen {
            tried.push(format!("{origin}: nothing there"));
        }
    }
    None
}

/// Whether `DROP_PG_BIN` names a folder, which is then the first that is looked at.
pub(super) fn is_asked_for() -> bool {
    asked_for().is_some()
}

/// Whether a folder counts: all three programs (a client package has some of them), new enough, and the account can
/// run them. The last is found out by running one.
pub(super) fn examine(folder: &Path, account: &Account) -> Result<Binaries, String> {
    if let Some(missing) = PROGRAMS.iter().find(|name| !folder.join(name).is_file()) {
        return Err(format!("has no {missing}"));
    }
    let output = account
        .command(folder.join("postgres"))
        .arg("--version")
        .output()
        .map_err(|error| format!("cannot be run by {}: {error}", account.name()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cannot be run by {}: {}", account.name(), said.trim()));
    }
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match major(&version) {
        Some(major) if major >= OLDEST => Ok(Binaries {
            folder: folder.to_owned(),
            version,
        }),
        Some(_) => Err(format!("is {version}, older than {OLDEST}")),
        None => Err(format!("has an unreadable version: {version:?}")),
    }
}

/// `postgres (PostgreSQL) 16.14 (Debian …)` → 16; also of `17beta1`.
fn major(version: &str) -> Option<u32> {
    let number = version.split_once(") ")?.1;
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..end].parse().ok()
}

/// Every origin with its folders. Only folders holding at least one of the programs are listed, except for the one
/// that was asked for by name.
fn places() -> Vec<(&'static str, Vec<PathBuf>)> {
    let path: Vec<_> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    vec![
        ("DROP_PG_BIN", asked_for().into_iter().collect()),
        ("pg_config --bindir", pg_config().into_iter().collect()),
        ("PATH", path.into_iter().filter(|folder| holds_any(folder)).collect()),
        (
            "/usr/lib/postgresql",
            newest_first(Path::new("/usr/lib/postgresql"), ""),
        ),
        ("Homebrew", homebrew()),
    ]
}

fn asked_for() -> Option<PathBuf> {
    std::env::var_os("DROP_PG_BIN")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

fn holds_any(folder: &Path) -> bool {
    PROGRAMS.iter().any(|name| folder.join(name).is_file())
}

fn pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config")
        .arg("--bindir")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(folder.trim()))
}

fn homebrew() -> Vec<PathBuf> {
    let prefix = std::env::var_os("HOMEBREW_PREFIX").map(PathBuf::from);
    let usual = ["/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew"].map(PathBuf::from);
    let mut prefixes: Vec<PathBuf> = prefix.into_iter().chain(usual).collect();
    prefixes.dedup();
    prefixes
        .iter()
        .flat_map(|prefix| newest_first(&prefix.join("opt"), "postgresql@"))
        .collect()
}

/// The `bin` folders of `parent/<prefix><number>`, the highest number first.
fn newest_first(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_releases_and_betas() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 17beta1"), Some(17));
        assert_eq!(major("postgres"), None);
    }

    #[test]
    fn a_folder_of_client_programs_does_not_count() {
        let folder = std::env::temp_dir().join(format!("drop-client-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("pg_ctl"), "").unwrap();
        let verdict = examine(&folder, &Account::choose().unwrap());
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(verdict.unwrap_err(), "has no initdb");
    }

    #[test]
    fn versions_are_tried_from_the_newest_by_number() {
        let parent = std::env::temp_dir().join(format!("drop-versions-{}", uuid::Uuid::new_v4().simple()));
        for name in ["9", "15", "100", "common"] {
            fs::create_dir_all(parent.join(name)).unwrap();
        }
        let found = newest_first(&parent, "");
        fs::remove_dir_all(&parent).unwrap();
        assert_eq!(found, ["100", "15", "9"].map(|name| parent.join(name).join("bin")));
    }
}
