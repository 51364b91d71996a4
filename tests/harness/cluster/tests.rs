use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use super::{Cluster, Source};

/// Makes `holds_a_cluster_until_killed` hold one.
const HOLD: &str = "DROP_TESTS_HOLD_A_CLUSTER";

async fn private() -> Cluster {
    Cluster::private(&|_| {}).await.unwrap()
}

fn folder_of(cluster: &Cluster) -> PathBuf {
    match &cluster.source {
        Source::Private(server) => server.folder().to_owned(),
        Source::Given(_) => panic!("a given server has no folder"),
    }
}

async fn select(url: &str, statement: &'static str) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let value = sqlx::query_scalar(statement).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    value
}

#[tokio::test]
async fn a_private_cluster_answers_and_nothing_is_left_of_it_after_it_is_dropped() {
    let cluster = private().await;
    let (folder, url) = (folder_of(&cluster), cluster.admin_url().to_owned());
    assert!(cluster.is_private());
    assert_eq!(select(&url, "select 1::bigint").await, 1);
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(!processes_naming(&folder).is_empty());

    drop(cluster);

    assert!(!folder.exists());
    assert_eq!(processes_naming(&folder), Vec::<String>::new());
    let address = url.split('@').nth(1).unwrap().split('/').next().unwrap();
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn a_database_made_from_a_template_has_its_tables_and_its_own_rows() {
    let cluster = private().await;
    cluster.create_database("template", None).await.unwrap();
    let mut connection = PgConnection::connect(&cluster.url("template")).await.unwrap();
    sqlx::raw_sql("create table t (n bigint); insert into t values (7)")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();

    cluster.create_database("one", Some("template")).await.unwrap();

    assert_eq!(select(&cluster.url("one"), "select sum(n)::bigint from t").await, 7);
    let held = PgConnection::connect(&cluster.url("one")).await.unwrap();
    cluster.drop_database("one").await.unwrap(); // although somebody is connected
    drop(held);
    assert!(PgConnection::connect(&cluster.url("one")).await.is_err());
}

#[tokio::test]
async fn a_given_server_gets_prefixed_databases_and_loses_only_those() {
    let private = private().await;
    private.create_database("theirs", None).await.unwrap();
    let given = Cluster::on_given_server(private.admin_url()).await.unwrap();
    given.create_database("theirs", None).await.unwrap(); // the same name is another database
    given.create_database("kept_open", None).await.unwrap();
    assert!(!given.is_private());
    assert_ne!(given.url("theirs"), private.url("theirs"));
    assert_eq!(select(&given.url("kept_open"), "select 1::bigint").await, 1);
    let count = "select count(*) from pg_database where not datistemplate";
    assert_eq!(select(private.admin_url(), count).await, 4);

    drop(given);

    assert_eq!(select(private.admin_url(), count).await, 2); // postgres and theirs
    assert_eq!(select(&private.url("theirs"), "select 1::bigint").await, 1);
}

#[tokio::test]
async fn a_name_that_would_need_quoting_is_refused() {
    let cluster = private().await;
    assert!(
        cluster
            .create_database(r#"x"; drop database "postgres"#, None)
            .await
            .is_err()
    );
    assert!(cluster.create_database(&"x".repeat(64), None).await.is_err());
}

#[tokio::test]
async fn the_address_of_an_unusable_server_is_not_in_the_error() {
    let Err(error) = Cluster::on_given_server("postgres://drop:hunter2@127.0.0.1:1/postgres").await else {
        panic!("nobody listens on port 1");
    };
    assert!(!format!("{error:#} {error:?}").contains("hunter2"));
}

#[test]
fn a_process_killed_at_any_moment_of_the_start_leaves_no_process_and_no_folder() {
    for moment in [20, 60, 120, 250, 400, 700, 1_200] {
        let place = Place::new();
        let child = hold_a_cluster(&place.0);
        std::thread::sleep(Duration::from_millis(moment)); // the moment of the kill, not a wait for something
        kill(child);
        within(30, "nothing is left", || {
            place.is_empty() && processes_naming(&place.0).is_empty()
        });
    }
}

#[test]
fn a_process_killed_while_its_server_runs_leaves_no_process_and_no_folder() {
    let place = Place::new();
    let child = hold_a_cluster(&place.0);
    within(60, "the server runs", || {
        processes_naming(&place.0).iter().any(|line| line.contains("fsync=off"))
    });
    assert!(!place.is_empty());
    kill(child);
    within(30, "nothing is left", || {
        place.is_empty() && processes_naming(&place.0).is_empty()
    });
}

/// Not a test by itself: the process that the test above kills.
#[tokio::test]
async fn holds_a_cluster_until_killed() {
    if std::env::var_os(HOLD).is_some() {
        let _cluster = private().await;
        std::future::pending::<()>().await;
    }
}

fn hold_a_cluster(place: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "cluster::tests::holds_a_cluster_until_killed"])
        .env(HOLD, "1")
        .env("TMPDIR", place)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn within(seconds: u64, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !holds() {
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A temporary folder in which the server's account may make folders.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("drop-kill-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o1777)).unwrap();
        Self(folder)
    }

    fn is_empty(&self) -> bool {
        fs::read_dir(&self.0).unwrap().next().is_none()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The command lines of all processes that name this folder.
fn processes_naming(folder: &Path) -> Vec<String> {
    let output = Command::new("ps")
        .args(["-A", "-o", "args"])
        .output()
        .expect("ps is installed");
    let folder = folder.to_str().unwrap();
    let all = String::from_utf8_lossy(&output.stdout).into_owned();
    all.lines()
        .filter(|line| line.contains(folder))
        .map(ToOwned::to_owned)
        .collect()
}
