//! Background tasks that nothing but their stop signal ends.

use std::{future::Future, time::Duration};

use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::resilience::backoff::full_jitter;

/// Runs a task until `stop`; one that ends or panics before is built anew.
pub(super) fn supervise<F, T>(name: &'static str, stop: CancellationToken, make: F) -> JoinHandle<()>
where
    F: Fn() -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        loop {
            let mut task = JoinSet::new(); // dropping it ends the task
            task.spawn(make());
            tokio::select! {
                () = stop.cancelled() => return,
                _ = task.join_next() => tracing::error!(task = name, "the queue's {name} ended and is started again"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
}

/// So that a loop is at work again within 10 s of the end of an outage.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// The pauses of a loop that failed: full jitter, from the start again after a success.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    failures: u32,
}

impl Pauses {
    /// The loop worked again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to pause after one more failure.
    pub(super) fn next(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        Duration::from_millis(20) + full_jitter(Duration::from_millis(100), self.failures, LONGEST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_has_failed_for_long_tries_again_within_ten_seconds() {
        let mut pauses = Pauses::default();
        let longest = (0..1_000).map(|_| pauses.next()).max().expect("pauses");
        assert!((6.0..9.0).contains(&longest.as_secs_f64()), "{longest:?}");
    }
}
