//! Writing outcomes: the one statement that ends a claim, for a batch or for one row inside a domain transaction.

use std::{future::Future, pin::Pin};

use serde_json::Value;

use super::{
    AfterCommit, Outcome,
    enqueue::{JobId, millis},
};
use crate::storage::{StorageError, Tx};

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

/// Writes the outcomes and runs the hooks of the jobs that died. Returns the ids that were still ours, with what
/// became of each, and what to say after the commit; the others lost their lease, and nothing is written for them.
pub(super) async fn record(
    tx: &mut Tx,
    acks: &[Ack],
    hooks: &dyn DeadHooks,
) -> Result<(Vec<(JobId, &'static str)>, AfterCommit), StorageError> {
    let jobs: Vec<JobId> = acks.iter().map(|ack| ack.job).collect();
    let attempts: Vec<i32> = acks.iter().map(|ack| ack.attempt).collect();
    let outcomes: Vec<String> = acks.iter().map(|ack| word(&ack.outcome).to_owned()).collect();
    let delays: Vec<i64> = acks.iter().map(|ack| delay(&ack.outcome)).collect();
    let errors: Vec<Option<String>> = acks.iter().map(error).collect();
    // Locked in id order, so that two batches cannot deadlock.
    let rows = sqlx::query!(
        r#"WITH mine AS MATERIALIZED (
             SELECT j.id, j.attempt, j.owner, j.claimed_at, a.delay_ms, a.error,
                    CASE WHEN a.outcome = 'again' AND j.attempt - j.unused >= j.max_attempts THEN 'dead' ELSE a.outcome END AS result
               FROM unnest($1::bigint[], $2::int[], $3::text[], $4::bigint[], $5::text[]) AS a (id, attempt, outcome, delay_ms, error)
               JOIN jobs j ON a.id = j.id AND a.attempt = j.attempt AND j.state = 'running'
              ORDER BY j.id FOR NO KEY UPDATE OF j
           ), history AS (
             INSERT INTO job_attempts (job_id, attempt, owner, result, started_at, error)
             SELECT id, attempt, owner, result, claimed_at, error FROM mine WHERE result IN ('again','dead')
           )
           UPDATE jobs j SET owner = NULL, lease_until = NULL, last_error = coalesce(m.error, j.last_error),
               state       = CASE WHEN m.result IN ('done','dead') THEN m.result ELSE 'ready' END,
               finished_at = CASE WHEN m.result IN ('done','dead') THEN clock_timestamp() END,
               run_at      = CASE WHEN m.result IN ('again','wait') THEN clock_timestamp() + m.delay_ms * interval '1 ms' ELSE j.run_at END,
               unused      = j.unused + (m.result = 'wait')::int
             FROM mine m WHERE j.id = m.id RETURNING j.id, j.kind, j.state, j.payload, j.last_error"#,
        &jobs,
        &attempts,
        &outcomes,
        &delays,
        &errors as &[Option<String>],
    )
    .fetch_all(&mut **tx)
    .await?;
    let (mut written, mut after) = (Vec::with_capacity(rows.len()), AfterCommit::default());
    for row in rows {
        if row.state == "dead" {
            let error = row.last_error.as_deref().unwrap_or("");
            tracing::error!(
                job.id = row.id,
                job.kind = row.kind,
                error,
                "job {} ({}) is dead",
                row.id,
                row.kind
            );
            after.extend(hooks.on_dead(tx, &row.kind, row.payload, error).await?);
        }
        let asked = acks
            .iter()
            .find(|ack| ack.job == row.id)
            .map_or("again", |ack| word(&ack.outcome));
        written.push((row.id, if row.state == "dead" { "dead" } else { asked }));
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
