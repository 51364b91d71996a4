//! Writing outcomes, for a batch or for one row inside a domain transaction, and what follows from a death.

use std::{collections::HashMap, future::Future, pin::Pin};

use serde_json::Value;

use super::{
    AfterCommit, Outcome,
    enqueue::{JobId, millis},
    sql::{self, Ended, Outcomes},
};
use crate::{
    alerts,
    storage::{StorageError, Tx},
};

/// The longest error text that is stored.
const ERROR_CHARS: usize = 300;

/// One outcome of one claim, fenced by the attempt number.
#[derive(Debug, Clone)]
pub(super) struct Ack {
    pub(super) job: JobId,
    pub(super) attempt: i32,
    pub(super) outcome: Outcome,
    pub(super) error: Option<String>,
}

/// What a kind does when one of its jobs dies, in the transaction that makes it dead.
pub(super) trait DeadHooks: Send + Sync {
    /// Runs the hook of the kind, if it has one.
    fn on_dead<'a>(&'a self, tx: &'a mut Tx, kind: &'a str, payload: Value, error: &'a str) -> HookFuture<'a>;
}

/// The future of a hook; its result is said once the transaction is committed.
pub(super) type HookFuture<'a> = Pin<Box<dyn Future<Output = Result<AfterCommit, StorageError>> + Send + 'a>>;

/// What becomes of the hooks of the jobs that die.
#[derive(Clone, Copy)]
pub(super) enum Deaths<'a> {
    /// They run.
    Told(&'a dyn DeadHooks),
    /// The job's hook has failed with this. The job dies without, and the rescuer tries the hook until it works: a job
    /// that cannot die would be running for ever, held by nobody and seen by nobody.
    Untold(&'a StorageError),
}

impl Deaths<'_> {
    /// As it is stored with the job.
    pub(super) fn untold(self) -> Option<String> {
        match self {
            Self::Told(_) => None,
            Self::Untold(why) => Some(why.to_string()),
        }
    }

    /// Draws the consequences of a death in its transaction.
    pub(super) async fn tell(self, tx: &mut Tx, job: Ended) -> Result<AfterCommit, StorageError> {
        let (id, kind, error) = (job.id, job.kind, job.last_error.as_deref().unwrap_or(""));
        match self {
            Self::Told(hooks) => {
                tracing::error!(job.id = id, job.kind = kind, error, "job {id} ({kind}) is dead");
                let mut after = hooks.on_dead(tx, &kind, job.payload, error).await?;
                after.raise();
                Ok(after)
            }
            Self::Untold(why) => {
                let about = format!("job {id} ({kind}) died of \"{error}\", its on_dead failed: {why}");
                let mut after = AfterCommit::default();
                after.alert(&alerts::JOB_UNTOLD, about);
                Ok(after)
            }
        }
    }
}

/// Writes the outcomes and what follows from deaths. Returns the ids that were still ours, with what became of each,
/// and what to say after the commit; the others lost their lease, and nothing is written for them.
pub(super) async fn record(
    tx: &mut Tx,
    acks: &[Ack],
    deaths: Deaths<'_>,
) -> Result<(Vec<(JobId, &'static str)>, AfterCommit), StorageError> {
    let batch = Outcomes {
        jobs: acks.iter().map(|ack| ack.job).collect(),
        attempts: acks.iter().map(|ack| ack.attempt).collect(),
        words: acks.iter().map(|ack| word(&ack.outcome).to_owned()).collect(),
        delays_ms: acks.iter().map(|ack| delay(&ack.outcome)).collect(),
        errors: acks.iter().map(error).collect(),
    };
    let rows = sql::record(tx, &batch, deaths.untold().as_deref()).await?;
    let asked: HashMap<JobId, &'static str> = acks.iter().map(|ack| (ack.job, word(&ack.outcome))).collect();
    let (mut written, mut after) = (Vec::with_capacity(rows.len()), AfterCommit::default());
    for row in rows {
        if row.state == "dead" {
            written.push((row.id, "dead"));
            after.extend(deaths.tell(tx, row).await?);
        } else {
            written.push((row.id, asked.get(&row.id).copied().unwrap_or("again")));
        }
    }
    Ok((written, after))
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Again(_) => "again",
        Outcome::Wait(_) => "wait",
        Outcome::GiveUp(_) => "dead",
    }
}

fn delay(outcome: &Outcome) -> i64 {
    match outcome {
        Outcome::Again(delay) | Outcome::Wait(delay) => millis(*delay),
        Outcome::Done | Outcome::GiveUp(_) => 0,
    }
}

fn error(ack: &Ack) -> Option<String> {
    let text = match &ack.outcome {
        Outcome::GiveUp(reason) => Some(reason.as_ref()),
        Outcome::Again(_) => Some(ack.error.as_deref().unwrap_or("asked to run again")),
        Outcome::Done | Outcome::Wait(_) => ack.error.as_deref(),
    };
    text.map(|text| text.chars().take(ERROR_CHARS).collect())
}
