//! Batches outcomes without a timer: what finished while one batch was being written goes into the next.

use std::{collections::HashMap, sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    JobId, Lease,
    record::{Ack, DeadHooks, Deaths, record},
    supervise::supervise,
};
use crate::{
    failpoint,
    resilience::backoff::full_jitter,
    storage::{self, StorageError, patiently},
};

const BATCH: usize = 500;

/// The way to the acker.
#[derive(Clone)]
pub(super) struct Acker {
    outcomes: mpsc::UnboundedSender<Pending>,
}

struct Pending {
    ack: Ack,
    lease: Lease,
    // Told what was recorded; dropped when the lease ended before anything could be.
    settled: oneshot::Sender<&'static str>,
}

impl Acker {
    /// Starts the task; it runs until `stop`.
    pub(super) fn start(db: PgPool, hooks: Arc<dyn DeadHooks>, stop: CancellationToken) -> (Self, JoinHandle<()>) {
        let (outcomes, inbox) = mpsc::unbounded_channel();
        let writer = Arc::new(Writer { db, hooks });
        let inbox = Arc::new(Mutex::new(inbox));
        let task = supervise("acker", stop, move || {
            write_forever(Arc::clone(&writer), Arc::clone(&inbox))
        });
        (Self { outcomes }, task)
    }

    /// Records an outcome and returns what became of the job, or `lost` when the lease has ended: then the rescuer has it.
    pub(super) async fn write(&self, ack: Ack, lease: Lease) -> &'static str {
        let (settled, done) = oneshot::channel();
        if self.outcomes.send(Pending { ack, lease, settled }).is_err() {
            return "lost"; // the process is stopping
        }
        done.await.unwrap_or("lost")
    }
}

async fn write_forever(writer: Arc<Writer>, inbox: Arc<Mutex<mpsc::UnboundedReceiver<Pending>>>) {
    let mut inbox = inbox.lock().await;
    let mut batch = Vec::new();
    while inbox.recv_many(&mut batch, BATCH).await > 0 {
        failpoint!("queue.before_ack");
        writer.write(std::mem::take(&mut batch)).await;
    }
    std::future::pending::<()>().await; // nobody can send any more: the process is stopping
}

struct Writer {
    db: PgPool,
    hooks: Arc<dyn DeadHooks>,
}

impl Writer {
    /// Keeps trying while the database is away and the leases last.
    async fn write(self: &Arc<Self>, mut batch: Vec<Pending>) {
        let mut failures = 0;
        loop {
            batch.retain(|pending| !pending.lease.has_ended());
            if batch.is_empty() {
                return;
            }
            match patiently(self.try_write(&batch, Deaths::Told(&*self.hooks))).await {
                Ok(written) => return settle(batch, &written),
                Err(error) => {
                    tracing::warn!(%error, outcomes = batch.len(), "outcomes could not be recorded yet");
                    failures += 1;
                    if !error.is_away() || failures > 1 {
                        batch = self.one_by_one(batch).await;
                    }
                }
            }
            tokio::time::sleep(pause(failures)).await;
        }
    }

    /// The one at fault must not hold up the others: it is tried on its own from here on. Returns those that are left when
    /// the database is away.
    async fn one_by_one(self: &Arc<Self>, batch: Vec<Pending>) -> Vec<Pending> {
        let mut left = batch.into_iter();
        while let Some(pending) = left.next() {
            let one = vec![pending];
            match patiently(self.try_write(&one, Deaths::Told(&*self.hooks))).await {
                Ok(written) => settle(one, &written),
                Err(error) if error.is_away() => return one.into_iter().chain(left).collect(),
                Err(_) => drop(tokio::spawn(Arc::clone(self).write_alone(one))),
            }
        }
        Vec::new()
    }

    async fn write_alone(self: Arc<Self>, one: Vec<Pending>) {
        let mut failures = 0;
        while one.iter().all(|pending| !pending.lease.has_ended()) {
            match patiently(self.try_write(&one, Deaths::Told(&*self.hooks))).await {
                Ok(written) => return settle(one, &written),
                Err(error) if error.is_transient() => failures += 1,
                Err(error) => {
                    // If it dies, its hook is at fault; if that is not it, the rescuer has it when its lease ends.
                    tracing::error!(%error, job.id = one[0].ack.job, "the outcome of job {} cannot be recorded", one[0].ack.job);
                    if let Ok(written) = patiently(self.try_write(&one, Deaths::Untold(&error))).await {
                        settle(one, &written);
                    }
                    return;
                }
            }
            tokio::time::sleep(pause(failures)).await;
        }
    }

    async fn try_write(
        &self,
        batch: &[Pending],
        deaths: Deaths<'_>,
    ) -> Result<HashMap<JobId, &'static str>, StorageError> {
        let acks: Vec<Ack> = batch.iter().map(|pending| pending.ack.clone()).collect();
        let mut tx = storage::begin(&self.db).await?;
        let (written, after) = record(&mut tx, &acks, deaths).await?;
        tx.commit().await?;
        after.say();
        if written.len() < acks.len() {
            tracing::warn!(
                lost = acks.len() - written.len(),
                "outcomes of lost leases were not recorded"
            );
        }
        Ok(written.into_iter().collect())
    }
}

fn pause(failures: u32) -> Duration {
    full_jitter(Duration::from_millis(50), failures, Duration::from_secs(1))
}

fn settle(batch: Vec<Pending>, written: &HashMap<JobId, &'static str>) {
    for pending in batch {
        if let Some(word) = written.get(&pending.ack.job) {
            let _gone = pending.settled.send(word); // the waiter may have been cancelled
        }
    }
}
