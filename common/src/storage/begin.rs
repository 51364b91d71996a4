//! The one way to begin a unit of work.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::future::BoxFuture;
use sqlx::{AssertSqlSafe, PgPool, SqlSafeStr, SqlStr};
use tokio::runtime::Handle;

use super::{StorageError, Tx, silence::LAST_ANSWER};
use crate::domain::ids::UserId;

/// Begins a unit of work.
pub async fn begin(db: &PgPool) -> Result<Tx, StorageError> {
    begin_with(db, "BEGIN".into_sql_str()).await
}

/// Begins a unit of work about one person. The API's role sees no other person's rows in it, and outside of one
/// no table of people's rows answers: row-level security, behind the conditions of the statements themselves.
pub async fn begin_for(db: &PgPool, user: UserId) -> Result<Tx, StorageError> {
    // One round trip; a UUID is safe to write into it.
    let begin = format!("BEGIN; SET LOCAL app.user_id = '{}'", user.uuid());
    begin_with(db, AssertSqlSafe(begin).into_sql_str()).await
}

/// As `Pool::begin_with` does it, in its two steps: whoever is gone while they wait for a connection waits no more.
async fn begin_with(db: &PgPool, statement: SqlStr) -> Result<Tx, StorageError> {
    let connection = db.acquire().await?;
    Ok(Beginning(Some(Tx::begin(connection, Some(statement)))).await?)
}

/// A transaction that is about to begin.
///
/// Whoever waits for it may be gone at any moment: a client that leaves, a job whose time is over. Of a `BEGIN` that was sent
/// and whose answer nobody reads, sqlx forgets that it was sent: the connection goes back to the pool within a transaction. What
/// the next one writes by itself would be reported as written, and rolled back later. So this one goes on without whoever
/// waited for it, to its end, where it is rolled back. A server that does not answer in time is not there any more; the pool, to
/// which the connection goes back, finds that out.
struct Beginning(Option<BoxFuture<'static, sqlx::Result<Tx>>>);

impl Future for Beginning {
    type Output = sqlx::Result<Tx>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let underway = self.0.as_mut().expect("it is not polled after its end");
        let begun = ready!(underway.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(begun)
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        // Without a runtime the process ends, and its connections with it.
        if let (Some(underway), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(LAST_ANSWER, underway));
        }
    }
}
