//! `migrate` beside processes that serve, and on a server whose roles are not whole.

use std::collections::BTreeSet;

use drop_common::storage;
use drop_tests::{
    app::{TestApp, eventually},
    cluster::Role,
    database::TestDatabase,
};
use rstest::rstest;
use sqlx::AssertSqlSafe;

use super::adopting::keeps_asking;
use crate::paying::{execute, value};

const WITHOUT_ITS_POLICIES: &str = "ALTER TABLE notifications DISABLE ROW LEVEL SECURITY;
    DROP POLICY rows_of_its_person ON notifications; DROP POLICY every_row ON notifications";
const WITHOUT_A_MIGRATION: &str = "DELETE FROM _sqlx_migrations WHERE version = 20261125000039";

#[rstest]
#[case::a_migration(WITHOUT_A_MIGRATION, "look.kyc_applicants")]
#[case::a_policy(WITHOUT_ITS_POLICIES, "notifications")]
#[tokio::test]
async fn what_waits_for_a_long_transaction_lets_requests_pass_and_is_done_once_that_has_ended(
    #[case] before: &str,
    #[case] held: &str,
) {
    let app = TestApp::start_on_its_own_server().await;
    let anna = app.signed_in("anna").await;
    execute(&app, before).await;
    let mut reader = app.db.begin().await.unwrap();
    let reads = format!("SET LOCAL idle_in_transaction_session_timeout = 0; SELECT count(*) FROM {held}");
    sqlx::raw_sql(AssertSqlSafe(reads)).execute(&mut *reader).await.unwrap();

    let owner = app.pool_as(Role::Migrate).await;
    let mut waiting = BTreeSet::new();
    // Requests go on meanwhile; each try is a connection of its own.
    let watching = async {
        let tried_again = eventually(async || {
            let waits: Vec<i32> = value(
                &app,
                "SELECT coalesce(array_agg(pid), '{}') FROM pg_stat_activity
                  WHERE usename = 'drop_migrate' AND wait_event_type = 'Lock'",
            )
            .await;
            waiting.extend(waits);
            waiting.len() > 1
        });
        let tried_again = tokio::select! {
            tried_again = tried_again => tried_again,
            never = keeps_asking(&anna) => match never {},
        };
        reader.rollback().await.unwrap();
        tried_again
    };
    let (migrated, tried_again) = tokio::join!(storage::migrate(&owner), watching);
    migrated.unwrap();
    assert!(tried_again, "{waiting:?}");

    let applied: i64 = value(
        &app,
        "SELECT count(*) FROM _sqlx_migrations WHERE version = 20261125000039",
    )
    .await;
    let policies: i64 = value(
        &app,
        "SELECT count(*) FROM pg_policy WHERE polrelid = 'notifications'::regclass",
    )
    .await;
    assert_eq!((applied, policies), (1, 2));
    owner.close().await;
    app.finish().await;
}

#[tokio::test]
async fn roles_that_are_not_all_there_are_named_and_nothing_is_granted() {
    let database = TestDatabase::on_its_own_server().await;
    let owner = database.pool_as(Role::Migrate).await;
    for role in [Role::Api, Role::ReadOnly] {
        let rename = |from: &str, to: &str| AssertSqlSafe(format!("ALTER ROLE {from} RENAME TO {to}"));
        sqlx::query(rename(role.name(), "somebody"))
            .execute(&database.pool)
            .await
            .unwrap();
        let refused = storage::migrate(&owner).await.unwrap_err();
        let named = format!("there is no role {}: run ops/postgres/roles.sql", role.name());
        assert_eq!(refused.to_string(), named);
        sqlx::query(rename("somebody", role.name()))
            .execute(&database.pool)
            .await
            .unwrap();
    }
    storage::migrate(&owner).await.unwrap();
    owner.close().await;
    database.remove().await;
}
