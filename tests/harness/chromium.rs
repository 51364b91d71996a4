//! A headless Chromium, driven from node (`tests/browser/visit.mjs`).

use std::{io::Write, path::Path, process::Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::npm;

const PROGRAM: &str = include_str!("../browser/visit.mjs");
const MANIFEST: &str = include_str!("../browser/package.json");
const LOCKFILE: &str = include_str!("../browser/package-lock.json");
const NEEDED: &str =
    "looking at the operators' page needs Chromium, Node.js 18 or later and npm (Debian: apt-get install chromium npm)";
/// Where it is on the path, by distribution.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Visits the pages that `visit` names and tells what was found there.
///
/// `None` on a machine without Chromium or npm, which is enough for all other tests; the test then says that it did not run.
/// With `CI=true` that is a failure.
pub async fn visit(visit: &Value) -> Option<Value> {
    let name = NAMES.into_iter().find(|name| npm::runs(name));
    let place = npm::cache("drop-playwright-1.65.1").expect("a cache");
    let Some(name) = name.filter(|_| npm::runs("node") && (place.exists() || npm::runs("npm"))) else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{NEEDED}");
        // Past the test runner, which swallows what a passing test prints.
        let _ = writeln!(std::io::stderr(), "not run: {NEEDED}");
        return None;
    };
    npm::install(&place, MANIFEST, LOCKFILE, |_, _| Ok(()))
        .await
        .expect("npm installs the driver");
    Some(run(&place, name, visit).await.expect("the visit ends"))
}

async fn run(packages: &Path, browser: &str, visit: &Value) -> anyhow::Result<Value> {
    let found = std::env::var_os("PATH").context("a path")?;
    let browser = std::env::split_paths(&found)
        .map(|folder| folder.join(browser))
        .find(|program| program.exists())
        .context("its place")?;
    let output = tokio::process::Command::new("node")
        .args(["--input-type=module", "--eval", PROGRAM])
        .arg(browser)
        .arg(visit.to_string())
        .current_dir(packages)
        .env_remove("NODE_OPTIONS")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the visit failed: {said}");
    Ok(serde_json::from_slice(&output.stdout)?)
}
