//! Sessions after the login: refreshing, listing and ending them.

mod ending;
mod limits;
mod refreshing;

use chrono::TimeDelta;
use drop_sandbox::{Fault, Operation};
use drop_tests::{app::TestApp, person::Answer, web::Browser};
use serde_json::json;

const REFRESH: &str = "/v1/auth/refresh";
const REFRESH_COOKIE: &str = "drop_refresh";
const SESSION_COOKIE: &str = "drop_session";

async fn refresh(browser: &mut Browser) -> Answer {
    browser.post(REFRESH, &json!({})).await
}

async fn me(browser: &mut Browser) -> (u16, String) {
    let answer = browser.get("/v1/me").await;
    (answer.status.as_u16(), answer.problem().1.to_owned())
}

fn over() -> (u16, String) {
    (401, "unauthenticated".to_owned())
}

fn live() -> (u16, String) {
    (200, String::new())
}

/// What the audit log says of sessions that ended, oldest first.
async fn endings(app: &TestApp) -> Vec<String> {
    sqlx::query_scalar("SELECT detail ->> 'because' FROM audit_log WHERE action = 'session.revoked' ORDER BY id")
        .fetch_all(&app.db)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_browser_has_its_tokens_as_cookies_and_no_script_can_read_the_refresh_token() {
    let app = TestApp::start().await;
    let (mut anna, login) = app.logged_in_browser("anna").await;
    assert!(login.body.get("refreshToken").is_none());
    assert_eq!(anna.attributes[SESSION_COOKIE], "HttpOnly; SameSite=Lax; Path=/");
    assert_eq!(anna.attributes[REFRESH_COOKIE], "HttpOnly; SameSite=Strict; Path=/");
    let me = anna.get("/v1/me").await;
    assert_eq!(me.status, 200);
    assert_eq!(me.body, login.body["user"]);
    let refreshed = refresh(&mut anna).await;
    assert_eq!(refreshed.status, 200);
    assert!(refreshed.body.get("refreshToken").is_none());
    app.finish().await;
}

#[tokio::test]
async fn no_usable_token_is_in_the_database() {
    let app = TestApp::start().await;
    let (mut anna, _) = app.logged_in_browser("anna").await;
    let mut tokens: Vec<String> = anna.cookies.values().cloned().collect();
    assert_eq!(refresh(&mut anna).await.status, 200);
    tokens.extend(anna.cookies.values().cloned());
    assert_eq!(tokens.len(), 4);
    let mut searched = 0;
    let tables: Vec<String> = sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
        .fetch_all(&app.db)
        .await
        .unwrap();
    for table in tables {
        let rows = sqlx::AssertSqlSafe(format!("SELECT t::text FROM \"{table}\" t"));
        let rows: Vec<String> = sqlx::query_scalar(rows).fetch_all(&app.db).await.unwrap();
        for row in rows {
            searched += 1;
            for token in &tokens {
                // A bytea is shown in hex.
                let hex = token
                    .bytes()
                    .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
                assert!(!row.contains(token) && !row.contains(&hex), "a token is in {table}");
            }
        }
    }
    assert!(searched > 10, "{searched} rows");
    app.finish().await;
}

#[tokio::test]
async fn an_outage_of_bankid_ends_no_session() {
    let app = TestApp::start().await;
    let (mut anna, _) = app.logged_in_browser("anna").await;
    for operation in [Operation::BankidToken, Operation::BankidCerts] {
        app.sandbox.faults().add(operation, Fault::status(503), None);
    }
    assert_eq!(app.log_in("marko").await.problem(), (502, "token_exchange_failed"));
    app.advance(TimeDelta::minutes(11)).await;
    assert_eq!(refresh(&mut anna).await.status, 200);
    assert_eq!(me(&mut anna).await, live());
    app.finish().await;
}
