//! A backup brings back whoever was erased after it was made, and the list that is kept beside it forgets them again.

use std::time::Duration;

use chrono::{DateTime, Utc};
use drop_tests::app::TestApp;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

use super::{BY, PROGRAM, anna_is_approved, count, does, dump};
use crate::{
    deployment::list_of_the_erased,
    ops::{ops, read},
    paying::{execute, value},
};

/// Does this where nobody is connected to the service's database.
async fn with_nobody_connected(app: &TestApp, statements: &[&str]) {
    let elsewhere = (*app.db.connect_options()).clone().database("postgres");
    let mut server: PgConnection = elsewhere.connect().await.unwrap();
    let (nobody, everybody) = (
        "ALTER DATABASE drop_test ALLOW_CONNECTIONS false",
        "ALTER DATABASE drop_test ALLOW_CONNECTIONS true",
    );
    let out = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'drop_test'";
    let all = [&[nobody, out], statements, &[everybody]].concat();
    for statement in all {
        let statement = AssertSqlSafe(statement.to_owned());
        sqlx::raw_sql(statement).execute(&mut server).await.unwrap();
    }
    server.close().await.unwrap();
    // A pool asks a connection whether it is still there once it was idle for a second.
    let idle = Duration::from_millis(1_100);
    tokio::time::timeout(idle, std::future::pending::<()>()).await.ok();
}

async fn back_up(app: &TestApp) {
    with_nobody_connected(app, &["CREATE DATABASE backup TEMPLATE drop_test"]).await;
}

/// The backup in place of the database, and the roles' way into it, which a copy does not have.
async fn restore(app: &TestApp) {
    with_nobody_connected(
        app,
        &["DROP DATABASE drop_test", "CREATE DATABASE drop_test TEMPLATE backup"],
    )
    .await;
    execute(app, &read(&ops("postgres/roles.sql"))).await;
}

/// The list as it is kept beside the backups: what runs every hour writes it.
async fn listed(app: &TestApp) -> String {
    let command = list_of_the_erased();
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let (listed, list) = app.operator(PROGRAM, &command).await;
    assert!(listed, "{list}");
    list
}

async fn erased_again(app: &TestApp, list: &str) -> (bool, String) {
    let file = std::env::temp_dir().join(format!("erased-{}.json", uuid::Uuid::now_v7()));
    std::fs::write(&file, list).unwrap();
    let name = file.to_str().unwrap();
    let again = app
        .operator(PROGRAM, &[&["users", "erase-again", name], &BY[..]].concat())
        .await;
    std::fs::remove_file(&file).unwrap();
    again
}

#[tokio::test]
async fn whoever_a_restored_backup_brings_back_is_forgotten_again_by_the_list_beside_it() {
    let app = TestApp::start_on_its_own_server().await;
    let anna = anna_is_approved(&app).await;
    let name: String = value(&app, "SELECT first_name FROM users").await;
    back_up(&app).await;

    does(&app, "erase", &anna.user).await;
    app.retain().await;
    app.start_worker().await;
    let later = app.signed_in("marko").await;
    app.stop_worker().await;
    does(&app, "erase", &later.user).await;
    let list = listed(&app).await;
    let of_anna = format!(
        "SELECT erased_at FROM users WHERE 'usr_' || replace(id::text, '-', '') = '{}'",
        anna.user
    );
    let then: DateTime<Utc> = value(&app, &of_anna).await;

    restore(&app).await;
    assert_eq!(anna.get("/v1/me").await.status, 200, "the backup brought her back");
    assert!(dump(&app, "public").await.contains(&name));
    let (succeeded, said) = erased_again(&app, &list).await;
    assert!(succeeded && said.contains("user.erased: 1"), "{said}");
    assert!(said.contains(&format!("there is no {}", later.user)), "{said}");
    assert_eq!(anna.get("/v1/me").await.problem(), (401, "unauthenticated"));
    let again: DateTime<Utc> = value(&app, &of_anna).await;
    assert_eq!(again, then, "she is kept no longer for it");
    app.retain().await;
    assert!(!dump(&app, "public").await.contains(&name) && dump(&app, "restricted").await.contains(&name));

    let (succeeded, said) = erased_again(&app, &list).await;
    assert!(succeeded && said.contains("user.erased: 0"), "{said}");
    app.run_jobs().await; // what was planned before the backup
    app.finish().await;
}

#[tokio::test]
async fn whoever_is_held_is_named_and_keeps_nobody_else_from_being_forgotten_again() {
    let app = TestApp::start().await;
    let (anna, marko) = (app.signed_in("anna").await, app.signed_in("marko").await);
    app.stop_worker().await;
    for person in [&anna, &marko] {
        does(&app, "erase", &person.user).await;
    }
    let list = listed(&app).await;
    execute(&app, "UPDATE users SET erased_at = NULL").await; // as a backup has them
    does(&app, "hold", &anna.user).await;
    let (succeeded, said) = erased_again(&app, &list).await;
    assert!(
        !succeeded && said.contains("user.erased: 1") && said.contains(&anna.user),
        "{said}"
    );
    let held = "users WHERE erased_at IS NULL AND held_at IS NOT NULL";
    assert_eq!(
        (
            count(&app, held).await,
            count(&app, "users WHERE erased_at IS NOT NULL").await
        ),
        (1, 1)
    );
    app.run_jobs().await; // what the worker planned before it was stopped
    app.finish().await;
}
