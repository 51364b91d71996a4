//! What a panic says can be anything. Alone in its file, because the hook is the whole process's.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io;
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex};

#[test]
fn a_panic_is_logged_by_its_place_and_without_its_message() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    drop_common::telemetry::redact_panics();

    tracing::subscriber::with_default(subscriber, || {
        catch_unwind(|| panic!("13897249477 has no account")).unwrap_err();
    });

    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("a panic") && logged.contains("panics.rs:"), "{logged}");
    assert!(!logged.contains("13897249477"), "{logged}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
