//! Somebody who looks at requests as they arrive: what a client must have written down before it sends can only be seen then.

use futures_util::future::BoxFuture;

use crate::{
    call::Call,
    encoding::{hex, sha256},
    operation::Operation,
};

/// A request that has arrived whole, and of which nothing has come yet.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// What is asked for.
    pub operation: Operation,
    /// Its `X-Request-ID`; empty without one.
    pub request_id: String,
    /// SHA-256 of the raw body, hexadecimal.
    pub body_sha256: String,
}

/// Called with every arrival. The provider acts once it is done.
pub(crate) type Witness = Box<dyn Fn(Arrival) -> BoxFuture<'static, ()> + Send + Sync>;

impl Arrival {
    pub(crate) fn of(operation: Operation, call: &Call) -> Self {
        Self {
            operation,
            request_id: call.header("x-request-id").unwrap_or_default().to_owned(),
            body_sha256: hex(&sha256(&call.body)),
        }
    }
}
