//! What each process may do in the database, and whose rows it sees. On servers of these tests' own: one that is given has no
//! roles of ours.

mod catalogue;
mod refused;

use std::collections::BTreeSet;

use drop_common::{domain::ids::UserId, storage};
use drop_tests::{app::TestApp, cluster::Role, database::TestDatabase};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::{
    ops::{files, read},
    paying::pays,
};

#[tokio::test]
async fn each_part_of_the_service_is_its_own_role() {
    let app = TestApp::start_on_its_own_server().await;
    app.signed_in("anna").await;
    let connected: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT usename::text FROM pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename <> current_user ORDER BY 1",
    )
    .fetch_all(&app.db)
    .await
    .unwrap();
    assert_eq!(connected, [Role::Api.name(), Role::Worker.name()]);
    app.finish().await;
}

/// The tables whose rows are somebody's and which the API reads.
async fn tables_of_people(app: &TestApp) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
          WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attname = 'user_id'
            AND has_any_column_privilege('drop_api', c.oid, 'SELECT') ORDER BY 1",
    )
    .fetch_all(&app.db)
    .await
    .unwrap()
}

#[tokio::test]
async fn the_api_sees_the_rows_of_the_person_whom_its_transaction_is_about_and_nobody_elses() {
    let app = TestApp::start_on_its_own_server().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    pays(&anna, &account, "first").await;
    let other = app.signed_in("marko").await;
    let [anna, other] = [&anna, &other].map(|person| person.user.parse::<UserId>().unwrap());
    let api = app.pool_as(Role::Api).await;

    let (mut seen, mut open) = (BTreeSet::new(), BTreeSet::new());
    for table in tables_of_people(&app).await {
        let of = async |user: Option<UserId>| -> i64 {
            let mut tx = match user {
                Some(user) => storage::begin_for(&api, user).await.unwrap(),
                None => api.begin().await.unwrap(),
            };
            let count = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
            sqlx::query_scalar(count).fetch_one(&mut *tx).await.unwrap()
        };
        if of(None).await > 0 {
            open.insert(table);
        } else if of(Some(anna)).await > 0 {
            assert_eq!(of(Some(other)).await, 0, "Anna's rows in {table}");
            seen.insert(table);
        }
    }
    // Found by what somebody proves, before it is known who they are.
    assert_eq!(open, BTreeSet::from(["logins", "sessions"].map(str::to_owned)));
    for table in [
        "bank_accounts",
        "bank_consents",
        "kyc_applicants",
        "notifications",
        "transactions",
    ] {
        assert!(seen.contains(table), "no row of Anna's in {table}");
    }
    api.close().await;
    app.abandon().await;
}

#[tokio::test]
async fn every_table_of_people_that_the_api_reads_has_row_level_security_or_is_found_by_a_proof() {
    let app = TestApp::start_on_its_own_server().await;
    let mut open: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND NOT relrowsecurity",
    )
    .fetch_all(&app.db)
    .await
    .unwrap();
    let of_people = tables_of_people(&app).await;
    open.retain(|table| of_people.contains(table));
    open.sort();
    assert_eq!(open, ["logins", "sessions"]);
    app.finish().await;
}

#[tokio::test]
async fn whoever_only_looks_can_ask_everything_that_the_runbooks_ask() {
    let database = TestDatabase::on_its_own_server().await;
    let looking = database.pool_as(Role::ReadOnly).await;
    let mut asked = 0;
    for file in [files("runbooks", "md"), files("runbooks/raised", "md")].concat() {
        for block in read(&file).split("```sql\n").skip(1) {
            let sql = block.split("```").next().unwrap_or_default();
            let sql = sql.replace("<uuid of con_…>", &Uuid::nil().to_string());
            let answer = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&looking).await;
            assert!(answer.is_ok(), "{}: {answer:?}", file.display());
            asked += 1;
        }
    }
    assert!(asked > 10, "{asked}");
    looking.close().await;
    database.remove().await;
}
