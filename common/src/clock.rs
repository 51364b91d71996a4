//! The one place where the present is read. Everything else is given a `Clock` or a time, so that polling, breakers and
//! staleness are tested by moving it.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Duration, SubsecRound, Utc};

/// Tells the time: the system's, or one that a test moves by hand. Clones show the same time.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    Real,
    Manual(Arc<Mutex<DateTime<Utc>>>),
}

impl Clock {
    /// The system's clock.
    pub fn real() -> Self {
        Self(Source::Real)
    }

    /// A clock that stands at `start` until it is advanced.
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self(Source::Manual(Arc::new(Mutex::new(start))))
    }

    /// The present in UTC, cut to microseconds: `PostgreSQL` keeps no more, and a time that came back from a row
    /// must equal the one that was written.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Source::Real => Utc::now(),
            Source::Manual(time) => *time.lock().unwrap_or_else(PoisonError::into_inner),
        }
        .trunc_subsecs(6)
    }

    /// Moves a manual clock, for all of its clones.
    ///
    /// # Panics
    /// On the real clock: only a test moves time, and it must have been given a manual one.
    pub fn advance(&self, by: Duration) {
        match &self.0 {
            Source::Real => panic!("the real clock cannot be moved"),
            Source::Manual(time) => *time.lock().unwrap_or_else(PoisonError::into_inner) += by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> DateTime<Utc> {
        "2026-02-23T10:00:00.123456789Z".parse().unwrap()
    }

    #[test]
    fn a_manual_clock_moves_only_by_hand_and_for_all_its_clones() {
        let clock = Clock::manual(start());
        let clone = clock.clone();
        assert_eq!(clone.now(), clock.now());
        clock.advance(Duration::seconds(61));
        assert_eq!(clone.now(), start().trunc_subsecs(6) + Duration::seconds(61));
    }

    #[test]
    fn times_are_cut_to_what_the_database_keeps() {
        assert_eq!(Clock::manual(start()).now().timestamp_subsec_nanos(), 123_456_000);
        assert_eq!(Clock::real().now().timestamp_subsec_nanos() % 1_000, 0);
    }

    #[test]
    #[should_panic(expected = "the real clock cannot be moved")]
    fn the_real_clock_cannot_be_moved() {
        Clock::real().advance(Duration::seconds(1));
    }
}
