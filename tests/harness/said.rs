//! What this process says while it runs tests: every line that the service logs, and every error that it answers with. One
//! process runs many tests at once, so a test looks at what was said since it began.

use std::{
    io,
    sync::{Mutex, MutexGuard, Once, PoisonError},
};

use tracing_subscriber::{
    EnvFilter,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::alerts::Ear;

static LISTENING: Once = Once::new();
static SAID: Mutex<String> = Mutex::new(String::new());

/// Ours at their most talkative; what others say so is looked at where it is written by processes of their own.
const LINES: &str = "warn,drop_api=trace,drop_worker=trace,drop_common=trace,alert=trace";

/// Listens from here on.
///
/// # Panics
/// When something else listens to this process already.
pub fn listen() {
    LISTENING.call_once(|| {
        let lines = fmt::layer()
            .json()
            .flatten_event(true)
            .with_span_list(true)
            .with_writer(Pen);
        let listening = tracing_subscriber::registry().with(EnvFilter::new(LINES));
        let listening = listening.with(Ear).with(lines);
        listening.try_init().expect("nobody else listens");
    });
}

/// How much was said so far.
pub fn position() -> usize {
    said().len()
}

/// What was said since.
pub fn since(position: usize) -> String {
    said()[position..].to_owned()
}

/// Adds what was said in another way than a line.
pub fn note(text: &str) {
    said().push_str(text);
}

fn said() -> MutexGuard<'static, String> {
    SAID.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Pen;

impl io::Write for Pen {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        note(&String::from_utf8_lossy(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Pen {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}
