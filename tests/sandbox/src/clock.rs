//! One clock for all providers, which a test moves instead of waiting.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::SystemTime,
};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// The system's time plus an offset.
#[derive(Debug, Default)]
pub struct Clock {
    offset_ms: AtomicI64,
}

impl Clock {
    /// The sandbox's present moment.
    pub fn now(&self) -> DateTime<Utc> {
        DateTime::<Utc>::from(SystemTime::now()) + TimeDelta::milliseconds(self.offset_ms.load(Ordering::SeqCst))
    }

    /// Moves the clock; a negative amount moves it back.
    pub fn advance(&self, by: TimeDelta) {
        self.offset_ms.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
    }

    /// Sets the present moment; the clock goes on running from there.
    pub fn set(&self, at: DateTime<Utc>) {
        let offset = at - DateTime::<Utc>::from(SystemTime::now());
        self.offset_ms.store(offset.num_milliseconds(), Ordering::SeqCst);
    }

    /// Back to the system's time.
    pub fn reset(&self) {
        self.offset_ms.store(0, Ordering::SeqCst);
    }
}

/// `2026-02-23T08:00:00.000Z`, the form the contract's examples use.
pub(crate) fn iso_millis(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
