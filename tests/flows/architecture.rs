//! Who may import whom (ARCHITECTURE.md). Read from the `use` lines and paths of the source itself.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no source below {}", folder.display());
    found
}

/// The places below `folder` whose code (comments aside) mentions one of the `words`.
fn mentions(folder: &str, words: &[&str]) -> Vec<String> {
    let mut places = Vec::new();
    for file in rust_files(&workspace().join(folder)) {
        for (number, line) in fs::read_to_string(&file).expect("a text file").lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word)) {
                places.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    places
}

#[track_caller]
fn assert_free_of(folder: &str, words: &[&str]) {
    let places = mentions(folder, words);
    assert!(
        places.is_empty(),
        "{folder} must not mention {words:?}:\n{}",
        places.join("\n")
    );
}

#[test]
fn api_and_worker_never_import_each_other() {
    assert_free_of("api/src", &["drop_worker::"]);
    assert_free_of("worker/src", &["drop_api::"]);
}

#[test]
fn common_imports_neither_api_nor_worker_nor_tests() {
    assert_free_of(
        "common/src",
        &["drop_api::", "drop_worker::", "drop_tests::", "drop_sandbox::"],
    );
}

#[test]
fn the_sandbox_shares_nothing_with_the_service() {
    assert_free_of(
        "tests/sandbox/src",
        &["drop_common::", "drop_api::", "drop_worker::", "drop_tests::"],
    );
}

#[test]
fn the_domain_does_no_io_and_imports_no_sibling() {
    let siblings = [
        "storage",
        "queue",
        "providers",
        "resilience",
        "config",
        "metrics",
        "telemetry",
        "clock",
        "keyring",
    ];
    let mut words: Vec<String> = siblings.iter().map(|sibling| format!("crate::{sibling}")).collect();
    words.extend(
        [
            "sqlx::query",
            "PgPool",
            "reqwest",
            "tokio::",
            "std::fs",
            "std::net",
            "std::env",
        ]
        .map(str::to_owned),
    );
    assert_free_of(
        "common/src/domain",
        &words.iter().map(String::as_str).collect::<Vec<_>>(),
    );
}

#[test]
fn storage_and_providers_never_import_each_other() {
    assert_free_of("common/src/storage", &["crate::providers"]);
    assert_free_of("common/src/providers", &["crate::storage", "crate::queue", "sqlx"]);
}

#[test]
fn only_the_queue_names_the_job_runtime() {
    let outside: Vec<String> = ["api/src", "worker/src", "common/src"]
        .iter()
        .flat_map(|folder| mentions(folder, &["apalis"]))
        .collect();
    let outside: Vec<&String> = outside
        .iter()
        .filter(|place| !place.contains("common/src/queue/"))
        .collect();
    assert!(outside.is_empty(), "apalis outside common/src/queue: {outside:?}");
}
