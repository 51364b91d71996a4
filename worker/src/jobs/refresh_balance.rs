//! Reads one balance because its owner asked. Without their address it is one of the four unattended reads.

use std::{sync::Arc, time::Duration};

use drop_common::{
    domain::ids::RefreshId,
    queue::{AfterCommit, Handler, JobError, Lease, Outcome, Verdict, payloads::RefreshBalance},
    resilience::backoff,
    storage::{
        StorageError, Tx,
        balance_reads::{self, Why},
    },
};

use super::balance_read::{self, Asked, Recorded};
use crate::{context::Context, recording};

/// How long to wait for another read of the account to end.
const BUSY: Duration = Duration::from_secs(1);

impl Handler<Context> for RefreshBalance {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let Some(refresh) = balance_reads::refresh(&ctx.db, self.refresh).await? else {
            return Ok(Outcome::Done.into());
        };
        let psu = ctx.psu(refresh.psu_ip.as_deref());
        let asked = balance_read::ask(&ctx, &lease, refresh.account, psu, Why::OwnerAsked).await?;
        let (verdict, after) = recording::record(&lease, || write(&ctx, &lease, self.refresh, &asked)).await?;
        after.say();
        ctx.tell_waiters(self.refresh.uuid()).await;
        Ok(verdict)
    }

    async fn on_dead(&self, _context: &Context, tx: &mut Tx, _error: &str) -> Result<AfterCommit, StorageError> {
        balance_reads::finish_refresh(tx, self.refresh, false).await?;
        Ok(AfterCommit::default())
    }
}

async fn write(
    ctx: &Context,
    lease: &Lease,
    refresh: RefreshId,
    asked: &Asked,
) -> Result<(Verdict, AfterCommit), JobError> {
    let mut tx = lease.begin(&ctx.db).await?;
    let Recorded { fresh, after } = match asked {
        Asked::Answered(answered) => answered.record(&mut tx, lease).await?,
        Asked::NotLive | Asked::Full(_) => Recorded {
            fresh: false,
            after: AfterCommit::default(),
        },
        Asked::Busy => return wait(lease, tx, backoff::jittered(BUSY)).await,
        Asked::CutOff(until_then) => return wait(lease, tx, *until_then).await,
    };
    balance_reads::finish_refresh(&mut tx, refresh, fresh).await?;
    Ok((lease.finish(tx, Outcome::Done).await?.into(), after))
}

async fn wait(lease: &Lease, tx: Tx, time: Duration) -> Result<(Verdict, AfterCommit), JobError> {
    let recorded = lease.finish(tx, Outcome::Wait(time)).await?;
    Ok((recorded.into(), AfterCommit::default()))
}
