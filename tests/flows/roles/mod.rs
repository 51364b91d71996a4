//! What each process may do in the database, and whose rows it sees. On servers of these tests' own: one that is given has no
//! roles of ours.

mod adopting;
mod catalogue;
mod migrating;
mod refused;

use std::collections::BTreeSet;

use drop_common::{domain::ids::UserId, storage};
use drop_tests::{app::TestApp, cluster::Role, database::TestDatabase};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::{
    ops::{files, ops, read},
    paying::{execute, pays, value},
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

/// Those under row-level security.
async fn policed_tables(app: &TestApp) -> BTreeSet<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relrowsecurity",
    )
    .fetch_all(&app.db)
    .await
    .unwrap();
    tables.into_iter().collect()
}

async fn rows(tx: &mut PgConnection, table: &str) -> sqlx::Result<i64> {
    let count = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query_scalar(count).fetch_one(tx).await
}

#[tokio::test]
async fn the_api_sees_the_rows_of_the_person_whom_its_transaction_is_about_and_nobody_elses() {
    let app = TestApp::start_on_its_own_server().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    pays(&anna, &account, "first").await;
    let other = app.signed_in("marko").await;
    // What has a short life may be gone, or was not asked for.
    execute(
        &app,
        "INSERT INTO kyc_sdk_tokens (id, user_id, level_name, request_id, status, failure)
         SELECT gen_random_uuid(), user_id, 'level', gen_random_uuid(), 'failed', 'test' FROM bank_accounts;
         INSERT INTO balance_refreshes (id, account_id, user_id, status, finished_at)
         SELECT gen_random_uuid(), id, user_id, 'done', now() FROM bank_accounts",
    )
    .await;
    let policed = policed_tables(&app).await;
    let expected = [
        "balance_refreshes",
        "bank_accounts",
        "bank_consents",
        "kyc_applicants",
        "kyc_sdk_tokens",
        "notifications",
        "payment_attempts",
        "screening_results",
        "transactions",
    ];
    assert_eq!(policed, expected.map(str::to_owned).into());
    let [anna, other] = [&anna, &other].map(|person| person.user.parse::<UserId>().unwrap());
    let (api, worker) = (app.pool_as(Role::Api).await, app.pool_as(Role::Worker).await);
    for table in &policed {
        let mut about = storage::begin_for(&api, anna).await.unwrap();
        assert!(
            rows(&mut about, table).await.unwrap() > 0,
            "no row of Anna's in {table}"
        );
        about.commit().await.unwrap();
        let mut about = storage::begin_for(&api, other).await.unwrap();
        assert_eq!(rows(&mut about, table).await.unwrap(), 0, "Anna's rows in {table}");
        about.commit().await.unwrap();
        let mut works = worker.acquire().await.unwrap();
        assert!(
            rows(&mut works, table).await.unwrap() > 0,
            "the worker sees nothing of {table}"
        );
    }
    api.close().await;
    worker.close().await;
    app.abandon().await;
}

#[tokio::test]
async fn a_statement_of_the_api_s_that_is_about_nobody_fails_in_place_of_finding_nothing() {
    let app = TestApp::start_on_its_own_server().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    pays(&anna, &account, "first").await;
    let anna = anna.user.parse::<UserId>().unwrap();
    let api = app.pool_as(Role::Api).await;
    // Before the connection has known any person, and after.
    for _ in 0..2 {
        for table in [
            "bank_accounts",
            "bank_consents",
            "kyc_applicants",
            "notifications",
            "payment_attempts",
            "transactions",
        ] {
            let mut connection = api.acquire().await.unwrap();
            let found = rows(&mut connection, table).await;
            assert!(found.is_err(), "{table}: {found:?}");
        }
        storage::begin_for(&api, anna).await.unwrap().commit().await.unwrap();
    }
    api.close().await;
    app.abandon().await;
}

#[tokio::test]
async fn whoever_comes_back_from_a_bank_with_what_nobody_knows_finds_nothing() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let nobody_s = Uuid::nil().simple();
    for path in [
        format!("/api/payments/callback?transaction=tx_{nobody_s}&state=x"),
        "/api/payments/callback?paymentId=unknown".to_owned(),
        format!("/api/consents/callback?consent=con_{nobody_s}&state=x"),
    ] {
        let answer = anna.get(&path).await;
        assert_eq!(answer.problem(), (404, "not_found"), "{path}");
    }
    app.finish().await;
}

/// The names in a line, between backticks.
fn names(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[tokio::test]
async fn whoever_only_looks_sees_nothing_of_a_person_but_what_the_table_of_retention_says() {
    let app = TestApp::start().await;
    let text = read(&ops("retention.md"));
    let of_a_person: BTreeSet<String> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .flat_map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
            let table = names(cells[0]).next().unwrap().to_owned();
            names(cells[1])
                .map(move |column| format!("look.{table}.{column}"))
                .collect::<Vec<_>>()
        })
        .collect();
    let shown: Vec<String> = sqlx::query_scalar(
        "SELECT format('look.%s.%s', table_name, column_name) FROM information_schema.columns WHERE table_schema = 'look'",
    )
    .fetch_all(&app.db)
    .await
    .unwrap();
    let shown: BTreeSet<String> = shown
        .into_iter()
        .filter(|column| of_a_person.contains(column))
        .collect();
    let said: BTreeSet<String> = text
        .lines()
        .filter(|line| line.starts_with("- `look."))
        .flat_map(names)
        .map(str::to_owned)
        .collect();
    assert_eq!(shown, said);
    app.finish().await;
}

#[tokio::test]
async fn whoever_only_looks_sees_what_checks_found_of_five_people_or_more_once_the_hour_is_over() {
    let app = TestApp::start().await;
    for (hours_ago, label, people, checks) in [(2, "MANY", 5, 1), (2, "FEW", 4, 1), (2, "ONE", 1, 6), (0, "NOW", 5, 1)]
    {
        // Whose they are, and which events, does not matter here.
        let found = format!(
            "SET session_replication_role = replica;
             INSERT INTO screening_results (id, user_id, screening_type, result, webhook_event_id, applicant_id, reject_labels,
                    provider_at, created_at)
             SELECT gen_random_uuid(), person.id, 'kyc', 'rejected', gen_random_uuid(), 'applicant', ARRAY['{label}'],
                    clock_timestamp(), clock_timestamp() - interval '{hours_ago} hours'
               FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, {people})) person, generate_series(1, {checks});
             SET session_replication_role = origin"
        );
        execute(&app, &found).await;
    }
    let seen = "SELECT string_agg(reject_labels[1] || ' ' || checks, ', ') FROM look.screening_results";
    assert_eq!(value::<String>(&app, seen).await, "MANY 5");
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
