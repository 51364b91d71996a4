//! A consent's last days: its owner is asked in time to renew it, and after the last one it is not used any more.

use drop_common::{
    domain::{age::today_in_oslo, consent::RENEWAL_NOTICE},
    queue::{JobError, Lease},
    storage::{
        audit::Actor,
        consents,
        notifications::{self, Message},
        schedule,
    },
};

use super::consent_moves;
use crate::context::Context;

/// How many consents one transaction takes.
const BATCH: i64 = 100;

/// Ends what is over, and asks for the renewal of what soon will be.
pub(super) async fn keep(ctx: &Context, lease: &Lease) -> Result<(), JobError> {
    let today = today_in_oslo(schedule::now(&ctx.db).await?);
    loop {
        let ended = consents::ended_before(&ctx.db, today, BATCH).await?;
        // One by one: each takes its owner's lock, and two owners' locks in one transaction could be taken the other way round.
        for consent in &ended {
            let mut tx = lease.begin(&ctx.db).await?;
            consent_moves::bury(&mut tx, lease, Actor::Worker, *consent, Some("LAST_DAY_OVER")).await?;
            tx.commit().await?;
        }
        let mut tx = lease.begin(&ctx.db).await?;
        let ending = consents::take_ending(&mut tx, today + RENEWAL_NOTICE, BATCH).await?;
        for (consent, user) in &ending {
            let message = Message {
                user: *user,
                kind: "consent",
                title: "Forny tilgangen til banken",
                body: "Tilgangen til kontoen din i banken går snart ut. Koble den til på nytt for fortsatt å se saldoen.",
                subject: format!("{consent}:renew"),
            };
            notifications::tell(&mut tx, message).await?;
        }
        tx.commit().await?;
        if ended.is_empty() && ending.is_empty() {
            return Ok(());
        }
    }
}
