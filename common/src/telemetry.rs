//! What this process writes to standard output.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Coloured lines for a person.
    Pretty,
    /// One JSON object a line, for a collector.
    Json,
}

impl LogFormat {
    /// Pretty on a terminal and in the local profile, JSON otherwise.
    pub fn suited(local: bool) -> Self {
        if local || io::stdout().is_terminal() {
            Self::Pretty
        } else {
            Self::Json
        }
    }
}

/// Starts logging. `RUST_LOG` chooses what is shown; without it our crates speak at `info`, the rest at `warn`.
///
/// A second call in one process changes nothing: tests start many applications.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer();
    let started = match format {
        LogFormat::Pretty => registry.with(lines.compact()).try_init(),
        LogFormat::Json => registry
            .with(lines.json().flatten_event(true).with_span_list(false))
            .try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}

/// Makes panics log where they happened and nothing of their message, which can quote anything.
pub fn redact_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map_or_else(|| "unknown".to_owned(), ToString::to_string);
        tracing::error!(place, "a panic");
    }));
}

const DEFAULT_FILTER: &str = "warn,drop_api=info,drop_worker=info,drop_common=info,drop_sandbox=info,drop_local=info";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_filter_is_readable() {
        assert!(EnvFilter::try_new(DEFAULT_FILTER).is_ok());
    }

    #[test]
    fn the_local_profile_is_read_by_people() {
        assert_eq!(LogFormat::suited(true), LogFormat::Pretty);
    }
}
