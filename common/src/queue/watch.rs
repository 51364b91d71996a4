//! What the queue tells its process about itself: for metrics, readiness and error reports.

use std::time::Duration;

use uuid::Uuid;

use super::Lane;

/// Called from the queue's tasks; must return at once.
pub trait Watch: Send + Sync + 'static {
    /// The process begins, and owns its claims as this.
    fn begins(&self, _owner: Uuid) {}

    /// Whether the process shall claim nothing just now.
    fn is_quiet(&self) -> bool {
        false
    }

    /// A claim statement took this long and returned this many jobs. The lane's claims work.
    fn claimed(&self, _lane: Lane, _jobs: usize, _took: Duration) {}

    /// A claim failed: until the next one succeeds, the process does not work off this lane.
    fn claim_failed(&self, _lane: Lane) {}

    /// All slots of the lane are taken, and have been for a while: its claimer waits for one, as it should.
    fn full(&self, _lane: Lane) {}

    /// A job starts, this long after it could have. The lane's jobs in flight: starts less finishes.
    fn started(&self, _lane: Lane, _waited: Duration) {}

    /// A job ran this long. `outcome`: `done`, `again`, `wait`, `dead`, or `lost` when the lease had gone.
    fn finished(&self, _lane: Lane, _kind: &str, _outcome: &'static str, _took: Duration) {}

    /// The lane's worker ended, which it should not, and is built anew.
    fn restarted(&self, _lane: Lane) {}

    /// A job of a dead worker was taken back.
    fn rescued(&self, _lane: Lane) {}
}

/// Watches nothing.
pub(super) struct Unwatched;

impl Watch for Unwatched {}
