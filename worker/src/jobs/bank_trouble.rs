//! What a bank's refusals mean for consents and balances alike: somebody of ours must look, or everybody slows down.

use std::{fmt, time::Duration};

use drop_common::{
    alerts,
    providers::{Class, ProviderError},
    queue::{JobError, Lease, throttle},
    resilience::backoff,
    storage::Tx,
};

use super::initiate_payment::LONGEST_PAUSE;
use crate::context::Context;

/// Where the gateway asks for fewer calls and names no time.
const PAUSE: Duration = Duration::from_mins(1);

/// Tells operations where it is our own standing that is refused. `about` is the row's id: one of many that are refused for the
/// same cause.
pub(super) fn tell_ops(ctx: &Context, about: impl fmt::Display, error: &ProviderError) {
    if error.needs_ops() {
        let cause = format!("{error} ({})", error.code().unwrap_or("no code"));
        let about = format_args!("{about}, {cause}");
        ctx.standing.raise(&alerts::BANK_REFUSES_US, &cause, about);
    }
}

/// How long to wait after a refusal for too many calls. No word of a provider's makes it endless.
pub(super) fn pause(error: &ProviderError) -> Duration {
    error.retry_after().unwrap_or(PAUSE).min(LONGEST_PAUSE)
}

/// Too many calls, and not of one account: the whole lane waits (a bare 429 is the gateway's).
pub(super) async fn slow_down(tx: &mut Tx, lease: &Lease, error: &ProviderError) -> Result<(), JobError> {
    if error.class() == Class::Limited && !error.is_of_one_account() {
        throttle(&mut **tx, lease.lane(), pause(error)).await?;
    }
    Ok(())
}

/// A little later than this, never earlier.
pub(super) fn at_least(wait: Duration) -> Duration {
    backoff::between(wait, wait + wait / 2)
}
