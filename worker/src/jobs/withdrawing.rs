//! That an order is about to be withdrawn: committed before the withdrawal leaves, so that the bank's next word is understood
//! whatever becomes of this process.

use drop_common::{
    domain::bank_status::BankStatus,
    queue::JobError,
    storage::payments::{self, Payment},
};
use serde_json::json;

use super::{at_bank::Withdrawal, payment_moves::Moving};

/// The intent as it is written.
#[derive(Clone, Copy)]
pub(super) struct Withdrawing {
    /// An earlier one may have reached the bank, and nobody knows what came of it.
    before: bool,
}

impl Withdrawing {
    /// Writes it. The caller commits, and then asks the bank.
    pub(super) async fn write(moving: &mut Moving<'_>) -> Result<Self, JobError> {
        let id = moving.payment.id;
        let before = payments::is_withdrawing(&mut moving.tx, id).await?;
        payments::withdrawing(&mut moving.tx, id).await?;
        Ok(Self { before })
    }

    /// What the bank's answer means after it. Some banks forget what was withdrawn: of an order that one has had and does
    /// not know any more, an earlier withdrawal was the end, although its own answer is lost.
    pub(super) fn understood(self, answer: Withdrawal) -> Withdrawal {
        match answer {
            Withdrawal::Gone if self.before => Withdrawal::Done,
            Withdrawal::NotTaken if self.before => Withdrawal::Unknown,
            answer => answer,
        }
    }
}

/// The bank's answer is being written: where nothing is withdrawn for certain, no later word of the bank's is explained by
/// that something was about to be.
pub(super) async fn answered(moving: &mut Moving<'_>, withdrawal: &Withdrawal) -> Result<(), JobError> {
    match withdrawal {
        Withdrawal::Done | Withdrawal::Unknown | Withdrawal::NotAsked => Ok(()),
        Withdrawal::Refused { .. } | Withdrawal::Gone | Withdrawal::NotTaken => {
            Ok(payments::not_withdrawing(&mut moving.tx, moving.payment.id).await?)
        }
    }
}

/// Takes the bank's word for where the payment stands, also that it has been cancelled.
pub(super) async fn take(moving: &mut Moving<'_>, code: &str) -> Result<(), JobError> {
    let payment = &moving.payment;
    // We were about to withdraw it because its time was over, and nobody wrote down that the bank took that: its person has
    // not taken it back.
    if code == BankStatus::Cancelled.as_str()
        && payment.state.is_processing()
        && payment.state.is_early()
        && nobody_came(payment)
        && payments::is_withdrawing(&mut moving.tx, payment.id).await?
    {
        taken_back(moving).await?;
    }
    moving.hear(Some(code)).await
}

/// Neither back from the bank, nor with the wish to take it back.
fn nobody_came(payment: &Payment) -> bool {
    payment.cancellation.is_none() && payment.callback_at.is_none()
}

/// The bank has taken the order back: because its person wished that, or because the time for approval was over.
pub(super) async fn taken_back(moving: &mut Moving<'_>) -> Result<(), JobError> {
    payments::withdrawn(&mut moving.tx, moving.payment.id).await?;
    moving.reload().await?;
    let state = moving.payment.state;
    if !nobody_came(&moving.payment) {
        return moving.apply(state.on_withdrawn()).await;
    }
    moving.apply(state.on_sca_timeout()).await?;
    moving.audit("payment.sca_timeout", json!({ "withdrawn": true })).await
}
