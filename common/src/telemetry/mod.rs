//! What this process tells of itself: lines on standard output, and reports to Sentry.

mod alerts;
mod courier;
mod reports;
mod scrub;
mod timing;

use std::error::Error;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, setrlimit};
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub(crate) use alerts::note;
pub use alerts::telling_alerts;
pub use reports::{Reports, send_last_reports};
pub use scrub::is_personal;
pub use timing::{Status, Step, Transaction};

use crate::{
    config::{Environment, TelemetryConfig},
    storage,
};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for a person, coloured on a terminal.
    Text,
    /// One JSON object a line, for a collector.
    Json,
}

impl LogFormat {
    /// Text on a terminal and in the local profile, JSON otherwise.
    pub fn suited(local: bool) -> Self {
        if local || io::stdout().is_terminal() {
            Self::Text
        } else {
            Self::Json
        }
    }
}

/// Starts logging and, where there is a DSN, reporting, as the environment says. `program` is what the reports call this
/// process. Call it before anything else, and keep what it gives until the end.
pub fn start(environment: &Environment, program: &'static str) -> Reports {
    let core_dumps = forbid_core_dumps();
    let config = TelemetryConfig::alone(environment);
    log(config.as_ref().map_or_else(
        |_| LogFormat::suited(environment.get("DROP_PROFILE") == Some("local")),
        |config| config.log_format,
    ));
    if let Err(error) = core_dumps {
        tracing::warn!("a crash may leave a core dump, which has secrets in it: {error}");
    }
    // What is wrong with the configuration is told with the rest of it, when that is read.
    let Ok(config) = config else {
        return Reports::none();
    };
    if let Some(sentry) = config.sentry {
        return Reports::start(&sentry, program);
    }
    // That file may be left out, but not by mistake.
    if let Some(file) = environment.get("SENTRY_DSN_FILE") {
        tracing::warn!("nothing is reported to Sentry: there is no DSN in {file} (SENTRY_DSN_FILE)");
    }
    Reports::none()
}

/// A crash must not write our memory to a disk: it holds keys, and what people told us. The platform cannot be told so everywhere:
/// Kubernetes has no word for it.
///
/// One byte, not none: no dump is as small as that, so no file is written, and to Linux a limit of exactly one means that nothing goes
/// to a program either, where `kernel.core_pattern` is a pipe. A limit of nothing is passed over there. That the process be not
/// dumpable (`PR_SET_DUMPABLE`) would do it, too, but gives its `/proc` to root, which keeps its environment from whoever started it;
/// what the launcher leaves behind is found by that.
fn forbid_core_dumps() -> rustix::io::Result<()> {
    let one_byte = Rlimit {
        current: Some(1),
        maximum: Some(1),
    };
    setrlimit(Resource::Core, one_byte)
}

/// Starts logging alone, and [redacts panics](redact_panics). `RUST_LOG` chooses what is shown; without it our crates speak
/// at `info`, the rest at `warn`. Alerts are shown whatever it says, and errors unless it says that they are not; those that
/// carry bytes over the wire speak at `warn` at most.
///
/// A second call in one process changes nothing.
pub fn log(format: LogFormat) {
    // Filters of the whole, not of a layer: sqlx asks whether its lines are shown and then writes none, which leaves layers
    // with filters of their own deaf to the spans that begin next.
    let configured = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_else(|_| DEFAULT_FILTER.to_owned());
    let chosen = shown(&configured).unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let registry = tracing_subscriber::registry()
        .with(chosen)
        .with(filter_fn(|line| may_be_shown(line.target(), *line.level())))
        .with(reports::Errors::default());
    let lines = tracing_subscriber::fmt::layer().with_ansi(io::stdout().is_terminal());
    let started = match format {
        LogFormat::Text => registry.with(lines.compact()).try_init(),
        // Every span around a line, so that the ids of its request and its job are on it wherever it was written.
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true);
            registry
                .with(lines.with_current_span(false).with_span_list(true))
                .try_init()
        }
    };
    if started.is_ok() {
        redact_panics();
    } else {
        tracing::debug!("logging was started before");
    }
}

/// What somebody who wants to see more of one crate names must not take away what operations wait for.
fn shown(configured: &str) -> Result<EnvFilter, ParseError> {
    // The later one of two about the same counts.
    EnvFilter::try_new(format!("error,{configured},alert=error"))
}

/// Makes panics log where they happened and nothing of their message, which can quote anything.
pub fn redact_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        tracing::error!("a panic at {place}");
    }));
}

/// How a process ends. Why it failed is a line like any other, not a second format on standard error.
pub fn ended<E: AsRef<dyn Error + Send + Sync>>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("ending: {}", causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// An error with what caused it, in one line. Of the database's errors their kind alone: their texts quote values.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let (mut causes, mut next) = (Vec::new(), Some(error));
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<sqlx::Error>() {
            causes.push(storage::database_class(error));
            break;
        }
        causes.push(error.to_string());
        next = error.source();
    }
    causes.join(": ")
}

/// Below `warn` these follow what goes over a connection, and one switch makes reqwest print all of it: headers with
/// tokens, bodies with national ids. No test reads what they say over TLS, and an update may make them say more.
const WIRE: [&str; 6] = ["h2", "hyper", "hyper_util", "hyper_rustls", "reqwest", "rustls"];

fn is_of_the_wire(target: &str) -> bool {
    let origin = target.split("::").next().unwrap_or(target);
    WIRE.contains(&origin)
}

fn may_be_shown(target: &str, level: Level) -> bool {
    level <= Level::WARN || !is_of_the_wire(target)
}

const DEFAULT_FILTER: &str = "warn,drop_api=info,drop_worker=info,drop_common=info,drop_sandbox=info,drop_local=info";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_filter_is_readable() {
        assert!(shown(DEFAULT_FILTER).is_ok());
        assert!(shown("drop_api=loud").is_err());
    }

    /// Whether an alert, an error of another crate, and an error and a detail of ours are shown.
    fn shows(configured: &str) -> [bool; 4] {
        let only = tracing_subscriber::registry().with(shown(configured).unwrap());
        tracing::subscriber::with_default(only, || {
            [
                tracing::enabled!(target: "alert", Level::ERROR),
                tracing::enabled!(target: "sqlx", Level::ERROR),
                tracing::enabled!(target: "drop_worker", Level::ERROR),
                tracing::enabled!(target: "drop_worker", Level::DEBUG),
            ]
        })
    }

    #[test]
    fn whatever_is_configured_alerts_are_shown_and_errors_unless_they_are_switched_off() {
        assert_eq!(shows("drop_worker=debug"), [true, true, true, true]);
        assert_eq!(shows(""), [true, true, true, false]);
        assert_eq!(shows("warn,alert=off"), [true, true, true, false]);
        assert_eq!(shows("off,drop_worker=debug"), [true, false, true, true]);
    }

    #[test]
    fn what_carries_bytes_is_not_shown_below_warn() {
        assert!(!may_be_shown("reqwest::connect::verbose", Level::TRACE));
        assert!(!may_be_shown("h2", Level::INFO));
        assert!(may_be_shown("hyper::proto", Level::WARN));
        assert!(may_be_shown("drop_common::providers::http", Level::TRACE));
    }

    /// What a `with_context` makes of an error.
    #[derive(Debug, thiserror::Error)]
    #[error("the listeners failed")]
    struct Failed(#[source] sqlx::Error);

    #[test]
    fn an_error_is_told_with_its_causes_and_the_databases_without_what_they_quote() {
        let quotes = || sqlx::Error::Decode("Key (email)=(anna@example.no) already exists".into());
        assert_eq!(
            causes(&Failed(quotes())),
            "the listeners failed: a stored value could not be read"
        );
        assert_eq!(causes(&quotes()), "a stored value could not be read");
        let stored = storage::StorageError::from(quotes());
        assert_eq!(causes(&stored), "a stored value could not be read");
        let migrated = storage::StorageError::from(sqlx::migrate::MigrateError::ExecuteMigration(quotes(), 7));
        assert_eq!(
            causes(&migrated),
            "the migrations could not be applied: 7, a stored value could not be read"
        );
        let io = std::io::Error::other("no such port");
        assert_eq!(causes(&io), "no such port");
    }

    #[test]
    fn the_local_profile_is_read_by_people() {
        assert_eq!(LogFormat::suited(true), LogFormat::Text);
    }
}
