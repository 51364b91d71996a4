//! Which job is run by what: every kind has exactly one handler.

use drop_common::queue::{
    Registry,
    payloads::{
        ApplyKycEvent, CheckLogin, CreateApplicant, FetchAccounts, InitiatePayment, PollPayment, RefreshBalance,
        StartConsent,
    },
};

use crate::context::Context;

/// The handlers of this worker.
pub fn registry() -> Registry<Context> {
    Registry::new()
        .with::<CheckLogin>()
        .with::<CreateApplicant>()
        .with::<ApplyKycEvent>()
        .with::<StartConsent>()
        .with::<FetchAccounts>()
        .with::<RefreshBalance>()
        .with::<InitiatePayment>()
        .with::<PollPayment>()
}
