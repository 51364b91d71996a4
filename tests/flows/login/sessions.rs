//! The session that a login opens.

use chrono::TimeDelta;
use drop_tests::app::TestApp;

#[tokio::test]
async fn a_session_is_audited_with_the_login_that_opened_it_and_the_request_that_asked() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let audited: Vec<(String, String, Option<String>, bool)> = sqlx::query_as(
        "SELECT action, 'usr_' || replace(user_id::text, '-', ''), detail ->> 'login', request_id IS NOT NULL
           FROM audit_log ORDER BY id",
    )
    .fetch_all(&app.db)
    .await
    .unwrap();
    let login: String = sqlx::query_scalar("SELECT object FROM audit_log WHERE action = 'login.succeeded'")
        .fetch_one(&app.db)
        .await
        .unwrap();
    let expected = [
        ("login.succeeded".to_owned(), anna.user.clone(), None, true),
        ("session.opened".to_owned(), anna.user.clone(), Some(login), true),
    ];
    assert_eq!(audited, expected);
    app.finish().await;
}

#[tokio::test]
async fn a_session_ends_by_the_databases_clock_whatever_a_process_takes_the_time_for() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let ends_in = async |minutes: i32| {
        sqlx::query("UPDATE sessions SET expires_at = clock_timestamp() + make_interval(mins => $1)")
            .bind(minutes)
            .execute(&app.db)
            .await
            .unwrap();
    };
    ends_in(5).await;
    app.misset_clock(TimeDelta::minutes(9)); // the token itself still has a minute
    assert_eq!(anna.get("/v1/transactions").await.status, 200);
    app.misset_clock(TimeDelta::minutes(-9));
    ends_in(-1).await;
    assert_eq!(anna.get("/v1/transactions").await.problem(), (401, "unauthenticated"));
    app.finish().await;
}
