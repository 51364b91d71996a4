//! What is shipped holds no failpoints.

use std::process::Command;

#[test]
fn no_program_that_is_shipped_has_failpoints() {
    for program in ["drop-api", "drop-worker", "drop-local"] {
        let features = features(program, "features,normal,build");
        assert!(features.contains("drop-common"), "{features}");
        assert!(
            !features.contains("failpoints"),
            "{program} has failpoints:\n{features}"
        );
    }
    let tests = features("drop-tests", "features,normal,build,dev");
    assert!(
        tests.contains(r#"drop-common feature "failpoints""#),
        "they would be seen:\n{tests}"
    );
}

/// The features of everything a package is built from, as cargo resolves them.
fn features(package: &str, edges: &str) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "-p", package, "-e", edges])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}
