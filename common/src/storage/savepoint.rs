//! A part of a transaction that may be taken back alone: what the database refuses in it does not fail the rest. Parts follow
//! one another; they do not nest.

use super::{StorageError, Tx};

/// Begins the part.
pub async fn begin(tx: &mut Tx) -> Result<(), StorageError> {
    run(tx, "SAVEPOINT part").await
}

/// The part stays.
pub async fn keep(tx: &mut Tx) -> Result<(), StorageError> {
    run(tx, "RELEASE SAVEPOINT part").await
}

/// The part was not.
pub async fn take_back(tx: &mut Tx) -> Result<(), StorageError> {
    run(tx, "ROLLBACK TO SAVEPOINT part").await?;
    keep(tx).await
}

async fn run(tx: &mut Tx, statement: &'static str) -> Result<(), StorageError> {
    sqlx::raw_sql(statement).execute(&mut **tx).await?;
    Ok(())
}
