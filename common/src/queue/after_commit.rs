//! What is said once a transaction is committed. Said inside it, a change that was rolled back would have been counted,
//! and counted again with the next try. Alerts are said just before: a process that dies between the commit and the word
//! would leave operations without it for ever, and one word too many does no harm.

type Saying = Box<dyn FnOnce() + Send>;

/// Counts, alerts and log lines of a change that may still be rolled back.
#[derive(Default)]
#[must_use = "said around the commit, or not at all"]
pub struct AfterCommit {
    alerts: Vec<Saying>,
    rest: Vec<Saying>,
}

impl AfterCommit {
    /// Also does this, once it is committed.
    pub fn add(&mut self, say: impl FnOnce() + Send + 'static) {
        self.rest.push(Box::new(say));
    }

    /// Also does this before the commit: it must not get lost.
    pub fn alert(&mut self, say: impl FnOnce() + Send + 'static) {
        self.alerts.push(Box::new(say));
    }

    /// Also does all of that.
    pub fn extend(&mut self, other: Self) {
        self.alerts.extend(other.alerts);
        self.rest.extend(other.rest);
    }

    /// The transaction is about to be committed.
    pub fn raise(&mut self) {
        for say in self.alerts.drain(..) {
            say();
        }
    }

    /// The transaction is committed.
    pub fn say(mut self) {
        self.raise();
        for say in self.rest {
            say();
        }
    }
}
