//! Who may import whom (ARCHITECTURE.md), read from the source itself.

mod paths;

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

/// The module that a file of a crate is: `common/src/providers/http.rs` is `crate::providers::http`.
fn module_of(file: &Path) -> String {
    let below_src = file.iter().skip_while(|part| *part != "src").skip(1);
    let names = below_src.map(|part| part.to_string_lossy().trim_end_matches(".rs").to_owned());
    let names = names.filter(|name| !matches!(name.as_str(), "mod" | "lib" | "main"));
    std::iter::once("crate".to_owned())
        .chain(names)
        .collect::<Vec<_>>()
        .join("::")
}

/// The places in `source` that name something in one of the `modules`.
fn places(file: &Path, source: &str, modules: &[&str]) -> Vec<String> {
    let named = paths::named(source, &module_of(file));
    let named = named
        .iter()
        .filter(|named| modules.iter().any(|module| named.is_in(module)));
    named
        .map(|named| format!("{}:{}: {}", file.display(), named.line, named.path))
        .collect()
}

#[track_caller]
fn assert_free_of(folder: &str, modules: &[&str]) {
    let files = rust_files(&workspace().join(folder)).into_iter();
    let found: Vec<String> = files
        .flat_map(|file| places(&file, &fs::read_to_string(&file).expect("a text file"), modules))
        .collect();
    assert!(
        found.is_empty(),
        "{folder} must not name {modules:?}:\n{}",
        found.join("\n")
    );
}

#[test]
fn api_and_worker_never_import_each_other() {
    assert_free_of("api/src", &["drop_worker"]);
    assert_free_of("worker/src", &["drop_api"]);
}

#[test]
fn common_imports_neither_api_nor_worker_nor_tests() {
    assert_free_of("common/src", &["drop_api", "drop_worker", "drop_tests", "drop_sandbox"]);
}

#[test]
fn the_sandbox_shares_nothing_with_the_service() {
    assert_free_of(
        "tests/sandbox/src",
        &["drop_common", "drop_api", "drop_worker", "drop_tests"],
    );
}

const NOT_FOR_THE_DOMAIN: [&str; 23] = [
    "crate::alerts",
    "crate::clock",
    "crate::config",
    "crate::failpoint",
    "crate::keyring",
    "crate::metrics",
    "crate::probes",
    "crate::providers",
    "crate::queue",
    "crate::resilience",
    "crate::session_token",
    "crate::storage",
    "crate::telemetry",
    "reqwest",
    // `sqlx::Type` is no I/O: ids say how they are stored.
    "sqlx::PgExecutor",
    "sqlx::PgPool",
    "sqlx::postgres",
    "sqlx::query",
    "sqlx::query_as",
    "std::env",
    "std::fs",
    "std::net",
    "tokio",
];

#[test]
fn the_domain_does_no_io_and_imports_no_sibling() {
    assert_free_of("common/src/domain", &NOT_FOR_THE_DOMAIN);
}

#[test]
fn storage_and_providers_never_import_each_other() {
    assert_free_of("common/src/storage", &["crate::providers"]);
    assert_free_of("common/src/providers", &["crate::storage", "crate::queue", "sqlx"]);
}

#[test]
fn only_the_queue_names_the_job_runtime() {
    assert_free_of("api/src", &["apalis", "apalis_core"]);
    assert_free_of("worker/src", &["apalis", "apalis_core"]);
    let folder = workspace().join("common/src");
    let outside = rust_files(&folder)
        .into_iter()
        .filter(|file| !file.starts_with(folder.join("queue")));
    for file in outside {
        let source = fs::read_to_string(&file).expect("a text file");
        assert_eq!(places(&file, &source, &["apalis", "apalis_core"]), [""; 0]);
    }
}

#[test]
fn sql_is_written_in_common_alone() {
    let statements = [
        "sqlx::query",
        "sqlx::query_as",
        "sqlx::query_scalar",
        "sqlx::query_with",
        "sqlx::raw_sql",
    ];
    assert_free_of("api/src", &statements);
    assert_free_of("worker/src", &statements);
}

/// A `BEGIN` that is cut off leaves its connection in a transaction that sqlx does not know of, and `storage::begin` is not cut
/// off. A connection that is nobody else's is closed with whoever had it.
#[test]
fn a_transaction_of_a_pool_begins_in_one_place() {
    let begins = |line: &str| line.contains(".begin()") || line.contains("db.begin_with(");
    let of_a_pool = |line: &&str| begins(line) && !line.contains(" connection.begin()");
    for folder in ["api/src", "worker/src", "common/src"] {
        for file in rust_files(&workspace().join(folder)) {
            let source = fs::read_to_string(&file).expect("a text file");
            let found: Vec<_> = source.lines().filter(of_a_pool).collect();
            assert!(found.is_empty(), "{}: {found:?}", file.display());
        }
    }
}

#[test]
fn a_planted_violation_is_found_in_the_ways_that_this_code_imports() {
    let provider = Path::new("common/src/providers/neonomics/client.rs");
    let grouped = "use crate::{\n    config::NeonomicsConfig,\n    storage::{StorageError, Tx},\n};";
    let upwards = "use super::super::super::storage::Tx;";
    for planted in [grouped, upwards, "fn f(_: &mut crate::storage::Tx) {}"] {
        assert!(!places(provider, planted, &["crate::storage"]).is_empty(), "{planted}");
    }
    let domain = Path::new("common/src/domain/kyc.rs");
    for planted in ["use super::super::queue;", "use std::{fmt, fs::File};"] {
        assert!(!places(domain, planted, &NOT_FOR_THE_DOMAIN).is_empty(), "{planted}");
    }
    let harmless = "// crate::storage\nuse super::super::config; const NOTE: &str = \"crate::storage\";";
    assert_eq!(places(provider, harmless, &["crate::storage"]), [""; 0]);
}
