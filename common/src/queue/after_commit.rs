//! What is said once a transaction is committed. Said inside it, a change that was rolled back would have been counted,
//! and counted again with the next try. Alerts are said just before: a process that dies between the commit and the word
//! would leave operations without it for ever. Of a change that cannot be committed, and is tried again and again, they are
//! said once in a while only.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::alerts::{self, Alert};

type Saying = Box<dyn FnOnce() + Send>;

/// How long an alert is not said again whose change is not known to be committed.
const QUIET: Duration = Duration::from_mins(10);

/// What this process has said of changes that are not known to be committed.
static UNCOMMITTED: Mutex<Said> = Mutex::new(Said(BTreeMap::new()));

/// Counts, alerts and log lines of a change that may still be rolled back.
#[derive(Default)]
#[must_use = "said around the commit, or not at all"]
pub struct AfterCommit {
    alerts: Vec<Told>,
    raised: Vec<Told>,
    rest: Vec<Saying>,
}

/// An alert, and which row it is about and why.
type Told = (&'static Alert, String);

impl AfterCommit {
    /// Also does this, once it is committed.
    pub fn add(&mut self, say: impl FnOnce() + Send + 'static) {
        self.rest.push(Box::new(say));
    }

    /// Also raises this alert, before the commit: it must not get lost.
    pub fn alert(&mut self, alert: &'static Alert, about: impl Into<String>) {
        self.alerts.push((alert, about.into()));
    }

    /// Also does all of that.
    pub fn extend(&mut self, other: Self) {
        self.alerts.extend(other.alerts);
        self.raised.extend(other.raised);
        self.rest.extend(other.rest);
    }

    /// The transaction is about to be committed.
    pub fn raise(&mut self) {
        for (alert, about) in self.alerts.drain(..) {
            if said().is_news(alert, &about, Instant::now()) {
                alerts::raise(alert, &about);
            }
            self.raised.push((alert, about));
        }
    }

    /// The transaction is committed.
    pub fn say(mut self) {
        self.raise();
        for (alert, about) in &self.raised {
            said().is_committed(alert, about);
        }
        for say in self.rest {
            say();
        }
    }
}

fn said() -> MutexGuard<'static, Said> {
    UNCOMMITTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Alerts by name and text, and when each was last said.
struct Said(BTreeMap<(&'static str, String), Instant>);

impl Said {
    fn is_news(&mut self, alert: &Alert, about: &str, now: Instant) -> bool {
        self.0.retain(|_, at| now.saturating_duration_since(*at) < QUIET);
        let key = (alert.name, about.to_owned());
        let is_news = !self.0.contains_key(&key);
        if is_news {
            self.0.insert(key, now);
        }
        is_news
    }

    /// Said once more, it is about another change.
    fn is_committed(&mut self, alert: &Alert, about: &str) {
        self.0.remove(&(alert.name, about.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_of_a_change_that_cannot_be_committed_is_said_once_in_ten_minutes() {
        let (mut said, start) = (Said(BTreeMap::new()), Instant::now());
        let news = |said: &mut Said, about, seconds| {
            said.is_news(&alerts::PAYMENT, about, start + Duration::from_secs(seconds))
        };
        let heard = [0, 1, 599, 600, 601].map(|seconds| news(&mut said, "tx_1, conflict", seconds));
        assert_eq!(heard, [true, false, false, true, false]);
        assert!(news(&mut said, "tx_2, conflict", 601), "of another it is news");
        said.is_committed(&alerts::PAYMENT, "tx_1, conflict");
        assert!(
            news(&mut said, "tx_1, conflict", 602),
            "the change is made, this is another"
        );
        assert_eq!(said.0.len(), 2);
        news(&mut said, "tx_3, conflict", 2_000);
        assert_eq!(said.0.len(), 1, "what is old is forgotten");
    }
}
