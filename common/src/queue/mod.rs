//! The job queue: our own table, leases and outcomes, run by apalis. The only module that names the job runtime.
//!
//! A job is enqueued in the transaction that makes it necessary, claimed under a lease, and its outcome is written in
//! the transaction of its domain change. A lost lease writes nothing: every write is fenced by job id and attempt.

#![expect(
    clippy::disallowed_methods,
    reason = "the queue's own loops wait here, so that jobs need not"
)]

mod acker;
mod after_commit;
mod backend;
mod claim;
mod drain;
mod enqueue;
mod feeder;
pub mod gauges;
mod lane;
mod lease;
pub mod operate;
mod outcome;
pub mod payloads;
mod pressure;
mod prune;
mod record;
mod registry;
mod renewer;
mod rescuer;
mod runner;
mod supervise;
mod wake;
mod watch;
mod workers;

use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    after_commit::AfterCommit,
    drain::drain,
    enqueue::{EnqueueOptions, Enqueued, JobId, enqueue, enqueue_alone, enqueue_with, hasten},
    lane::Lane,
    lease::Lease,
    outcome::{JobError, Outcome, Recorded, Verdict},
    payloads::{ALL_KINDS, KINDS_BY_LANE},
    pressure::{overloaded, throttle},
    prune::prune,
    registry::{Handler, Registry},
    wake::Wake,
    watch::Watch,
    workers::{WorkersConfig, WorkersError, run_workers},
};

/// The payload of one kind of job: a named struct of ids.
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name in the table. Renaming it strands the rows of the old name.
    const KIND: &'static str;
    /// Where it waits.
    const LANE: Lane;
    /// How many claims may fail before the job is dead; waiting uses none.
    const MAX_ATTEMPTS: i32 = 5;

    /// At most one row of this kind and key exists; `None`: any number.
    fn unique_key(&self) -> Option<String> {
        None
    }
}
