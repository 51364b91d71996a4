//! The job queue: our own table, leases and outcomes, run by apalis. The only module that names the job runtime.
//!
//! A job is a named struct of ids in [`payloads`]; its behaviour is a [`Handler`] in the worker's file of the same name;
//! it is enqueued in the transaction that makes it necessary, and the worker is told after the commit:
//!
//! ```ignore
//! PollPayment { payment: PaymentId } "poll-payment" in PaymentPoll, key |job| Some(job.payment.to_string());  // payloads.rs
//!
//! impl Handler<Context> for PollPayment {                                     // worker/src/jobs/poll_payment.rs
//!     async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
//!         let status = ctx.neonomics.payment_status(…).await;                 // no transaction is open meanwhile
//!         let mut tx = lease.begin(&ctx.db).await?;                           // fenced: fails if the lease is lost
//!         payments::set_state(&mut tx, …).await?;
//!         Ok(lease.finish(tx, Outcome::Done).await?.into())                   // the outcome, in the same transaction
//!     }
//! }
//!
//! queue::enqueue(&mut tx, &PollPayment { payment }).await?;                   // whoever makes it necessary
//! tx.commit().await?;
//! wake.signal(PollPayment::LANE);
//! ```
//!
//! ```text
//!                       claim: attempt + 1, owner, lease            Done
//!   enqueue ──▶ ready ────────────────────────────────▶ running ──────────────▶ done ──▶ pruned after 7 days
//!                 ▲ │                                    │  │  │
//!                 │ │     Again: uses an attempt         │  │  │ GiveUp, or Again without an attempt left
//!                 ├─┼────────────────────────────────────┘  │  └──────────────▶ dead ──▶ retry or discard by an operator
//!                 │ │     Wait: uses none                   │                  ▲
//!                 ├─┼───────────────────────────────────────┘                  │
//!                 │ └── its time has passed (expires_at) ──────────────────────┤  every way to die runs the
//!                 └──── the lease has ended (a dead worker), as Again ─────────┘  kind's on_dead in the same transaction
//!
//!   dead, untold: its on_dead failed or panicked, so it died without; that is tried again every minute until it works
//! ```
//!
//! - **Claims** take up to a lane's free slots in one statement; attempts count there, so a job that kills its process is
//!   dead after its last one. Lanes have slots of their own and at most one breaker; there is no other priority.
//! - **Leases** are renewed from the claim on, by a thread of their own. Past its lease a job writes nothing: every write is
//!   fenced by the row and the attempt, which only grows.
//! - **Deaths** never fail: a job that could not die would be claimed or rescued for ever, and seen by nobody. Until its
//!   `on_dead` works it is untold, which is alerted; an operator may run it again, but not discard it.
//! - **Wake-ups** only save time: workers look every second as well.
//! - Nothing but a signal ends a worker, and nothing waits for ever for a connection that has died without a word.
//!
//! The statements are in `sql`, in the order of the picture.

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
pub mod look;
pub mod operate;
mod outcome;
pub mod payloads;
mod pressure;
pub mod processes;
mod prune;
mod record;
mod registry;
mod renewer;
mod rescuer;
mod runner;
mod sql;
mod supervise;
mod wake;
mod watch;
mod workers;

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

pub(crate) use self::pressure::CLOSED_RETRY;
pub use self::{
    after_commit::AfterCommit,
    drain::drain,
    enqueue::{
        EnqueueOptions, Enqueued, JobId, NewJob, enqueue, enqueue_alone, enqueue_anew, enqueue_many, enqueue_with,
        hasten, hasten_spaced,
    },
    lane::Lane,
    lease::Lease,
    outcome::{JobError, Outcome, Recorded, Verdict},
    payloads::{ALL_KINDS, KINDS_BY_LANE},
    pressure::{Admission, admit, throttle},
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
    /// How long one run may take; then it is cancelled and has failed. Longer than the slowest call to a provider with
    /// a fresh token, shorter than the lane's longest run, after which the lease is not renewed any more.
    const TIMEOUT: Duration = Duration::from_secs(100);

    /// At most one row of this kind and key exists; `None`: any number.
    fn unique_key(&self) -> Option<String> {
        None
    }
}
