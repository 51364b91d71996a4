//! People who want to be forgotten, legal holds, and what is kept of those who are gone.

use anyhow::{Context as _, bail};
use clap::Subcommand;
use drop_common::{
    domain::{
        consent::ConsentStatus,
        ids::{ConsentId, UserId},
    },
    queue::{self, payloads::EndConsent},
    storage::{
        Tx, aml_cases,
        audit::{self, Actor, Entry},
        consents::{self, Unlinking},
        erasure, retention,
    },
};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{By, print};

/// What is done with people.
#[derive(Debug, Subcommand)]
pub enum UsersVerb {
    /// Forget a person: nobody gets in as them any more, their banks' access ends, and what no law needs is deleted. Payments
    /// that are under way go on to their end.
    Erase {
        /// The person, `usr_…`.
        id: UserId,
        #[command(flatten)]
        by: By,
    },
    /// Place a legal hold: nothing of this person is deleted until it is lifted.
    Hold {
        /// The person, `usr_…`.
        id: UserId,
        #[command(flatten)]
        by: By,
    },
    /// Lift a legal hold.
    Release {
        /// The person, `usr_…`.
        id: UserId,
        #[command(flatten)]
        by: By,
    },
    /// Show what is kept of a person who was erased, as JSON. Needs the database's address as the retention's role has it.
    Kept {
        /// The person, `usr_…`.
        id: UserId,
        #[command(flatten)]
        by: By,
    },
}

pub(super) async fn operate(db: &PgPool, verb: UsersVerb) -> anyhow::Result<()> {
    match verb {
        UsersVerb::Erase { id, by } => erase(db, id, &by).await,
        UsersVerb::Hold { id, by } => hold(db, id, true, &by).await,
        UsersVerb::Release { id, by } => hold(db, id, false, &by).await,
        UsersVerb::Kept { id, by } => print::kept(retention::read(db, id, &by.operator, &by.reason).await?),
    }
}

async fn erase(db: &PgPool, user: UserId, by: &By) -> anyhow::Result<()> {
    let mut tx = db.begin().await?;
    let standing = erasure::lock(&mut tx, user).await?;
    let standing = standing.with_context(|| format!("there is no {user}; nothing was changed"))?;
    if standing.held {
        bail!("{user} is on legal hold, which is to be lifted first; nothing was changed");
    }
    let open = aml_cases::open_of(&mut tx, user).await?;
    if standing.erased {
        print::changed(0, "user.erased"); // as after a restore: whoever repeats the list need not know where it ended
        print::open_cases(&open);
        return Ok(());
    }
    for consent in erasure::consents(&mut tx, user).await? {
        unlink(&mut tx, user, consent, by).await?;
    }
    erasure::erase(&mut tx, user).await?;
    record(&mut tx, user, "user.erased", user.to_string(), by, &json!({})).await?;
    tx.commit().await?;
    print::changed(1, "user.erased");
    print::open_cases(&open);
    Ok(())
}

/// As its owner would; the bank is told by a job.
async fn unlink(tx: &mut Tx, user: UserId, consent: ConsentId, by: &By) -> anyhow::Result<()> {
    if let Some(Unlinking::Ended(was)) = consents::end(tx, user, consent).await? {
        let from = json!({ "from": was.as_str() });
        record(tx, user, "consent.unlinked", consent.to_string(), by, &from).await?;
        if was != ConsentStatus::Requested {
            queue::enqueue(tx, &EndConsent { consent }).await?;
        }
    }
    Ok(())
}

async fn hold(db: &PgPool, user: UserId, held: bool, by: &By) -> anyhow::Result<()> {
    let mut tx = db.begin().await?;
    if !erasure::hold(&mut tx, user, held).await? {
        bail!("{user} is so already, or there is nobody of this id; nothing was changed");
    }
    let action = if held { "user.held" } else { "user.released" };
    record(&mut tx, user, action, user.to_string(), by, &json!({})).await?;
    tx.commit().await?;
    print::changed(1, action);
    Ok(())
}

async fn record(tx: &mut Tx, user: UserId, action: &str, object: String, by: &By, more: &Value) -> anyhow::Result<()> {
    let mut detail = json!({ "operator": by.operator, "reason": by.reason });
    if let (Some(detail), Some(more)) = (detail.as_object_mut(), more.as_object()) {
        detail.extend(more.clone());
    }
    let entry = Entry {
        actor: Actor::Operator,
        user: Some(user),
        action,
        object,
        detail,
        request_id: None,
    };
    Ok(audit::record(tx, entry).await?)
}
