//! What is said once a transaction is committed. Said inside it, a change that was rolled back would have been counted,
//! and counted again with the next try.

/// Counts, alerts and log lines of a change that may still be rolled back.
#[derive(Default)]
#[must_use = "said after the commit, or not at all"]
pub struct AfterCommit(Vec<Box<dyn FnOnce() + Send>>);

impl AfterCommit {
    /// Also does this.
    pub fn add(&mut self, say: impl FnOnce() + Send + 'static) {
        self.0.push(Box::new(say));
    }

    /// Also does all of that.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The transaction is committed.
    pub fn say(self) {
        for say in self.0 {
            say();
        }
    }
}
