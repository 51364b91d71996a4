//! What this process writes to standard output.

use std::io::{self, IsTerminal};

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
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

/// Starts logging for a process, and [redacts its panics](redact_panics). `RUST_LOG` chooses what is shown; without it
/// our crates speak at `info`, the rest at `warn`. Those that carry bytes over the wire speak at `warn` whatever it says.
///
/// A second call in one process changes nothing.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let registry = tracing_subscriber::registry()
        .with(filter)
        .with(filter_fn(|line| may_be_shown(line.target(), *line.level())));
    let lines = tracing_subscriber::fmt::layer().with_ansi(io::stdout().is_terminal());
    let started = match format {
        LogFormat::Pretty => registry.with(lines.compact()).try_init(),
        LogFormat::Json => registry
            .with(lines.json().flatten_event(true).with_span_list(false))
            .try_init(),
    };
    if started.is_ok() {
        redact_panics();
    } else {
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

/// Below `warn` these follow what goes over a connection, and one switch makes reqwest print all of it: headers with
/// tokens, bodies with national ids. No test reads what they say over TLS, and an update may make them say more.
const WIRE: [&str; 6] = ["h2", "hyper", "hyper_util", "hyper_rustls", "reqwest", "rustls"];

fn may_be_shown(target: &str, level: Level) -> bool {
    let origin = target.split("::").next().unwrap_or(target);
    level <= Level::WARN || !WIRE.contains(&origin)
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
    fn what_carries_bytes_is_not_shown_below_warn() {
        assert!(!may_be_shown("reqwest::connect::verbose", Level::TRACE));
        assert!(!may_be_shown("h2", Level::INFO));
        assert!(may_be_shown("hyper::proto", Level::WARN));
        assert!(may_be_shown("drop_common::providers::http", Level::TRACE));
    }

    #[test]
    fn the_local_profile_is_read_by_people() {
        assert_eq!(LogFormat::suited(true), LogFormat::Pretty);
    }
}
