//! That an order is about to be withdrawn: committed before the withdrawal leaves, so that the bank's next word is understood
//! whatever becomes of this process.

use std::time::Duration;

use chrono::{DateTime, Utc};
use drop_common::{
    domain::bank_status::BankStatus,
    queue::{JobError, Lease},
    storage::payments::{self, Payment},
};
use serde_json::json;

use super::{at_bank::Withdrawal, intent::Intent, payment_moves::Moving};
use crate::context::Context;

/// No withdrawal is under way any more after this: more than a job and all its calls may take.
const OVER_AFTER: Duration = Duration::from_mins(5);
/// How long a bank must have known an order no more before that is believed. Looks of one moment are one piece of evidence,
/// however many they are: they may all have met the same fault.
const FORGOTTEN_FOR: Duration = Duration::from_mins(10);

/// The intent as it is written.
#[derive(Clone, Copy)]
pub(super) struct Withdrawing {
    /// An earlier one may have reached the bank, and nobody knows what came of it.
    before: bool,
    since: DateTime<Utc>,
}

impl Withdrawing {
    /// Writes and commits it. The caller then asks the bank.
    pub(super) async fn commit(ctx: &Context, lease: &Lease, mut moving: Moving<'_>) -> Result<Self, JobError> {
        let before = moving.payment.withdrawing_at.is_some();
        let since = payments::withdrawing(&mut moving.tx, moving.payment.id).await?;
        moving.audit("payment.withdrawing", json!({})).await?;
        Intent::Withdrawal(since).commit(ctx, lease, moving).await?;
        Ok(Self { before, since })
    }

    /// What the bank's answer means after it. Some banks forget what was withdrawn: of an order that one has had and does
    /// not know any more, an earlier withdrawal may have been the end, although its own answer is lost.
    pub(super) fn understood(self, answer: Withdrawal) -> Withdrawal {
        match answer {
            Withdrawal::Gone if self.before => Withdrawal::Forgotten,
            Withdrawal::NotTaken if self.before => Withdrawal::Unknown,
            answer => answer,
        }
    }

    /// The bank's answer is being written: where nothing is withdrawn for certain, no later word of the bank's is explained
    /// by that something was about to be.
    pub(super) async fn answered(self, moving: &mut Moving<'_>, answer: &Withdrawal) -> Result<(), JobError> {
        let (tx, id) = (&mut moving.tx, moving.payment.id);
        match answer {
            Withdrawal::Refused { .. } | Withdrawal::Gone | Withdrawal::NotTaken => {
                payments::not_withdrawing(tx, id, self.since).await?;
            }
            Withdrawal::NotAsked if !self.before => payments::not_withdrawing(tx, id, self.since).await?,
            // Anything but another "no such order" ends the time for which the bank has known none.
            Withdrawal::Unknown => payments::is_known(tx, id, OVER_AFTER).await?,
            Withdrawal::Done | Withdrawal::Forgotten | Withdrawal::NotAsked => {}
        }
        Ok(())
    }
}

/// What the answer comes to, as the payment is now. That the bank has forgotten the order is believed once it has been so for
/// a while, and never of one that the bank has accepted. `is_doubtful`: something happened to the payment meanwhile, such as
/// that its person came back, or the bank knew the order a moment before.
pub(super) async fn weighed(
    moving: &mut Moving<'_>,
    answer: &Withdrawal,
    is_doubtful: bool,
) -> Result<Withdrawal, JobError> {
    Ok(match answer {
        Withdrawal::Forgotten if is_doubtful || !moving.payment.state.is_early() => Withdrawal::Unknown,
        Withdrawal::Forgotten if payments::forgotten(&mut moving.tx, moving.payment.id, FORGOTTEN_FOR).await? => {
            Withdrawal::Done
        }
        answer => answer.clone(),
    })
}

/// The bank has said this of an order that nobody asked it to withdraw just now. If it lives, an earlier withdrawal whose
/// answer was lost has done nothing.
pub(super) async fn heard(moving: &mut Moving<'_>, code: &str) -> Result<(), JobError> {
    let payment = &moving.payment;
    let is_marked = payment.withdrawing_at.is_some() && payment.withdrawn_at.is_none();
    let lives = code.parse().is_ok_and(|code: BankStatus| code != BankStatus::Cancelled);
    if is_marked && lives {
        payments::is_known(&mut moving.tx, payment.id, OVER_AFTER).await?;
    }
    Ok(())
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
        && payment.withdrawing_at.is_some()
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
