//! What is said once a transaction is committed. Said inside it, a change that was rolled back would have been counted,
//! and counted again with the next try. Alerts are said just before: a process that dies between the commit and the word
//! would leave operations without it for ever. Of a change that cannot be committed, and is tried again and again, they are
//! said once in a while only.

use std::time::Duration;

use crate::alerts::{Alert, Quiet};

type Saying = Box<dyn FnOnce() + Send>;

/// What this process has said of changes that are not known to be committed.
static UNCOMMITTED: Quiet = Quiet::new(Duration::from_mins(10));

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
            UNCOMMITTED.raise(alert, &about, &about);
            self.raised.push((alert, about));
        }
    }

    /// The transaction is committed.
    pub fn say(mut self) {
        self.raise();
        for (alert, about) in &self.raised {
            UNCOMMITTED.forget(alert, about);
        }
        for say in self.rest {
            say();
        }
    }
}
