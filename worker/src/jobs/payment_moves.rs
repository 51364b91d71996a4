//! One way to move a payment: the locked row, its audit entry and its notification in one transaction, what is told to
//! operations just before that is committed, and what is counted after it.

use std::{borrow::Cow, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use drop_common::{
    alerts,
    domain::{
        bank_status::BankStatus,
        ids::{PaymentId, UserId},
        payment_status::{FailureReason, PaymentAlert, PaymentState, PaymentStatus, Transition},
    },
    keyring::sha256,
    metrics::{Metrics, PAYMENTS, PISP_PAYMENT_FAILURES},
    queue::{AfterCommit, JobError, Lease, Outcome, Verdict},
    resilience::{
        backoff,
        breaker::{self, BreakerKey},
    },
    storage::{
        StorageError, Tx,
        audit::{self, Actor, Entry},
        notifications::{self, Message},
        payments::{self, Locked, Payment},
    },
};
use serde_json::{Value, json};
use tracing::info;
use uuid::Uuid;

use crate::context::Context;

/// The audit's word for one of the bank's that nobody knows.
const UNKNOWN_WORD: &str = "payment.unknown_word";

/// A job's transaction that moves a payment. Dropped before its end, it has changed and told nothing.
pub(super) struct Moving<'a> {
    ctx: &'a Context,
    lease: &'a Lease,
    pub(super) tx: Tx,
    /// As it is in this transaction.
    pub(super) payment: Payment,
    /// The database's time when the payment was locked.
    pub(super) now: DateTime<Utc>,
    after: AfterCommit,
}

impl<'a> Moving<'a> {
    /// Opens the transaction and locks the payment.
    pub(super) async fn begin(ctx: &'a Context, lease: &'a Lease, id: PaymentId) -> Result<Self, JobError> {
        let mut tx = lease.begin_unfenced(&ctx.db).await?;
        let locked = match payments::lock_for(lease, &mut tx, id).await? {
            None if !lease.fence(&mut tx).await? => return Err(JobError::LeaseLost),
            // The lease had run out at that moment, and was renewed.
            None => payments::lock(&mut tx, id).await?,
            locked => locked,
        };
        let Locked { payment, now } = locked.ok_or_else(|| JobError::Failed("the payment is gone".into()))?;
        Ok(Self {
            ctx,
            lease,
            tx,
            payment,
            now,
            after: AfterCommit::default(),
        })
    }

    /// Writes what the domain decided, if it changes anything.
    pub(super) async fn apply(&mut self, transition: Transition) -> Result<(), JobError> {
        let mover = Mover::job(self.ctx, self.lease.request_id());
        let after = apply(&mover, &mut self.tx, &self.payment, transition).await?;
        self.after.extend(after);
        if transition.changed {
            self.reload().await?;
        }
        Ok(())
    }

    /// A person must look at this payment. `label` is the metric's.
    pub(super) async fn review(&mut self, label: &'static str, why: &'static str) -> Result<(), JobError> {
        let mover = Mover::job(self.ctx, self.lease.request_id());
        let after = review(&mover, &mut self.tx, self.payment.id, label, why).await?;
        self.after.extend(after);
        self.reload().await
    }

    /// One more audit row about the payment.
    pub(super) async fn audit(&mut self, action: &'static str, detail: Value) -> Result<(), JobError> {
        let Payment { id, user, .. } = self.payment;
        let mover = Mover::job(self.ctx, self.lease.request_id());
        Ok(audit(&mover, &mut self.tx, user, id, action, detail).await?)
    }

    /// Takes the bank's word for where the payment stands. One that nobody knows, or none, is told to operations the first
    /// time that this bank says it of this payment: it will say so with every look.
    pub(super) async fn hear(&mut self, word: Option<&str>) -> Result<(), JobError> {
        let word = word.unwrap_or_default();
        let mut heard = self.payment.state.on_bank_code(word, &self.ctx.provisional());
        if heard.alert == Some(PaymentAlert::Unknown) {
            // Whatever a bank may write there is not for the audit: only whether it is the same again.
            let sum = sha256(word.as_bytes());
            let sum = sum.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
            let sum = format!("{sum:016x}");
            if payments::is_noted(&mut self.tx, self.payment.id, UNKNOWN_WORD, &sum).await? {
                heard.alert = None;
            } else {
                self.audit(UNKNOWN_WORD, json!({ "noted": sum })).await?;
            }
        }
        self.apply(heard).await
    }

    /// Tells operations when it is about to be committed. Names no person.
    pub(super) fn alert(&mut self, what: impl Into<Cow<'static, str>>) {
        self.after.extend(told(self.payment.id, &what.into()));
    }

    /// How long to wait, where the circuit has opened since the claim: what waited in a slot is not sent any more.
    pub(super) async fn circuit_is_open(&mut self) -> Result<Option<Duration>, JobError> {
        let circuit = breaker::state_in(&mut *self.tx, BreakerKey::NeonomicsPisp).await?;
        let open = !circuit.lets_through(self.lease.probe());
        Ok(open.then(|| until_probed(circuit.retry_in)))
    }

    /// Reads the payment again after a write that is none of the above.
    pub(super) async fn reload(&mut self) -> Result<(), JobError> {
        if let Some(payment) = payments::find(&mut *self.tx, self.payment.id).await? {
            self.payment = payment;
        }
        Ok(())
    }

    /// Commits without an outcome: the job goes on.
    pub(super) async fn commit(mut self) -> Result<(), JobError> {
        self.after.raise();
        self.tx.commit().await?;
        self.after.say();
        Ok(())
    }

    /// Commits with the job's outcome, and says what is to be said.
    pub(super) async fn finish(mut self, outcome: Outcome) -> Result<Verdict, JobError> {
        self.after.raise();
        let recorded = self.lease.finish(self.tx, outcome).await?;
        self.after.say();
        self.ctx.tell_waiters(self.payment.id.uuid()).await;
        Ok(recorded.into())
    }
}

/// How long a job waits behind a circuit that may be probed after `retry_in`.
pub(super) fn until_probed(retry_in: Duration) -> Duration {
    backoff::jittered(retry_in.max(Duration::from_secs(1)))
}

/// Who moves a payment, and where that is counted.
pub(crate) struct Mover<'a> {
    pub(crate) metrics: &'a Arc<Metrics>,
    pub(crate) actor: Actor,
    pub(crate) request_id: Option<Uuid>,
}

impl<'a> Mover<'a> {
    /// A job of this worker.
    pub(super) fn job(ctx: &'a Context, request_id: Option<Uuid>) -> Self {
        Self {
            metrics: &ctx.metrics,
            actor: Actor::Worker,
            request_id,
        }
    }
}

/// Writes what was decided about the locked payment.
pub(crate) async fn apply(
    mover: &Mover<'_>,
    tx: &mut Tx,
    payment: &Payment,
    transition: Transition,
) -> Result<AfterCommit, StorageError> {
    let (id, state, mut after) = (payment.id, transition.state, AfterCommit::default());
    if let Some(alert) = transition.alert {
        after.extend(told(id, alert.as_str()));
    }
    if !transition.changed || !payments::set_state(tx, payment, &state).await? {
        return Ok(after);
    }
    let detail = json!({
        "from": payment.state.status.as_str(),
        "to": state.status.as_str(),
        "reason": state.reason.map(FailureReason::as_str),
        "bank_status": state.bank_status.map(BankStatus::as_str),
        "bank_final": state.bank_final,
    });
    audit(mover, tx, payment.user, id, "payment.moved", detail).await?;
    // Whoever was told to wait for the bank hears what it said.
    let waits_no_more = state.status == PaymentStatus::Failed && state.bank_final;
    if transition.status_changed || waits_no_more {
        tell_user(tx, payment, &state).await?;
    }
    if transition.status_changed {
        let metrics = Arc::clone(mover.metrics);
        after.add(move || {
            if state.status != PaymentStatus::Processing {
                metrics.count(&PAYMENTS, &[state.status.as_str()]);
            }
            if state.status == PaymentStatus::Failed {
                metrics.count(&PISP_PAYMENT_FAILURES, &[label(state.reason)]);
            }
            info!(payment.id = %id, "payment {id} is {}", state.status.as_str());
        });
    }
    Ok(after)
}

/// Money may have moved and we cannot know, or the bank does not settle it: the row stays as it is and a person looks at
/// it. Does nothing where that is known, or where the bank has spoken its last word.
pub(crate) async fn review(
    mover: &Mover<'_>,
    tx: &mut Tx,
    id: PaymentId,
    label: &'static str,
    why: &str,
) -> Result<AfterCommit, StorageError> {
    let mut after = AfterCommit::default();
    if let Some(user) = payments::needs_review(tx, id).await? {
        audit(mover, tx, user, id, "payment.needs_review", json!({ "why": why })).await?;
        let metrics = Arc::clone(mover.metrics);
        after.extend(told(id, &format!("needs review: {why}")));
        after.add(move || metrics.count(&PISP_PAYMENT_FAILURES, &[label]));
    }
    Ok(after)
}

/// Tells operations about a payment, when what is said is about to be committed.
pub(super) fn told(id: PaymentId, what: &str) -> AfterCommit {
    let mut after = AfterCommit::default();
    after.alert(&alerts::PAYMENT, format!("{id}, {what}"));
    after
}

pub(super) async fn audit(
    mover: &Mover<'_>,
    tx: &mut Tx,
    user: UserId,
    payment: PaymentId,
    action: &str,
    detail: Value,
) -> Result<(), StorageError> {
    let entry = Entry {
        actor: mover.actor,
        user: Some(user),
        action,
        object: payment.to_string(),
        detail,
        request_id: mover.request_id,
    };
    audit::record(tx, entry).await
}

/// The label of the metric, from operations' closed list.
fn label(reason: Option<FailureReason>) -> &'static str {
    match reason {
        Some(FailureReason::NotSent | FailureReason::KycRequired) => "not_sent",
        Some(FailureReason::ScaTimeout) => "sca_timeout",
        Some(
            FailureReason::BankRejected
            | FailureReason::RateLimited
            | FailureReason::Refused
            | FailureReason::ConsentExpired,
        )
        | None => "rejected",
    }
}

/// One notification for each status that the person sees. A failure that the bank has not confirmed is one of its own: it
/// asks its person to wait, and the end of that is told. Nobody need wait once the bank has taken the order back.
async fn tell_user(tx: &mut Tx, payment: &Payment, state: &PaymentState) -> Result<(), StorageError> {
    let unconfirmed = state.status == PaymentStatus::Failed && !state.bank_final && payment.withdrawn_at.is_none();
    let (title, body) = match state.status {
        // They were told that it had ended.
        PaymentStatus::Processing => (
            "Betalingen er likevel på vei",
            "Banken har godtatt den. Ikke betal på nytt.",
        ),
        PaymentStatus::Completed => ("Betalingen er fullført", ""),
        PaymentStatus::Cancelled => ("Betalingen er avbrutt", ""),
        // The bank may still complete it.
        PaymentStatus::Failed if unconfirmed => (
            "Betalingen er ikke bekreftet",
            "Ikke betal på nytt før vi har hørt fra banken.",
        ),
        // Trying again would fail again.
        PaymentStatus::Failed if state.reason == Some(FailureReason::ConsentExpired) => (
            "Betalingen ble ikke gjennomført",
            "Banken godtar ikke lenger koblingen til kontoen din. Koble den til på nytt, og betal så igjen.",
        ),
        PaymentStatus::Failed => ("Betalingen ble ikke gjennomført", "Prøv igjen."),
    };
    let what = if unconfirmed {
        "unconfirmed"
    } else {
        state.status.as_str()
    };
    let subject = format!("{}:{what}", payment.id);
    let message = Message {
        user: payment.user,
        kind: "payment",
        title,
        body,
        subject,
    };
    notifications::tell(tx, message).await
}
