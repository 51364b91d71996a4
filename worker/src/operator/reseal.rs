//! Seals anew what a replaced encryption key has sealed. Repeated, it goes on where it ended.

use anyhow::bail;
use clap::Args;
use drop_common::{
    config::{DatabaseConfig, Environment, KeysConfig},
    keyring::Keyring,
    storage::{
        self,
        reseal::{self, Column},
    },
};
use sqlx::PgPool;
use uuid::Uuid;

use super::print;

/// Which values are sealed anew.
#[derive(Debug, Args)]
pub struct Reseal {
    /// Only count what is left.
    #[arg(long, conflicts_with = "kept")]
    count: bool,
    /// What is kept apart of people who were erased. Needs the database's address as the retention's role has it.
    #[arg(long)]
    kept: bool,
}

pub(super) async fn operate(environment: &Environment, db: &PgPool, what: Reseal) -> anyhow::Result<()> {
    let keys = Keyring::from_config(&KeysConfig::alone(environment)?)?;
    if what.kept {
        let mut alone = storage::connect_unhurried(&DatabaseConfig::alone(environment)?.url).await?;
        let resealed = reseal::reseal_kept(&mut alone, &keys).await?;
        print::resealed(&[("restricted.records".to_owned(), resealed, 0)]);
        return Ok(());
    }
    let mut rows = Vec::new();
    for column in Column::ALL {
        let resealed = if what.count {
            0
        } else {
            reseal(db, &keys, column).await?
        };
        let mut unhurried = storage::connect_unhurried(&DatabaseConfig::alone(environment)?.url).await?;
        rows.push((
            column.place(),
            resealed,
            reseal::left(&mut unhurried, &keys, column).await?,
        ));
    }
    print::resealed(&rows);
    // For whoever waits for its end in a script.
    if rows.iter().any(|(_, _, left)| *left > 0) {
        bail!("some values are still sealed with another key");
    }
    Ok(())
}

async fn reseal(db: &PgPool, keys: &Keyring, column: Column) -> anyhow::Result<u64> {
    let (mut after, mut resealed) = (Uuid::nil(), 0);
    loop {
        let mut tx = storage::begin(db).await?;
        let batch = reseal::reseal(&mut tx, keys, column, after).await?;
        tx.commit().await?;
        resealed += batch.resealed;
        match batch.next {
            Some(next) => after = next,
            None => return Ok(resealed),
        }
    }
}
