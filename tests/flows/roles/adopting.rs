//! A system that runs with one login is given its roles as `ops/README.md` says, and nobody notices.

use std::{convert::Infallible, time::Duration};

use drop_common::storage;
use drop_tests::{
    app::TestApp,
    cluster::{ONE_LOGIN, Role},
    person::SignedIn,
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::{
    ops::{ops, read},
    paying::{execute, order, value},
};

/// The statements of the section, in their order.
fn steps() -> Vec<String> {
    let text = read(&ops("README.md"));
    let (_, section) = text
        .split_once("## Giving a running system its roles")
        .expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let blocks = section.split("```sql\n").skip(1);
    blocks
        .map(|rest| {
            let sql = rest.split("```").next().unwrap_or_default();
            sql.replace("<login>", ONE_LOGIN)
        })
        .collect()
}

/// The API answers, the worker works, and whoever connects anew with the old login is let in and sees everything.
async fn everything_works(person: &SignedIn<'_>, account: &str, step: u32, login: &str) {
    let order = order(account, &format!("{}.00", 100 + step));
    let paid = person
        .post_keyed("/v1/transactions", &format!("step-{step}"), &order)
        .await;
    assert_eq!(paid.status, 201, "step {step}: {:?}", paid.problem());
    let mut anew = PgConnection::connect(login).await.unwrap();
    let payments: i64 = sqlx::query_scalar("SELECT count(*) FROM transactions")
        .fetch_one(&mut anew)
        .await
        .unwrap();
    assert_eq!(payments, i64::from(step) + 1, "step {step}");
    anew.close().await.unwrap();
}

/// Asks for what the API reads under row-level security, until it is dropped.
pub(super) async fn keeps_asking(person: &SignedIn<'_>) -> Infallible {
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    loop {
        ticks.tick().await;
        let answer = person.get("/v1/me/notifications").await;
        assert_eq!(answer.status, 200, "{:?}", answer.problem());
    }
}

/// Of a server that somebody else runs: no superuser, but a member of both.
const SERVERS_OWNER: &str = "servers_owner";

async fn as_the_servers_owner(app: &TestApp, step: &str) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(&app.address_of("postgres")).await?;
    let be_them = format!("SET SESSION AUTHORIZATION {SERVERS_OWNER}");
    sqlx::raw_sql(AssertSqlSafe(be_them)).execute(&mut connection).await?;
    let did = sqlx::raw_sql(AssertSqlSafe(step.to_owned()))
        .execute(&mut connection)
        .await;
    connection.close().await?;
    did.map(drop)
}

/// That table stays, the others before it have changed hands, and none of those is held for it.
async fn somebody_holds_a_table(app: &TestApp, step: &str) {
    let mut holding = app.db.begin().await.unwrap();
    sqlx::query("LOCK TABLE users IN ACCESS SHARE MODE")
        .execute(&mut *holding)
        .await
        .unwrap();
    let code = as_the_servers_owner(app, step)
        .await
        .unwrap_err()
        .into_database_error()
        .unwrap()
        .code()
        .unwrap()
        .into_owned();
    assert_eq!(code, "55P03");
    let owners = "SELECT string_agg(DISTINCT tableowner, ',') FROM pg_tables WHERE tablename";
    for (tables, owner) in [
        ("= 'users'", ONE_LOGIN),
        ("IN ('audit_log', 'jobs', 'transactions')", "drop_migrate"),
    ] {
        assert_eq!(
            value::<String>(app, &format!("{owners} {tables}")).await,
            owner,
            "{tables}"
        );
    }
    holding.rollback().await.unwrap();
}

#[tokio::test]
async fn a_system_with_one_login_is_given_its_roles_while_it_serves() {
    let mut app = TestApp::start_with_one_login().await;
    let login = app.address_of(ONE_LOGIN);
    let steps: [String; 4] = steps().try_into().expect("four steps in SQL");
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    everything_works(&anna, &account, 0, &login).await;
    let adopting = async {
        execute(&app, &steps[0]).await;
        let owner = format!("CREATE ROLE {SERVERS_OWNER}; GRANT {ONE_LOGIN}, drop_migrate TO {SERVERS_OWNER}");
        execute(&app, &owner).await;
        everything_works(&anna, &account, 1, &login).await;
        execute(&app, &read(&ops("postgres/roles.sql"))).await;
        everything_works(&anna, &account, 2, &login).await;
        somebody_holds_a_table(&app, &steps[1]).await;
        for step in &steps[1..3] {
            as_the_servers_owner(&app, step).await.unwrap();
        }
        everything_works(&anna, &account, 3, &login).await;
        let owner = app.pool_as(Role::Migrate).await;
        storage::migrate(&owner).await.unwrap();
        owner.close().await;
        everything_works(&anna, &account, 4, &login).await;
    };
    tokio::select! {
        () = adopting => {}
        never = keeps_asking(&anna) => match never {},
    }

    // The new addresses: processes of both kinds beside each other, then the new ones alone.
    app.use_the_roles();
    app.stop_worker().await;
    app.start_worker().await;
    let anna = app.signed_in("anna").await;
    everything_works(&anna, &account, 5, &login).await;
    app.url = app.start_replica(&[]).await;
    let anna = app.signed_in("anna").await;
    everything_works(&anna, &account, 6, &login).await;

    execute(&app, &steps[3]).await;
    let refused = PgConnection::connect(&login).await.unwrap_err();
    let refused = refused.into_database_error().expect("the server's word");
    assert_eq!(refused.code().as_deref(), Some("28000"));
    let shown = anna.get("/v1/transactions").await;
    assert_eq!(shown.body["transactions"].as_array().map(Vec::len), Some(7));
    let mut other = PgConnection::connect(&app.address_of(Role::Api.name())).await.unwrap();
    let about_nobody = sqlx::query("SELECT id FROM transactions");
    assert!(
        about_nobody.fetch_all(&mut other).await.is_err(),
        "the API has its own rights now"
    );
    app.abandon().await;
}
