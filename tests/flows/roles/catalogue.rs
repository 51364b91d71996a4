//! `migrations/grants.sql` against the catalogue: nothing more, and nothing less.

use std::{collections::BTreeSet, path::Path};

use drop_tests::{
    cluster::{Role, for_login},
    database::TestDatabase,
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

use crate::ops::{ops, read};

/// Who, what and on what: `drop_api may UPDATE (read_at) on notifications`.
type Right = String;

fn right(role: &str, privilege: &str, object: &str) -> Right {
    format!("{role} may {privilege} on {object}")
}

/// The grants of the file.
fn granted() -> BTreeSet<Right> {
    let file = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/grants.sql"));
    let lines = file.lines().filter(|line| !line.trim_start().starts_with("--"));
    let text = lines.collect::<Vec<_>>().join(" ");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words
        .split(';')
        .filter_map(|statement| statement.trim().strip_prefix("GRANT "))
        .flat_map(|grant| {
            let (privileges, rest) = grant.split_once(" ON ").expect("on what");
            let (object, roles) = rest.rsplit_once(" TO ").expect("to whom");
            let object = object.strip_prefix("FUNCTION ").unwrap_or(object).replace(", ", ",");
            let rights: Vec<Right> = roles
                .split(", ")
                .flat_map(|role| single(privileges).into_iter().map(|one| right(role, &one, &object)))
                .collect();
            rights
        })
        .collect()
}

/// `SELECT, UPDATE (a, b)`: `SELECT`, `UPDATE (a)`, `UPDATE (b)`.
fn single(privileges: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in privileges.split_inclusive([')', ',']) {
        let part = part.trim().trim_matches(|c| c == ',' || c == ')').trim();
        match (part.split_once('('), found.last()) {
            _ if part.is_empty() => {}
            (Some((privilege, column)), _) => found.push(format!("{privilege}({column}")),
            (None, Some(last)) if part.chars().all(|c| c.is_ascii_lowercase() || c == '_') => {
                let privilege = last.split_once('(').expect("a column follows another").0;
                found.push(format!("{privilege}({part}"));
            }
            (None, _) => found.push(part.to_owned()),
        }
    }
    let close = |right: String| {
        if right.contains('(') {
            format!("{right})")
        } else {
            right
        }
    };
    found.into_iter().map(close).collect()
}

/// Whatever anybody but the owner may do in the database.
async fn allowed(db: &PgPool) -> BTreeSet<Right> {
    let found: Vec<(String, String, String)> = sqlx::query_as(
        r#"WITH rights (role, privilege, object) AS (
             SELECT a.grantee, a.privilege_type, c.oid::regclass::text
               FROM pg_class c CROSS JOIN aclexplode(coalesce(c.relacl, acldefault((CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char", c.relowner))) a
              WHERE c.relkind <> 'i' AND a.grantee <> c.relowner AND c.relnamespace IN ('public'::regnamespace, 'look'::regnamespace, 'restricted'::regnamespace)
             UNION ALL
             SELECT a.grantee, format('%s (%s)', a.privilege_type, c.attname), c.attrelid::regclass::text
               FROM pg_attribute c JOIN pg_class t ON t.oid = c.attrelid CROSS JOIN aclexplode(c.attacl) a
              WHERE a.grantee <> t.relowner AND t.relnamespace IN ('public'::regnamespace, 'look'::regnamespace, 'restricted'::regnamespace)
             UNION ALL
             SELECT a.grantee, a.privilege_type, f.oid::regprocedure::text
               FROM pg_proc f CROSS JOIN aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a
              WHERE a.grantee <> f.proowner AND f.pronamespace IN ('public'::regnamespace, 'look'::regnamespace, 'restricted'::regnamespace)
             UNION ALL
             SELECT a.grantee, a.privilege_type, 'SCHEMA ' || n.nspname
               FROM pg_namespace n CROSS JOIN aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
              WHERE a.grantee <> n.nspowner AND n.nspname NOT IN ('pg_catalog', 'information_schema')
             UNION ALL
             SELECT a.grantee, a.privilege_type, 'what is made later' FROM pg_default_acl d CROSS JOIN aclexplode(d.defaclacl) a)
           SELECT coalesce((SELECT rolname FROM pg_roles WHERE oid = role), 'everybody'), privilege, object FROM rights"#,
    )
    .fetch_all(db)
    .await
    .unwrap();
    let rights = found
        .iter()
        .map(|(role, privilege, object)| right(role, privilege, object));
    rights.collect()
}

#[tokio::test]
async fn each_role_may_do_what_the_grants_say_and_nothing_else() {
    let database = TestDatabase::on_its_own_server().await;
    let (granted, allowed) = (granted(), allowed(&database.pool).await);
    let more: Vec<_> = allowed.difference(&granted).collect();
    let less: Vec<_> = granted.difference(&allowed).collect();
    assert!(more.is_empty() && less.is_empty(), "more: {more:#?}\nless: {less:#?}");

    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm')
            AND relnamespace IN ('public'::regnamespace, 'look'::regnamespace)",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    let undecided: Vec<_> = tables
        .iter()
        .filter(|table| !granted.iter().any(|right| right.ends_with(&format!(" on {table}"))))
        .collect();
    assert!(undecided.is_empty(), "nobody may use {undecided:?}");
    database.remove().await;
}

#[tokio::test]
async fn everything_in_the_database_is_the_migrations_roles() {
    let database = TestDatabase::on_its_own_server().await;
    let others: Vec<String> = sqlx::query_scalar(
        "SELECT oid::regclass::text FROM pg_class
          WHERE relnamespace IN ('public'::regnamespace, 'look'::regnamespace, 'restricted'::regnamespace) AND relowner <> 'drop_migrate'::regrole
         UNION ALL
         SELECT oid::regprocedure::text FROM pg_proc
          WHERE pronamespace IN ('public'::regnamespace, 'look'::regnamespace, 'restricted'::regnamespace) AND proowner <> 'drop_migrate'::regrole
         UNION ALL
         SELECT oid::regprocedure::text FROM pg_proc
          WHERE prosecdef AND NOT coalesce('search_path=public, pg_temp' = ANY (proconfig), false)
            AND pronamespace IN ('public'::regnamespace, 'look'::regnamespace, 'restricted'::regnamespace)",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert_eq!(others, Vec::<String>::new());
    database.remove().await;
}

#[tokio::test]
async fn each_function_that_runs_as_its_owner_has_its_reason_in_the_guide() {
    let database = TestDatabase::on_its_own_server().await;
    let mut found: Vec<String> = sqlx::query_scalar(
        "SELECT oid::regproc::text FROM pg_proc WHERE prosecdef AND pronamespace <> 'pg_catalog'::regnamespace",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    found.sort();
    let guide = read(&ops("README.md"));
    let (_, table) = guide.split_once("| function | called by | why |").expect("the table");
    let table = table.split("\n\n").next().unwrap_or_default();
    let names = table.lines().filter_map(|line| line.split('|').nth(1));
    let mut named: Vec<&str> = names.flat_map(|names| names.split('`').skip(1).step_by(2)).collect();
    named.sort_unstable();
    assert_eq!(found, named);
    database.remove().await;
}

#[tokio::test]
async fn the_roles_have_no_power_over_the_server_and_nobody_else_comes_in() {
    let database = TestDatabase::on_its_own_server().await;
    let roles: Vec<(String, String)> = sqlx::query_as(
        "SELECT rolname::text,
                concat_ws(' ', CASE WHEN rolsuper THEN 'super' END, CASE WHEN rolcreatedb THEN 'createdb' END,
                          CASE WHEN rolcreaterole THEN 'createrole' END, CASE WHEN rolreplication THEN 'replication' END,
                          CASE WHEN rolbypassrls THEN 'bypassrls' END, CASE WHEN NOT rolcanlogin THEN 'nologin' END,
                          (SELECT string_agg('in ' || m.roleid::regrole, ' ') FROM pg_auth_members m WHERE m.member = r.oid),
                          array_to_string(s.setconfig, '; '))
           FROM pg_roles r LEFT JOIN pg_db_role_setting s ON s.setrole = r.oid
          WHERE rolname LIKE 'drop\\_%' ORDER BY 1",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    let usual = "search_path=public, pg_temp";
    let expected = [
        ("drop_api", usual),
        ("drop_migrate", usual),
        (
            "drop_readonly",
            "in pg_read_all_stats search_path=look, pg_temp; default_transaction_read_only=on",
        ),
        ("drop_retention", usual),
        ("drop_worker", "in pg_read_all_stats search_path=public, pg_temp"),
    ];
    assert_eq!(roles, expected.map(|(role, is)| (role.to_owned(), is.to_owned())));
    assert_eq!(expected.len(), Role::ALL.len());

    let to_the_database: Vec<String> = sqlx::query_scalar(
        "SELECT coalesce((SELECT rolname FROM pg_roles WHERE oid = a.grantee), 'everybody') || ' ' || a.privilege_type
           FROM pg_database d CROSS JOIN aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
          WHERE d.datname = current_database() AND a.grantee <> d.datdba AND d.datdba = 'drop_migrate'::regrole ORDER BY 1",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    let comes_in = ["drop_api", "drop_readonly", "drop_retention", "drop_worker"];
    assert_eq!(to_the_database, comes_in.map(|role| format!("{role} CONNECT")));
    database.remove().await;
}

#[tokio::test]
async fn a_further_login_of_a_role_has_its_settings_too() {
    let database = TestDatabase::on_its_own_server().await;
    let made = "ALTER ROLE drop_readonly SET statement_timeout = '3s'; CREATE ROLE drop_readonly_2 LOGIN IN ROLE drop_readonly";
    sqlx::raw_sql(made).execute(&database.pool).await.unwrap();
    let roles = read(&ops("postgres/roles.sql"));
    sqlx::raw_sql(AssertSqlSafe(roles))
        .execute(&database.pool)
        .await
        .unwrap();
    let mut further = PgConnection::connect(&for_login(&database.url(), "drop_readonly_2"))
        .await
        .unwrap();
    for (setting, is) in [
        ("search_path", "look, pg_temp"),
        ("default_transaction_read_only", "on"),
        ("statement_timeout", "3s"),
    ] {
        let shown: String = sqlx::query_scalar(AssertSqlSafe(format!("SHOW {setting}")))
            .fetch_one(&mut further)
            .await
            .unwrap();
        assert_eq!(shown, is, "{setting}");
    }
    sqlx::query("SELECT count(*) FROM jobs")
        .fetch_one(&mut further)
        .await
        .unwrap();
    further.close().await.unwrap();
    database.remove().await;
}
