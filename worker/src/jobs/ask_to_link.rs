//! Asks a person to link their bank again whose consent died while they were linking one, unless that one has taken its
//! accounts over by now. It may have been rejected meanwhile, or be another bank's.

use std::sync::Arc;

use drop_common::{
    queue::{AfterCommit, Handler, JobError, Lease, Outcome, Verdict, payloads::AskToLink},
    storage::{StorageError, Tx, consents, users},
};

use super::consent_moves::{self, LINKING};
use crate::context::Context;

impl Handler<Context> for AskToLink {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let mut tx = lease.begin(&ctx.db).await?;
        let Some(owner) = consents::owner(&mut tx, self.consent).await? else {
            return Ok(lease.finish(tx, Outcome::Done).await?.into());
        };
        // Ordered with a consent of theirs that becomes valid: it has taken the accounts over, or finds this said.
        users::lock_kyc_status(&mut tx, owner).await?;
        let outcome = if consents::is_linking(&mut tx, owner, LINKING).await? {
            Outcome::Wait(LINKING)
        } else {
            consent_moves::ask_to_link(&mut tx, owner, self.consent).await?;
            Outcome::Done
        };
        Ok(lease.finish(tx, outcome).await?.into())
    }

    /// Asked once too often does less harm than never.
    async fn on_dead(&self, _context: &Context, tx: &mut Tx, _error: &str) -> Result<AfterCommit, StorageError> {
        if let Some(owner) = consents::owner(tx, self.consent).await? {
            consent_moves::ask_to_link(tx, owner, self.consent).await?;
        }
        Ok(AfterCommit::default())
    }
}
