//! Packages from npm's registry: pinned by a lock file that holds their digests, installed once, into a cache.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

/// Installs what the lock file names into `place`, unless it is there already. `complete` does what the packages need
/// to be usable and is told what npm said; then they are at `place` and stay as they are. Dropping the future ends npm.
pub(crate) async fn install(
    place: &Path,
    manifest: &str,
    lockfile: &str,
    complete: impl FnOnce(&Path, &str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if !place.exists() {
        ensure!(runs("npm"), "npm is not installed");
        // Installed beside its place and renamed into it: a half-finished install is never found by another run.
        let staging = Staging::beside(place)?;
        let said = ci(&staging.0, manifest, lockfile).await?;
        complete(&staging.0, &said)?;
        if let Err(error) = fs::rename(&staging.0, place) {
            // Another run may have been faster; its copy is as good.
            ensure!(
                place.exists(),
                "could not move the packages to {}: {error}",
                place.display()
            );
        }
    }
    only_ours(place)
}

/// A place of this name in our own cache.
pub(crate) fn cache(name: &str) -> anyhow::Result<PathBuf> {
    let set = |variable| {
        std::env::var_os(variable)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let parent = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let parent = parent.unwrap_or_else(std::env::temp_dir);
    fs::create_dir_all(&parent).with_context(|| format!("could not make {}", parent.display()))?;
    Ok(parent.join(name))
}

/// Whether this program, `npm` or `node`, is on this machine.
pub(crate) fn runs(program: &str) -> bool {
    let version = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    version.is_ok_and(|output| output.status.success())
}

/// What npm said of its downloads.
async fn ci(folder: &Path, manifest: &str, lockfile: &str) -> anyhow::Result<String> {
    fs::write(folder.join("package.json"), manifest)?;
    fs::write(folder.join("package-lock.json"), lockfile)?;
    let output = tokio::process::Command::new("npm")
        .args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--no-update-notifier",
            "--loglevel=http",
        ])
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("could not run npm")?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    ensure!(output.status.success(), "npm ci failed ({}): {said}", output.status);
    Ok(said)
}

/// The name is known to everybody, and the temporary folder is open to everybody: what somebody else put there is
/// not run.
fn only_ours(folder: &Path) -> anyhow::Result<()> {
    let found = fs::symlink_metadata(folder)?;
    let parent = folder.parent().context("the cache has a parent")?;
    let probe = Staging::beside(&parent.join("drop-owner"))?;
    let ours = fs::metadata(&probe.0)?.uid();
    let safe = found.is_dir() && found.uid() == ours && found.mode() & 0o022 == 0;
    ensure!(safe, "{} does not belong to us alone: remove it", folder.display());
    Ok(())
}

/// A folder that is removed again unless it was renamed.
pub(crate) struct Staging(pub(crate) PathBuf);

impl Staging {
    pub(crate) fn beside(place: &Path) -> anyhow::Result<Self> {
        let mut name = place.as_os_str().to_owned();
        name.push(format!(".{}", uuid::Uuid::new_v4().simple()));
        let folder = PathBuf::from(name);
        fs::create_dir(&folder).with_context(|| format!("could not make {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_others_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let staging = Staging::beside(&std::env::temp_dir().join("drop-open")).unwrap();
        fs::set_permissions(&staging.0, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(only_ours(&staging.0).is_err());
        fs::set_permissions(&staging.0, fs::Permissions::from_mode(0o755)).unwrap();
        only_ours(&staging.0).unwrap();
    }
}
