//! First logins that meet.

use drop_tests::app::{TestApp, eventually};

/// Runs this until at least so many first logins have come as far as the user's row, where each waits for the others; only
/// then they go on, and this to its end.
pub(super) async fn meeting<T>(app: &TestApp, logins: i64, run: impl Future<Output = T>) -> T {
    sqlx::raw_sql(
        "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END';
         CREATE TRIGGER hold BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION hold()",
    )
    .execute(&app.db)
    .await
    .unwrap();
    let mut holding = app.db.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(1)")
        .execute(&mut *holding)
        .await
        .unwrap();
    let all_wait = async || {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
              WHERE datname = current_database() AND (wait_event_type, wait_event) = ('Lock', 'advisory')",
        )
        .fetch_one(&app.db)
        .await
        .unwrap();
        waiting >= logins
    };
    let let_go = async {
        assert!(eventually(all_wait).await, "they do not meet");
        holding.commit().await.unwrap();
    };
    tokio::join!(run, let_go).0
}
