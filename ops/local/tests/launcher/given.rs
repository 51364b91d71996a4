//! A run on a server that somebody has: nothing on it is different afterwards.
use drop_tests::cluster::Cluster;
use rstest::rstest;
use sqlx::{Connection, PgConnection};

use crate::launched::{Launched, Place};

#[rstest]
#[case::to_its_end(Vec::from(["demo"]), None, 0)]
#[case::interrupted(Vec::new(), Some("INT"), 130)]
#[tokio::test]
async fn a_given_server_is_afterwards_as_it_was(
    #[case] arguments: Vec<&str>,
    #[case] signal: Option<&str>,
    #[case] code: i32,
) {
    let place = Place::new(); // first: another run on the same server would be a difference
    let cluster = Cluster::obtain(&|_| {}).await.unwrap();
    cluster.create_database("theirs", None).await.unwrap();
    let mut theirs = PgConnection::connect(&cluster.url("theirs")).await.unwrap();
    sqlx::raw_sql("create table kept (n int primary key, word text); insert into kept values (1, 'one'), (2, 'two')")
        .execute(&mut theirs)
        .await
        .unwrap();
    let before = look(&mut theirs).await;
    assert!(
        before.databases.contains("theirs") && before.rows == "1 one, 2 two",
        "{before:?}"
    );

    let mut command = place.launcher();
    let command = command.args(arguments).env("DROP_DATABASE_URL", cluster.admin_url());
    let mut launcher = Launched::start(command);
    launcher.wait_for("✓ 1/8");
    assert_ne!(
        look(&mut theirs).await.databases,
        before.databases,
        "the run has a database there"
    );
    if let Some(signal) = signal {
        launcher.signal(signal);
    }
    let (status, said) = launcher.ended();

    assert_eq!(status.code(), Some(code), "{said}");
    assert_eq!(look(&mut theirs).await, before);
    assert_eq!(place.left(), Vec::<String>::new());
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    databases: String,
    roles: String,
    tables: String,
    rows: String,
}

async fn look(theirs: &mut PgConnection) -> Seen {
    let mut ask = async |statement: &'static str| -> String {
        sqlx::query_scalar(statement).fetch_one(&mut *theirs).await.unwrap()
    };
    Seen {
        databases: ask(
            "select string_agg(datname || ' of ' || datdba::regrole || coalesce(datacl::text, ''), ', ' order by datname)
               from pg_database",
        )
        .await,
        roles: ask("select string_agg(r::text, ', ' order by rolname) from pg_roles r").await,
        tables: ask(
            "select string_agg(oid::regclass::text, ', ' order by oid) from pg_class
              where relnamespace::regnamespace::text !~ '^(pg_|information_schema)'",
        )
        .await,
        rows: ask("select string_agg(n || ' ' || word, ', ' order by n) from kept").await,
    }
}
