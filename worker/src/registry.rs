//! Which job is run by what: every kind has exactly one handler.

use drop_common::queue::{
    Registry,
    payloads::{ApplyKycEvent, CheckLogin},
};

use crate::context::Context;

/// The handlers of this worker.
pub fn registry() -> Registry<Context> {
    Registry::new().with::<CheckLogin>().with::<ApplyKycEvent>()
}
