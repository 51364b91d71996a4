//! Deleting what is done. Dead jobs stay until an operator decides.

use sqlx::PgPool;

use super::sql;
use crate::storage::StorageError;

/// Deletes jobs that were done more than 7 days ago, in short transactions. Returns how many.
pub async fn prune(db: &PgPool) -> Result<u64, StorageError> {
    let mut deleted = 0;
    loop {
        let batch = sql::prune(db).await?;
        deleted += batch;
        if batch == 0 {
            return Ok(deleted);
        }
    }
}
