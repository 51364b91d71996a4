//! Connections that die without a word: the database's host vanishes, or the network between swallows every packet.
//! Nothing is refused and nothing is closed, so that whoever waits for an answer would wait for ever.

use std::{future::Future, io, time::Duration};

use sqlx::{Connection, PgConnection};

use super::StorageError;

/// More than the statements of one transaction take, each within `statement_timeout`.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than `statement_timeout`: a statement that nobody waits for any more is answered within it.
pub(super) const LAST_ANSWER: Duration = Duration::from_secs(10);

/// Does work on the database, and gives it up as a lost connection when it takes longer than it can: every loop that
/// must go on for ever asks the database within this.
pub async fn patiently<T>(work: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
    tokio::time::timeout(PATIENCE, Box::pin(work)) // on the heap, for a transaction is large
        .await
        .unwrap_or_else(|_| Err(lost().into()))
}

/// Whether a connection that goes back to the pool still answers. The pool itself asks without a limit, and keeps the
/// connection's place meanwhile: a few that died silently would leave it without any.
pub(super) async fn answers(connection: &mut PgConnection) -> sqlx::Result<bool> {
    match tokio::time::timeout(LAST_ANSWER, connection.ping()).await {
        Ok(answer) => answer.map(|()| true),
        Err(_) => Err(lost()), // an error closes it without another word
    }
}

fn lost() -> sqlx::Error {
    sqlx::Error::Io(io::ErrorKind::TimedOut.into())
}
