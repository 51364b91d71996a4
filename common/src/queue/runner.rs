//! Runs one claim to its recorded outcome: decode, own task, deadline, panic, outcome.

use std::{any::Any, fmt::Display, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

use super::{
    JobError, Lease, Outcome, Registry, Verdict,
    acker::Acker,
    claim::{Claim, Claimer},
    outcome::{Recorded, retry_delay},
    record::Ack,
};
use crate::{
    resilience::breaker::Breaker,
    storage::patiently,
    telemetry::{Status, Transaction},
};

/// Everything the jobs of one process share.
pub(super) struct Engine<C> {
    pub(super) registry: Arc<Registry<C>>,
    pub(super) context: Arc<C>,
    pub(super) claimer: Claimer,
    pub(super) breaker: Breaker,
    pub(super) acker: Acker,
}

impl<C: Send + Sync + 'static> Engine<C> {
    /// Returns when the outcome is recorded, or when it no longer may be.
    pub(super) async fn run(&self, claim: Claim) {
        let (lease, kind) = (claim.lease.clone(), claim.kind.clone());
        // At error level, so that the ids are on every line that is shown, however few are.
        let span = tracing::error_span!(
            "job",
            job.id = lease.job(),
            job.kind = kind,
            job.attempt = lease.attempts_used(),
            job.lane = lease.lane().name(),
            request.id = lease.request_id().map(tracing::field::display),
        );
        let transaction = transaction(&lease, &kind);
        let outcome = transaction
            .around(self.run_within(claim, &transaction).instrument(span))
            .await;
        transaction.end(match outcome {
            "done" | "wait" => Status::Ok,
            "lost" => Status::Aborted,
            _ => Status::InternalError,
        });
    }

    async fn run_within(&self, claim: Claim, transaction: &Transaction) -> &'static str {
        let Claim {
            lease,
            held,
            kind,
            payload,
            waited,
            slot,
        } = claim;
        let started = Instant::now();
        self.claimer.watch.started(lease.lane(), waited);
        let outcome = match self.execute(&lease, &kind, payload, transaction).await {
            Ended::Outcome(ack) => self.acker.write(ack, lease.clone()).await,
            Ended::Recorded(word) => word,
            Ended::Lost => "lost",
        };
        drop(held);
        self.claimer
            .watch
            .finished(lease.lane(), &kind, outcome, started.elapsed());
        drop(slot);
        outcome
    }

    async fn execute(&self, lease: &Lease, kind: &str, payload: Value, transaction: &Transaction) -> Ended {
        if lease.has_ended() {
            tracing::warn!("job {} was not started: its lease has ended", lease.job());
            return Ended::Lost;
        }
        let timeout = self.registry.timeout(kind).unwrap_or_default();
        let ended = match self
            .registry
            .start(kind, payload, Arc::clone(&self.context), lease.clone())
        {
            Ok(job) => finish(tokio::spawn(transaction.around(job).in_current_span()), lease, timeout).await,
            Err(unrunnable) => Ended::Outcome(lease.ack(Outcome::GiveUp(unrunnable.to_string().into()), None)),
        };
        self.settle_probe(lease).await;
        ended
    }

    /// A probe whose call was answered or failed is decided by now; this gives back one that made no call.
    async fn settle_probe(&self, lease: &Lease) {
        if let (Some(probe), Some(key)) = (lease.probe(), lease.lane().breaker())
            && let Err(error) = patiently(self.breaker.release(key, probe)).await
        {
            tracing::warn!(%error, breaker = key.as_str(), "a probe could not be given back; it ends by itself");
        }
    }
}

fn transaction(lease: &Lease, kind: &str) -> Transaction {
    let (job, lane, request) = (lease.job(), lease.lane().name(), lease.request_id());
    let mut tags: Vec<(&str, &dyn Display)> = vec![("job.id", &job), ("job.lane", &lane)];
    tags.extend(request.as_ref().map(|id| ("request.id", id as &dyn Display)));
    Transaction::begin("queue.process", Some(kind), &tags)
}

/// How a run ended.
enum Ended {
    /// This is to be recorded.
    Outcome(Ack),
    /// It is recorded, as this.
    Recorded(&'static str),
    /// Nothing may be recorded any more.
    Lost,
}

/// Waits for the handler, within the kind's time and the lease.
async fn finish(mut task: JoinHandle<Result<Verdict, JobError>>, lease: &Lease, timeout: Duration) -> Ended {
    let latest = Instant::now() + timeout;
    loop {
        tokio::select! {
            ended = &mut task => return outcome(ended, lease),
            () = sleep_until(latest.min(Instant::from_std(lease.deadline()))) => {}
        }
        let lost = lease.has_ended();
        if lost || Instant::now() >= latest {
            task.abort();
            // A handler that blocks keeps its slot until it lets go; one that ended meanwhile has ended.
            let ended = task.await;
            return match ended {
                Err(cancelled) if cancelled.is_cancelled() && lost => {
                    tracing::warn!("job {} was cancelled: its lease has ended", lease.job());
                    Ended::Lost
                }
                Err(cancelled) if cancelled.is_cancelled() => failed(lease, format!("timed out after {timeout:?}")),
                ended => outcome(ended, lease),
            };
        }
    }
}

fn outcome(ended: Result<Result<Verdict, JobError>, JoinError>, lease: &Lease) -> Ended {
    let error = match ended {
        Ok(Ok(Verdict::Recorded(Recorded(word)))) => return Ended::Recorded(word),
        Ok(Ok(Verdict::Outcome(outcome))) => return Ended::Outcome(lease.ack(outcome, None)),
        Ok(Err(JobError::LeaseLost)) => {
            tracing::warn!("job {} lost its lease; nothing is written", lease.job());
            return Ended::Lost;
        }
        Ok(Err(error)) => error.to_string(),
        Err(join) if join.is_panic() => panic_text(&*join.into_panic()),
        Err(_) => return Ended::Lost, // the runtime is shutting down
    };
    failed(lease, error)
}

/// It runs again, while attempts are left.
fn failed(lease: &Lease, error: String) -> Ended {
    tracing::warn!(error, "job {} failed", lease.job());
    Ended::Outcome(lease.ack(Outcome::Again(retry_delay(lease.attempts_used())), Some(error)))
}

/// Only a literal is kept: a formatted message may hold whatever the handler was working on.
fn panic_text(payload: &(dyn Any + Send)) -> String {
    match payload.downcast_ref::<&'static str>() {
        Some(literal) => format!("panic: {literal}"),
        None => "panic (message withheld)".to_owned(),
    }
}
