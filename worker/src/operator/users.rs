//! People who want to be forgotten, legal holds, and what is kept of those who are gone.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use clap::Subcommand;
use drop_common::{
    config::OperatorRole,
    domain::{
        consent::ConsentStatus,
        ids::{ConsentId, UserId},
    },
    queue::{self, payloads::EndConsent},
    storage::{
        self, Tx, aml_cases,
        consents::{self, Unlinking},
        erasure::{self, Erased},
        retention,
    },
};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{By, Output, actions, answers, print};

/// What is done with people.
#[derive(Debug, Subcommand)]
pub enum UsersVerb {
    /// Show how somebody's identity check went, and their newest payments. Not who they are.
    Show {
        /// The person, `usr_…`.
        id: UserId,
        #[command(flatten)]
        output: Output,
    },
    /// Forget a person: nobody gets in as them any more, their banks' access ends, and what no law needs is deleted. Payments
    /// that are under way go on to their end.
    Erase {
        /// The person, `usr_…`.
        id: UserId,
        #[command(flatten)]
        by: By,
    },
    /// List those who were erased lately, and what keeps those whose records were not moved yet. As JSON it is what `erase-again`
    /// reads.
    Erased {
        /// In how many last days; as long as backups are kept.
        #[arg(long, default_value_t = 35)]
        days: i32,
        /// It is kept where a restore of the database leaves it alone: note that there is a new one. When there is none for three
        /// hours, somebody is told.
        #[arg(long, requires = "json")]
        note: bool,
        #[command(flatten)]
        output: Output,
    },
    /// After a restore: forget again whom the backup brought back, by a list that `erased --json` wrote.
    EraseAgain {
        /// The list, or `-` for the standard input.
        list: PathBuf,
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
        UsersVerb::Show { id, output } => {
            let told = answers::person_story(db, id, OperatorRole::Operator).await?;
            print::person(&told.with_context(|| format!("there is no {id}"))?, output.json)
        }
        UsersVerb::Erase { id, by } => erase(db, id, &by).await,
        UsersVerb::Erased { days, note, output } => {
            print::erased(&erasure::erased(db, days).await?, output.json)?;
            if note {
                erasure::note_listed(db).await?;
            }
            Ok(())
        }
        UsersVerb::EraseAgain { list, by } => erase_again(db, &list, &by).await,
        UsersVerb::Hold { id, by } => hold(db, id, true, &by).await,
        UsersVerb::Release { id, by } => hold(db, id, false, &by).await,
        UsersVerb::Kept { id, by } => print::kept(retention::read(db, id, &by.operator, &by.reason).await?),
    }
}

async fn erase(db: &PgPool, user: UserId, by: &By) -> anyhow::Result<()> {
    let mut tx = storage::begin(db).await?;
    let done = forget(&mut tx, user, None, by).await?;
    let open = aml_cases::open_of(&mut tx, user).await?;
    match done {
        Forgotten::Nobody => bail!("there is no {user}; nothing was changed"),
        Forgotten::Held => bail!("{user} is on legal hold, which is to be lifted first; nothing was changed"),
        Forgotten::Before => print::changed(0, "user.erased"),
        Forgotten::Now => {
            tx.commit().await?;
            print::changed(1, "user.erased");
        }
    }
    print::open_cases(&open);
    Ok(())
}

/// Each by themselves, so that one who cannot be forgotten keeps nobody else; to do it twice changes nothing.
async fn erase_again(db: &PgPool, list: &Path, by: &By) -> anyhow::Result<()> {
    let list = if list == Path::new("-") {
        std::io::read_to_string(std::io::stdin())?
    } else {
        std::fs::read_to_string(list).context("the list cannot be read")?
    };
    let list: Vec<Erased> = serde_json::from_str(&list).context("this is not what `users erased --json` writes")?;
    let (mut erased, mut held) = (0, Vec::new());
    for one in list {
        let user: UserId = one.user.parse()?;
        let mut tx = storage::begin(db).await?;
        match forget(&mut tx, user, Some(one.erased_at), by).await? {
            Forgotten::Now => erased += 1,
            Forgotten::Before => {}
            Forgotten::Nobody => print::unknown(user), // they came after the backup
            Forgotten::Held => held.push(one.user),
        }
        tx.commit().await?;
    }
    print::changed(erased, "user.erased");
    if !held.is_empty() {
        bail!("on legal hold, which is to be lifted first: {}", held.join(", "));
    }
    Ok(())
}

/// What became of somebody who is to be forgotten.
enum Forgotten {
    Now,
    /// As after a restore: whoever repeats the list need not know where it ended.
    Before,
    Held,
    Nobody,
}

async fn forget(tx: &mut Tx, user: UserId, at: Option<DateTime<Utc>>, by: &By) -> anyhow::Result<Forgotten> {
    let Some(standing) = erasure::lock(tx, user).await? else {
        return Ok(Forgotten::Nobody);
    };
    if standing.held {
        return Ok(Forgotten::Held);
    }
    if standing.erased {
        return Ok(Forgotten::Before);
    }
    for consent in erasure::consents(tx, user).await? {
        unlink(tx, user, consent, by).await?;
    }
    erasure::erase(tx, user, at).await?;
    actions::note(tx, by, Some(user), "user.erased", user.to_string(), Value::Null).await?;
    Ok(Forgotten::Now)
}

/// As its owner would; the bank is told by a job.
async fn unlink(tx: &mut Tx, user: UserId, consent: ConsentId, by: &By) -> anyhow::Result<()> {
    if let Some(Unlinking::Ended(was)) = consents::end(tx, user, consent).await? {
        let from = json!({ "from": was.as_str() });
        actions::note(tx, by, Some(user), "consent.unlinked", consent.to_string(), from).await?;
        if was != ConsentStatus::Requested {
            queue::enqueue(tx, &EndConsent { consent }).await?;
        }
    }
    Ok(())
}

async fn hold(db: &PgPool, user: UserId, held: bool, by: &By) -> anyhow::Result<()> {
    let mut tx = storage::begin(db).await?;
    if !erasure::hold(&mut tx, user, held).await? {
        bail!("{user} is so already, or there is nobody of this id; nothing was changed");
    }
    let action = if held { "user.held" } else { "user.released" };
    actions::note(&mut tx, by, Some(user), action, user.to_string(), Value::Null).await?;
    tx.commit().await?;
    print::changed(1, action);
    Ok(())
}
