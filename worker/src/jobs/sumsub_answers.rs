//! What every call to Sumsub does with an answer that is not the one it asked for.

use std::{fmt, time::Duration};

use drop_common::{alerts, providers::ProviderError};

/// How long nothing is asked after a 429 that names no time.
const PAUSE: Duration = Duration::from_secs(5);
/// The longest pause that a 429 can ask for: then one call finds out whether it still holds.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// How long Sumsub wants to be left alone.
pub(super) fn pause_asked_for(error: &ProviderError) -> Duration {
    error.retry_after().unwrap_or(PAUSE).min(LONGEST_PAUSE)
}

/// A refusal is no person's fault: our token, our level, our request or our clock is wrong.
pub(super) fn alert_refusal(about: impl fmt::Display, error: &ProviderError) {
    let alert = match error {
        ProviderError::Clock { .. } => &alerts::SUMSUB_CLOCK,
        _ => &alerts::SUMSUB_REFUSES_US,
    };
    alerts::raise_for(alert, &error.to_string(), format_args!("{about}, {error}"));
}
