//! What is committed before a call that must not be made twice.

use chrono::{DateTime, Utc};
use drop_common::{
    domain::bank_order::Authorisation,
    queue::{JobError, Lease},
    storage::{StorageError, payments},
};

use super::payment_moves::Moving;
use crate::{context::Context, recording};

/// What is written before a call.
#[derive(Clone, Copy)]
pub(super) enum Intent {
    /// The row of this attempt to tell the bank.
    Attempt(i64),
    /// That the approval is being started.
    Authorisation,
    /// That the order is about to be withdrawn, since then.
    Withdrawal(DateTime<Utc>),
}

impl Intent {
    /// Commits it. Where the commit's answer is lost, the intent is in the row or it is not, and no call was made yet: the
    /// look waits for the lost transaction's end, since both lock the job, and nobody else writes under this lease. So only
    /// a process that died leaves in doubt whether it called.
    pub(super) async fn commit(self, ctx: &Context, lease: &Lease, moving: Moving<'_>) -> Result<(), JobError> {
        let id = moving.payment.id;
        match moving.commit().await {
            Err(JobError::Storage(lost)) if lost.is_transient() => {
                let look = || async {
                    let mut moving = Moving::begin(ctx, lease, id).await?;
                    Ok(self.is_written(&mut moving).await?)
                };
                let is_written = recording::record(lease, look).await?;
                if is_written { Ok(()) } else { Err(lost.into()) }
            }
            committed => committed,
        }
    }

    async fn is_written(self, moving: &mut Moving<'_>) -> Result<bool, StorageError> {
        match self {
            Self::Attempt(attempt) => payments::is_under_way(&mut moving.tx, attempt).await,
            Self::Authorisation => Ok(moving.payment.authorisation == Some(Authorisation::Starting)),
            Self::Withdrawal(since) => Ok(moving.payment.withdrawing_at == Some(since)),
        }
    }
}
