//! What is kept of somebody is read only after it is noted for good who reads it, and why.

use drop_common::domain::ids::UserId;
use drop_tests::{app::TestApp, cluster::Role};
use sqlx::PgConnection;

use super::{anna_is_approved, count, does};
use crate::paying::{audited, execute};

async fn note(db: &mut PgConnection, user: UserId) -> i64 {
    sqlx::query_scalar("SELECT restricted.note_reading($1, 'kari', 'ticket 4711')")
        .bind(user.uuid())
        .fetch_one(db)
        .await
        .unwrap()
}

/// How many records the note opens; or the refusal's code.
async fn read(db: &mut PgConnection, note: i64) -> Result<usize, Option<String>> {
    let read = sqlx::query("SELECT * FROM restricted.read($1)")
        .bind(note)
        .fetch_all(db)
        .await;
    read.map(|records| records.len()).map_err(|error| {
        let refused = error.into_database_error().unwrap();
        refused.code().map(std::borrow::Cow::into_owned)
    })
}

#[tokio::test]
async fn nothing_is_read_that_whoever_reads_it_could_still_make_unnoted() {
    let app = TestApp::start().await;
    let anna = anna_is_approved(&app).await;
    does(&app, "erase", &anna.user).await;
    app.retain().await;
    let kept = usize::try_from(count(&app, "restricted.records").await).unwrap();
    assert!(kept > 0);
    let (retention, user) = (app.pool_as(Role::Retention).await, anna.user.parse().unwrap());
    let not_allowed = Err(Some("42501".to_owned()));

    let mut taken_back = retention.begin().await.unwrap();
    let noted = note(&mut taken_back, user).await;
    assert_eq!(read(&mut taken_back, noted).await, not_allowed);
    taken_back.rollback().await.unwrap();
    let mut taken_back = retention.begin().await.unwrap();
    sqlx::query("SAVEPOINT a_part").execute(&mut *taken_back).await.unwrap();
    let noted = note(&mut taken_back, user).await;
    sqlx::query("RELEASE a_part").execute(&mut *taken_back).await.unwrap();
    assert_eq!(read(&mut taken_back, noted).await, not_allowed);
    taken_back.rollback().await.unwrap();
    assert_eq!(audited(&app, "restricted.read").await, 0);

    let mut connection = retention.acquire().await.unwrap();
    let noted = note(&mut connection, user).await;
    assert_eq!(read(&mut connection, noted).await, Ok(kept));
    assert_eq!(audited(&app, "restricted.read").await, 1);
    execute(
        &app,
        "ALTER TABLE audit_log DISABLE TRIGGER USER; UPDATE audit_log SET at = at - interval '6 minutes'",
    )
    .await;
    assert_eq!(read(&mut connection, noted).await, not_allowed, "a note is for now");
    drop(connection);
    retention.close().await;
    app.finish().await;
}
