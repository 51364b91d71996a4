//! Deleting what is done. Dead jobs stay until an operator decides.

use sqlx::PgPool;

use crate::storage::StorageError;

/// Deletes jobs that were done more than 7 days ago, in short transactions. Returns how many.
pub async fn prune(db: &PgPool) -> Result<u64, StorageError> {
    let mut deleted = 0;
    loop {
        let batch = sqlx::query!(
            "DELETE FROM jobs WHERE id = ANY (ARRAY(
               SELECT id FROM jobs WHERE state = 'done' AND finished_at < clock_timestamp() - interval '7 days'
                ORDER BY finished_at LIMIT 5000 FOR UPDATE SKIP LOCKED))"
        )
        .execute(db)
        .await?
        .rows_affected();
        deleted += batch;
        if batch == 0 {
            return Ok(deleted);
        }
    }
}
