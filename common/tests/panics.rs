//! What a panic says can be anything. Alone in its file, because the hook is the whole process's.

use std::io;
use std::panic::catch_unwind;
use std::sync::Arc;

#[test]
fn a_panic_is_logged_by_its_place_and_without_its_message() {
    let (log, writer) = io::pipe().unwrap();
    let subscriber = tracing_subscriber::fmt().with_writer(Arc::new(writer)).finish();
    drop_common::telemetry::redact_panics();

    tracing::subscriber::with_default(subscriber, || {
        catch_unwind(|| panic!("13897249477 has no account")).unwrap_err();
    });

    let logged = io::read_to_string(log).unwrap();
    assert!(logged.contains("a panic") && logged.contains("panics.rs:"), "{logged}");
    assert!(!logged.contains("13897249477"), "{logged}");
}
