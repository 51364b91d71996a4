//! Our table as an apalis backend. It does little on purpose: any error or end of a backend ends its worker, so this
//! one has neither, and claiming, recording and renewing are tasks of our own.

use std::{
    convert::Infallible,
    mem,
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

use super::{
    claim::{Claim, Claimer},
    feeder::{Feeder, give_back},
};

/// The claims of one lane, as its feeder hands them over.
pub(super) struct LaneBackend {
    claimer: Claimer,
    claims: mpsc::Receiver<Claim>,
    feeder: Option<JoinHandle<()>>,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
    closing: Option<BoxFuture<'static, ()>>,
}

impl LaneBackend {
    /// Starts the feeder. It stops with `stopping`, or when this backend is dropped.
    pub(super) fn start(feeder: Feeder, stopping: &CancellationToken) -> Self {
        let (sender, claims) = mpsc::channel(1);
        let stop = stopping.child_token();
        let claimer = feeder.claimer.clone();
        let feeder = tokio::spawn(feeder.feed(sender, stop.clone()));
        let guard = stop.clone().drop_guard();
        Self {
            claimer,
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
        match self.claims.poll_recv(cx) {
            Poll::Ready(Some(claim)) => Poll::Ready(Some(Ok(TaskBuilder::new(claim).build()))),
            // `None` would end the worker for good; after a panic the Monitor builds worker and feeder anew.
            Poll::Ready(None) if !self.stop.is_cancelled() => panic!("the feeder ended"),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// Called when nothing runs any more: whatever is still claimed goes back.
    fn poll_close(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        if let Some(feeder) = self.feeder.take() {
            self.stop.cancel();
            let claimer = self.claimer.clone();
            let mut claims = mem::replace(&mut self.claims, mpsc::channel(1).1);
            self.closing = Some(Box::pin(async move {
                if feeder.await.is_err() {
                    tracing::error!("a feeder panicked while stopping; its claims end with their leases");
                }
                let mut undelivered = Vec::new();
                while let Ok(claim) = claims.try_recv() {
                    undelivered.push(claim);
                }
                give_back(&claimer, &undelivered).await;
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
