//! What was kept long enough goes, and of those who were erased what is still kept is moved apart. A program that ends, which
//! a timer starts, because its role in the database may do this and nothing else.

use std::fmt::Display;

use anyhow::bail;
use drop_common::{
    alerts,
    config::{DatabaseConfig, Environment},
    domain::ids::UserId,
    storage::{self, StorageError, retention},
    telemetry,
};
use sqlx::{Connection as _, PgConnection};

/// What one run did.
#[derive(Debug, Default)]
struct Swept {
    moved: u64,
    purged: i64,
    webhooks: i64,
    audit: i64,
    forgotten: u64,
    /// Steps that failed.
    failed: u64,
}

/// Does all that there is to do.
pub async fn retain(environment: &Environment) -> anyhow::Result<()> {
    let database = DatabaseConfig::alone(environment)?;
    let mut db = storage::connect_unhurried(&database.url).await?;
    // Without the turns of alerts, which its role does not see: nobody else tells what it tells.
    let swept = telemetry::telling_alerts(None, sweep(&mut db)).await?;
    tracing::info!(
        moved = swept.moved,
        purged = swept.purged,
        webhooks = swept.webhooks,
        audit = swept.audit,
        forgotten = swept.forgotten,
        failed = swept.failed,
        "what had been kept long enough is gone"
    );
    if swept.failed > 0 {
        bail!("steps that failed: {}; the alerts say which", swept.failed);
    }
    Ok(())
}

/// In short transactions: each call does a part.
async fn sweep(db: &mut PgConnection) -> Result<Swept, StorageError> {
    let mut swept = Swept::default();
    for user in swept.step("who is to be moved", retention::to_move(&mut *db).await)? {
        let moved = retention::move_erased(&mut *db, user).await;
        swept.moved += u64::from(swept.step(user, moved)?);
    }
    let purged = until_none(async || retention::purge(&mut *db).await).await;
    swept.purged = swept.step("records", purged)?;
    for user in swept.step("who is to be forgotten", retention::to_forget(&mut *db).await)? {
        let forgotten = forget(db, user).await;
        swept.forgotten += u64::from(swept.step(user, forgotten)?);
    }
    let webhooks = until_none(async || retention::empty_webhooks(&mut *db).await).await;
    swept.webhooks = swept.step("webhooks", webhooks)?;
    let audit = until_none(async || retention::prune_audit(&mut *db).await).await;
    swept.audit = swept.step("audit rows", audit)?;
    // People are told when this has not been for some hours: nobody else sees a timer that does not start.
    if swept.failed == 0 {
        retention::note_run(&mut *db).await?;
    }
    Ok(swept)
}

/// False: it was not their turn.
async fn forget(connection: &mut PgConnection, user: UserId) -> Result<bool, StorageError> {
    let mut tx = connection.begin().await?;
    let Some(applicants) = retention::forget(&mut *tx, user).await? else {
        return Ok(false);
    };
    // Before the commit, after which nothing here knows them: whoever dies between the two tells them again.
    for applicant in applicants {
        alerts::raise(&alerts::APPLICANT_TO_DELETE, applicant);
    }
    tx.commit().await?;
    Ok(true)
}

impl Swept {
    /// What a step did. One that fails is told, and the others go on, unless the database is away.
    fn step<T: Default>(&mut self, what: impl Display, done: Result<T, StorageError>) -> Result<T, StorageError> {
        match done {
            Err(error) if !error.is_away() => {
                self.failed += 1;
                alerts::raise(&alerts::RETENTION_FAILED, format_args!("{what}, {error}"));
                Ok(T::default())
            }
            done => done,
        }
    }
}

async fn until_none(mut part: impl AsyncFnMut() -> Result<i64, StorageError>) -> Result<i64, StorageError> {
    let mut all = 0;
    loop {
        match part().await? {
            0 => return Ok(all),
            done => all += done,
        }
    }
}
