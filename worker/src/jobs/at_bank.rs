//! One payment at its bank: how it is doing, and taking it back.

use chrono::{DateTime, Utc};
use drop_common::{
    providers::{
        Class, ProviderError,
        neonomics::{CallContext, Cancellation, OrderAtBank},
    },
    queue::Lease,
    resilience::breaker::BreakerKey,
};
use tracing::warn;
use uuid::Uuid;

use crate::context::Context;

/// What became of our wish to withdraw the order.
#[derive(Clone)]
pub(super) enum Withdrawal {
    /// It is withdrawn.
    Done,
    /// The bank does not withdraw it; what it says of the payment now.
    Refused { now: Option<String> },
    /// The bank knows no such order, whether it is asked to withdraw it or how it is doing.
    Gone,
    /// The same, and an earlier withdrawal may have reached the bank: that one may have been the end of it.
    Forgotten,
    /// It is not withdrawn: the bank wants an approval for that, cannot do it, or was not reached.
    NotTaken,
    /// Nobody knows.
    Unknown,
    /// The bank was not asked: the circuit is open.
    NotAsked,
}

/// One payment at its bank. Each call after a job's first asks the circuit again, which the one before may have opened, and
/// none goes out on a probe that is undecided: its lease is as long as one call.
pub(super) struct AtBank<'a> {
    ctx: &'a Context,
    lease: &'a Lease,
    product: &'a str,
    id: &'a str,
}

impl<'a> AtBank<'a> {
    pub(super) fn new(ctx: &'a Context, lease: &'a Lease, product: &'a str, id: &'a str) -> Self {
        Self {
            ctx,
            lease,
            product,
            id,
        }
    }

    /// The bank's word for where the payment stands.
    pub(super) async fn status(&self) -> Result<Option<String>, ProviderError> {
        let (neonomics, call) = (&self.ctx.neonomics, self.call());
        let answer = neonomics.payment_status(self.product, self.id, &call).await;
        let (key, failed) = (BreakerKey::NeonomicsPisp, answer.as_ref().err());
        self.ctx.report(self.lease, key, failed).await;
        answer
    }

    /// The order as the bank has it.
    pub(super) async fn order(&self) -> Result<OrderAtBank, ProviderError> {
        if let Some(retry_at) = self.open_until().await {
            return Err(ProviderError::CircuitOpen { retry_at });
        }
        let (neonomics, call) = (&self.ctx.neonomics, self.call());
        let answer = neonomics.payment(self.product, self.id, &call).await;
        let (key, failed) = (BreakerKey::NeonomicsPisp, answer.as_ref().err());
        self.ctx.report(self.lease, key, failed).await;
        answer
    }

    /// Asks the bank to withdraw the order. Not told to the breaker: a bank may answer 501 to a method that it does not have.
    pub(super) async fn withdraw(&self) -> Withdrawal {
        // What is not told to the breaker decides no probe, so a look at the payment goes first.
        if self.probes().await {
            drop(self.status().await);
        }
        if self.open_until().await.is_some() {
            return Withdrawal::NotAsked;
        }
        let (neonomics, call) = (&self.ctx.neonomics, self.call());
        match neonomics.cancel_payment(self.product, self.id, &call).await {
            Ok(Cancellation::Done) => Withdrawal::Done,
            // The bank wants the person's approval for that too: nothing is withdrawn.
            Ok(Cancellation::NeedsApproval) => Withdrawal::NotTaken,
            Err(error) if is_refused(&error) => Withdrawal::Refused { now: self.now().await },
            Err(error) if error.status() == Some(404) => self.gone_or_not_taken().await,
            Err(error) => {
                warn!("a payment could not be withdrawn: {error}");
                if is_no(&error) {
                    Withdrawal::NotTaken
                } else {
                    Withdrawal::Unknown
                }
            }
        }
    }

    /// The bank does not know the order, or not how to withdraw one: only a look tells the two apart.
    async fn gone_or_not_taken(&self) -> Withdrawal {
        if self.open_until().await.is_some() {
            return Withdrawal::Unknown;
        }
        match self.status().await {
            Ok(_) => Withdrawal::NotTaken,
            Err(error) if error.status() == Some(404) => Withdrawal::Gone,
            Err(_) => Withdrawal::Unknown,
        }
    }

    /// What the bank says of it after all that, if it may be asked.
    async fn now(&self) -> Option<String> {
        match self.open_until().await {
            None => self.status().await.ok().flatten(),
            Some(_) => None,
        }
    }

    /// Until when no ordinary call may go out. A database that does not say lets none out either.
    async fn open_until(&self) -> Option<DateTime<Utc>> {
        let now = self.ctx.clock.now();
        match self.ctx.breaker.state(BreakerKey::NeonomicsPisp).await {
            Ok(circuit) if !circuit.open => None,
            Ok(circuit) => Some(now + circuit.retry_in),
            Err(_) => Some(now),
        }
    }

    /// Whether this job holds the probe, and no call of its has decided it.
    async fn probes(&self) -> bool {
        if self.lease.probe().is_none() {
            return false;
        }
        let circuit = self.ctx.breaker.state(BreakerKey::NeonomicsPisp).await;
        circuit.is_ok_and(|circuit| circuit.open && circuit.lets_through(self.lease.probe()))
    }

    /// Without the person: they are at the bank, or gone.
    fn call(&self) -> CallContext {
        CallContext {
            request_id: Uuid::new_v4(),
            correlation_id: self.lease.request_id(),
            psu: None,
            now: self.ctx.clock.now(),
            not_after: Some(self.lease.deadline()),
        }
    }
}

/// The order is certainly as it was: the withdrawal did not leave, was refused, or is nothing that this bank does.
fn is_no(error: &ProviderError) -> bool {
    match error.class() {
        Class::NotSent | Class::CircuitOpen | Class::Refused | Class::Expired | Class::Limited => true,
        Class::Transient | Class::Ambiguous => error.status() == Some(501),
    }
}

/// The bank will not withdraw it any more: it may have accepted it.
fn is_refused(error: &ProviderError) -> bool {
    error.status() == Some(409) || (error.status() == Some(405) && error.code() == Some("CANCELLATION_INVALID"))
}
