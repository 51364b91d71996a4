//! Our table as an apalis backend. It does little on purpose: any error or end of a backend ends its worker, so this
//! one has neither, and claiming, recording and renewing are tasks of our own.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use apalis::prelude::{Backend, RandomId, Task, TaskBuilder, WorkerContext};
use apalis_core::{
    backend::{BackendConfig, finalize::Ephemeral},
    layers::Identity,
};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{claim::Claim, feeder::Feeder};

/// What the feeder has handed over and the runtime has not taken; the feeder takes it back when it stops, for the runtime
/// looks no more, and closes nothing before its last job has ended.
pub(super) type Claims = Arc<Mutex<mpsc::Receiver<Claim>>>;

/// The claims of one lane, as its feeder hands them over.
pub(super) struct LaneBackend {
    claims: Claims,
    feeder: Option<JoinHandle<()>>,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
    closing: Option<BoxFuture<'static, ()>>,
}

impl LaneBackend {
    /// Starts the feeder. It stops with `stopping`, or when this backend is dropped.
    pub(super) fn start(feeder: Feeder, stopping: &CancellationToken) -> Self {
        let (sender, claims) = mpsc::channel(1);
        let claims = Arc::new(Mutex::new(claims));
        let stop = stopping.child_token();
        let feeder = tokio::spawn(feeder.feed(sender, Arc::clone(&claims), stop.clone()));
        let guard = stop.clone().drop_guard();
        Self {
            claims,
            feeder: Some(feeder),
            stop,
            _stop_when_dropped: guard,
            closing: None,
        }
    }
}

impl Backend for LaneBackend {
    type Task = Task<Claim>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Option<Result<Task<Claim>, Infallible>>> {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        match claims.poll_recv(cx) {
            Poll::Ready(Some(claim)) => Poll::Ready(Some(Ok(TaskBuilder::new(claim).build()))),
            // `None` would end the worker for good; after a panic the Monitor builds worker and feeder anew.
            Poll::Ready(None) if !self.stop.is_cancelled() => panic!("the feeder ended"),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// Called when nothing runs any more.
    fn poll_close(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        if let Some(feeder) = self.feeder.take() {
            self.stop.cancel();
            self.closing = Some(Box::pin(async move {
                if feeder.await.is_err() {
                    tracing::error!("a feeder panicked while stopping; its claims end with their leases");
                }
            }));
        }
        match &mut self.closing {
            Some(closing) => closing.poll_unpin(cx).map(|()| {
                self.closing = None;
                Ok(())
            }),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl BackendConfig for LaneBackend {
    type Args = Claim;
    type Id = RandomId;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}
