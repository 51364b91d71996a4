//! What was kept long enough goes, and of those who were erased what is still kept is moved apart. A program that ends, which
//! a timer starts, because its role in the database may do this and nothing else.

use drop_common::{
    alerts,
    config::{DatabaseConfig, Environment},
    storage::{StorageError, retention},
};
use sqlx::PgPool;

use crate::run::pool;

/// What one run did.
#[derive(Debug, Default)]
struct Swept {
    moved: u64,
    purged: i64,
    webhooks: i64,
    audit: i64,
    forgotten: u64,
}

/// Does all that there is to do.
pub async fn retain(environment: &Environment) -> anyhow::Result<()> {
    let db = pool(&DatabaseConfig::alone(environment)?)?;
    let swept = sweep(&db).await?;
    tracing::info!(
        moved = swept.moved,
        purged = swept.purged,
        webhooks = swept.webhooks,
        audit = swept.audit,
        forgotten = swept.forgotten,
        "what had been kept long enough is gone"
    );
    Ok(())
}

/// In short transactions: each call does a part.
async fn sweep(db: &PgPool) -> Result<Swept, StorageError> {
    let mut swept = Swept::default();
    while retention::move_erased(db).await?.is_some() {
        swept.moved += 1;
    }
    swept.purged = until_none(async || retention::purge(db).await).await?;
    while let Some(applicants) = retention::forget(db).await? {
        swept.forgotten += 1;
        for applicant in applicants {
            alerts::raise(&alerts::APPLICANT_TO_DELETE, applicant);
        }
    }
    swept.webhooks = until_none(async || retention::empty_webhooks(db).await).await?;
    swept.audit = until_none(async || retention::prune_audit(db).await).await?;
    Ok(swept)
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
