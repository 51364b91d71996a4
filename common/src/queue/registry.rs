//! Kind → behaviour. The one table that a claimed row is looked up in.

use std::{
    collections::BTreeMap, future::Future, marker::PhantomData, panic::AssertUnwindSafe, pin::Pin, sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use serde_json::Value;

use super::{
    AfterCommit, Job, JobError, Lease, Verdict,
    record::{DeadHooks, HookFuture},
    watch::{Unwatched, Watch},
};
use crate::storage::{StorageError, Tx};

/// The behaviour of one kind of job, with the worker's context `C`.
pub trait Handler<C: Send + Sync + 'static>: Job {
    /// Runs the job. It may run twice: a lease can be lost at any moment.
    fn run(self, context: Arc<C>, lease: Lease) -> impl Future<Output = Result<Verdict, JobError>> + Send;

    /// Runs in the transaction that makes the job dead, however it died. What is counted or alerted is given back, and said
    /// only once that transaction is committed.
    fn on_dead(
        &self,
        _context: &C,
        _tx: &mut Tx,
        _error: &str,
    ) -> impl Future<Output = Result<AfterCommit, StorageError>> + Send {
        async { Ok(AfterCommit::default()) }
    }
}

/// All handlers of a worker.
pub struct Registry<C> {
    handlers: BTreeMap<&'static str, Box<dyn Erased<C>>>,
    pub(super) watch: Arc<dyn Watch>,
}

impl<C: Send + Sync + 'static> Registry<C> {
    /// Without any handler.
    pub fn new() -> Self {
        Self {
            handlers: BTreeMap::new(),
            watch: Arc::new(Unwatched),
        }
    }

    /// Adds the handler of a kind.
    ///
    /// # Panics
    /// When the kind has a handler already: one of the two would never run.
    #[must_use]
    pub fn with<J: Handler<C>>(mut self) -> Self {
        let replaced = self.handlers.insert(J::KIND, Box::new(Typed::<J>(PhantomData)));
        assert!(replaced.is_none(), "two handlers for {}", J::KIND);
        self
    }

    /// Tells this watch what happens.
    #[must_use]
    pub fn watched_by(mut self, watch: Arc<dyn Watch>) -> Self {
        self.watch = watch;
        self
    }

    /// The kinds that have a handler, in order.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.handlers.keys().copied()
    }

    /// How long a run of this kind may take.
    pub(super) fn timeout(&self, kind: &str) -> Option<Duration> {
        self.handlers.get(kind).map(|handler| handler.timeout())
    }

    pub(super) fn start(
        &self,
        kind: &str,
        payload: Value,
        context: Arc<C>,
        lease: Lease,
    ) -> Result<RunFuture, Unrunnable> {
        self.handlers
            .get(kind)
            .ok_or(Unrunnable::UnknownKind)?
            .start(payload, context, lease)
    }
}

impl<C: Send + Sync + 'static> Default for Registry<C> {
    fn default() -> Self {
        Self::new()
    }
}

/// A row that no handler can take: dead at once, with this text.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unrunnable {
    #[error("unknown kind")]
    UnknownKind,
    #[error("unreadable payload")]
    Payload,
}

/// A running handler.
pub(super) type RunFuture = Pin<Box<dyn Future<Output = Result<Verdict, JobError>> + Send>>;

trait Erased<C>: Send + Sync {
    fn timeout(&self) -> Duration;
    fn start(&self, payload: Value, context: Arc<C>, lease: Lease) -> Result<RunFuture, Unrunnable>;
    fn on_dead<'a>(&'a self, payload: Value, context: &'a C, tx: &'a mut Tx, error: &'a str) -> HookFuture<'a>;
}

struct Typed<J>(PhantomData<fn() -> J>);

impl<C: Send + Sync + 'static, J: Handler<C>> Erased<C> for Typed<J> {
    fn timeout(&self) -> Duration {
        J::TIMEOUT
    }

    fn start(&self, payload: Value, context: Arc<C>, lease: Lease) -> Result<RunFuture, Unrunnable> {
        // serde's own text would quote the payload.
        let job: J = serde_json::from_value(payload).map_err(|_| Unrunnable::Payload)?;
        Ok(Box::pin(async move { job.run(context, lease).await }))
    }

    fn on_dead<'a>(&'a self, payload: Value, context: &'a C, tx: &'a mut Tx, error: &'a str) -> HookFuture<'a> {
        Box::pin(async move {
            match serde_json::from_value::<J>(payload) {
                Ok(job) => job.on_dead(context, tx, error).await,
                Err(_) => Ok(AfterCommit::default()), // nobody knows whose job it was; the dead row says so
            }
        })
    }
}

/// The registry with its context, as the recording half sees it.
pub(super) struct Hooks<C> {
    pub(super) registry: Arc<Registry<C>>,
    pub(super) context: Arc<C>,
}

impl<C: Send + Sync + 'static> DeadHooks for Hooks<C> {
    fn on_dead<'a>(&'a self, tx: &'a mut Tx, kind: &'a str, payload: Value, error: &'a str) -> HookFuture<'a> {
        let Some(handler) = self.registry.handlers.get(kind) else {
            return Box::pin(async { Ok(AfterCommit::default()) });
        };
        let hook = AssertUnwindSafe(handler.on_dead(payload, &self.context, tx, error));
        // Every worker would panic over the same job, again and again, with all that is recorded beside it.
        Box::pin(async { hook.catch_unwind().await.unwrap_or(Err(StorageError::Panicked)) })
    }
}
