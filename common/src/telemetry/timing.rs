//! Requests and jobs as Sentry times them. What fails under way is reported with the tags of its transaction, timed or not.

use std::{fmt::Display, sync::Arc};

use futures_util::future::Either;
use sentry::{Hub, SentryFutureExt, TransactionContext, TransactionOrSpan};

pub use sentry::protocol::SpanStatus as Status;

use super::reports;

/// A request or a job under way. Nothing without Sentry.
pub struct Transaction(Option<Running>);

struct Running {
    hub: Arc<Hub>,
    /// `None` for what has no name of its own.
    timed: Option<sentry::Transaction>,
}

impl Transaction {
    /// Begins one. `name` is one of a closed list, `tags` are ids and words of ours.
    pub fn begin(operation: &str, name: Option<&str>, tags: &[(&str, &dyn Display)]) -> Self {
        if !reports::is_on() {
            return Self(None);
        }
        let hub = Arc::new(Hub::new_from_top(Hub::current()));
        let timed = name.map(|name| hub.start_transaction(TransactionContext::new(name, operation)));
        hub.configure_scope(|scope| {
            scope.set_span(timed.clone().map(TransactionOrSpan::from));
            for (tag, value) in tags {
                scope.set_tag(tag, value);
            }
        });
        Self(Some(Running { hub, timed }))
    }

    /// What is reported during this work belongs to the transaction. Work that is spawned says so again.
    pub fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        match &self.0 {
            Some(running) => Either::Left(work.bind_hub(Arc::clone(&running.hub))),
            None => Either::Right(work),
        }
    }

    /// It is over. One that is dropped before, because somebody went away, is not sent.
    pub fn end(self, status: Status) {
        if let Some(Running {
            hub,
            timed: Some(timed),
        }) = self.0
        {
            timed.set_status(status);
            Hub::run(hub, || timed.finish());
        }
    }
}

/// A part of the transaction under way that is timed on its own.
pub struct Step(Option<sentry::Span>);

impl Step {
    /// Begins one; `name` is one of a closed list. Outside of a transaction it is nothing.
    pub fn begin(operation: &str, name: &str) -> Self {
        if !reports::is_on() {
            return Self(None);
        }
        let around = Hub::current().configure_scope(|scope| scope.get_span());
        Self(around.map(|around| around.start_child(operation, name)))
    }

    /// It is over.
    pub fn end(self, went_well: bool) {
        if let Some(step) = self.0 {
            step.set_status(if went_well { Status::Ok } else { Status::InternalError });
            step.finish();
        }
    }
}
