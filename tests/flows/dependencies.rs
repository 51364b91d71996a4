//! What the workspace depends on, and why. Licences, bans and sources (`deny.toml`) are looked at by `ops/check`.

use std::path::Path;

use crate::ops;

/// Separates the groups of the table.
const HEADING: &str = "# ──";

/// The lines of `[workspace.dependencies]`, each with the one before it.
fn dependencies(manifest: &str) -> Vec<(&str, &str)> {
    let table = manifest.split("[workspace.dependencies]\n").nth(1).expect("the table");
    let table = table.split("\n[").next().unwrap_or_default();
    let lines: Vec<&str> = table.lines().collect();
    lines
        .windows(2)
        .filter(|pair| pair[1].contains(" = ") && !pair[1].starts_with('#') && !pair[1].contains("path = "))
        .map(|pair| (pair[1], pair[0]))
        .collect()
}

#[test]
fn every_dependency_says_why_we_have_it_and_says_it_once() {
    let manifest = ops::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"));
    let found = dependencies(&manifest);
    assert!(found.len() > 30, "{}", found.len());
    for (line, before) in found {
        let reason = before.starts_with("# ") && !before.starts_with(HEADING) && before.ends_with('.');
        assert!(reason, "no reason above {line}");
        assert!(!line.contains('#'), "a second reason beside {line}");
    }
}

#[test]
fn no_crate_takes_a_dependency_that_the_workspace_does_not_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let workspace = ops::read(&root.join("Cargo.toml"));
    let members = workspace.lines().find_map(|line| line.strip_prefix("members = ["));
    let members: Vec<&str> = members.expect("members").split('"').skip(1).step_by(2).collect();
    assert!(members.contains(&"common"), "{members:?}");
    for member in members {
        let manifest = ops::read(&root.join(member).join("Cargo.toml"));
        let tables = manifest.split("\n[").filter(|table| {
            let name = table.split(']').next().unwrap_or_default();
            name.ends_with("dependencies")
        });
        let lines = tables.flat_map(str::lines).filter(|line| !line.starts_with('#'));
        for line in lines.filter(|line| line.contains(" = ") || line.contains('.')) {
            assert!(line.contains("workspace = true"), "{member}: {line}");
        }
    }
}
