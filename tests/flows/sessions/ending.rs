//! What the end of a session ends.

use chrono::TimeDelta;
use drop_tests::app::{TestApp, eventually};

use super::{endings, live, me, over, refresh};
use crate::paying::{pays_later, value};

#[tokio::test]
async fn a_payment_that_was_under_way_is_not_accepted_after_the_person_logged_out_everywhere() {
    let app = TestApp::start().await;
    let (mut browser, login) = app.logged_in_browser("anna").await;
    let anna = app.person(&login);
    let account = anna.has_an_account().await;
    // Another of Anna's requests holds the lock that a payment takes first; the session was found live by then.
    let mut other = app.db.begin().await.unwrap();
    sqlx::query("SELECT FROM users FOR NO KEY UPDATE")
        .execute(&mut *other)
        .await
        .unwrap();
    let ended = async {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        assert!(eventually(async || value::<i64>(&app, waits).await == 1).await);
        let ended = browser.delete("/v1/sessions").await;
        other.commit().await.unwrap();
        ended
    };
    let (paid, ended) = tokio::join!(pays_later(&anna, &account, "late"), ended);
    assert_eq!((paid.problem(), ended.status.as_u16()), ((401, "unauthenticated"), 204));
    assert_eq!(value::<i64>(&app, "SELECT count(*) FROM transactions").await, 0);
    app.finish().await;
}

#[tokio::test]
async fn a_login_ends_the_session_that_its_browser_had_and_no_other() {
    let app = TestApp::start().await;
    let (mut elsewhere, _) = app.logged_in_browser("anna").await;
    let (mut browser, _) = app.logged_in_browser("anna").await;
    for person in ["anna", "marko"] {
        let mut before = app.browser();
        before.cookies = browser.cookies.clone();
        // Whoever comes back after a break has an access token that is over.
        app.advance(TimeDelta::minutes(30)).await;
        app.logs_in_with(&mut browser, person).await;
        assert_eq!(refresh(&mut before).await.problem(), (401, "unauthenticated"));
        assert_eq!(me(&mut before).await, over());
        assert_eq!(me(&mut browser).await, live());
        assert_eq!(refresh(&mut elsewhere).await.status, 200);
    }
    assert_eq!(endings(&app).await, ["replaced"; 2]);
    app.finish().await;
}
