//! That an order is about to be withdrawn: committed before the withdrawal leaves, so that the bank's next word is understood
//! whatever becomes of this process.

use drop_common::{queue::JobError, storage::payments};

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
