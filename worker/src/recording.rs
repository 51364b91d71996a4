//! Writing what a provider answered. The answer cannot be had a second time: a bank that took a payment has it, a login's
//! code is spent. So it is kept, and a database that cannot take it for a moment is asked again while the lease lives.

use std::{future::Future, time::Duration};

use drop_common::{
    queue::{JobError, Lease, Outcome, Verdict},
    resilience::backoff::{full_jitter, half_jitter},
};
use tracing::warn;

/// The pause before the second try grows from this.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: somebody may be waiting for the answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Runs the transaction or the statement that writes an answer until it is written, is refused for good, or the lease has ended.
pub(crate) async fn record<T, Writing>(lease: &Lease, write: impl Fn() -> Writing) -> Result<T, JobError>
where
    Writing: Future<Output = Result<T, JobError>>,
{
    let mut failures = 0;
    loop {
        match write().await {
            Err(JobError::Storage(error)) if error.is_transient() && !lease.has_ended() => {
                warn!(%error, "the answer to job {} could not be written yet", lease.job());
                failures += 1;
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the answer lives in this task only: a job that waits has lost it"
                )]
                tokio::time::sleep(full_jitter(FIRST_PAUSE, failures, LONGEST_PAUSE)).await;
            }
            written => return written,
        }
    }
}

/// A database that fails a job before it has called anybody is waited out, ever longer, up to `longest` before jitter: that
/// must not use up the attempts of a job that runs for a week, nor of one that may call its bank four times.
pub(crate) fn wait_out(lease: &Lease, longest: Duration, ran: Result<Verdict, JobError>) -> Result<Verdict, JobError> {
    match ran {
        Err(JobError::Storage(error)) if error.is_transient() => {
            warn!(%error, "job {} waits for the database", lease.job());
            let before = u32::try_from(lease.attempt().saturating_sub(1)).unwrap_or(0);
            Ok(Outcome::Wait(half_jitter(Duration::from_secs(1), before, longest)).into())
        }
        ran => ran,
    }
}
