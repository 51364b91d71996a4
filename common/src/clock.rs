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
    Adjustable(Arc<Mutex<Duration>>),
}

impl Clock {
    /// The system's clock.
    pub fn real() -> Self {
        Self(Source::Real)
    }

    /// A clock that shows the system's time until it is advanced, and runs on from there: the simulated providers'
    /// clock runs too, and the two are compared.
    pub fn adjustable() -> Self {
        Self(Source::Adjustable(Arc::default()))
    }

    /// The present in UTC, cut to microseconds: `PostgreSQL` keeps no more, and a time that came back from a row
    /// must equal the one that was written.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    pub fn now(&self) -> DateTime<Utc> {
        let ahead = match &self.0 {
            Source::Real => Duration::zero(),
            Source::Adjustable(ahead) => *ahead.lock().unwrap_or_else(PoisonError::into_inner),
        };
        (Utc::now() + ahead).trunc_subsecs(6)
    }

    /// Moves an adjustable clock, for all of its clones.
    ///
    /// # Panics
    /// On the real clock: only a test moves time, and it must have been given an adjustable one.
    pub fn advance(&self, by: Duration) {
        match &self.0 {
            Source::Real => panic!("the real clock cannot be moved"),
            Source::Adjustable(ahead) => *ahead.lock().unwrap_or_else(PoisonError::into_inner) += by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adjustable_clock_is_moved_for_all_its_clones() {
        let clock = Clock::adjustable();
        let clone = clock.clone();
        let before = Clock::real().now();
        clock.advance(Duration::hours(1));
        let ahead = clone.now() - before;
        assert!(ahead >= Duration::hours(1) && ahead < Duration::hours(2), "{ahead}");
    }

    #[test]
    fn times_are_cut_to_what_the_database_keeps() {
        assert_eq!(Clock::real().now().timestamp_subsec_nanos() % 1_000, 0);
    }

    #[test]
    #[should_panic(expected = "the real clock cannot be moved")]
    fn the_real_clock_cannot_be_moved() {
        Clock::real().advance(Duration::seconds(1));
    }
}
