//! What those who run the service rely on: outages are waited out, and processes end when they are told to.

use std::time::Duration;

use chrono::TimeDelta;
use drop_common::queue::{EnqueueOptions, enqueue_alone, payloads::PruneJobs};
use drop_sandbox::{Fault, Operation};
use drop_tests::{
    app::{TestApp, eventually},
    fleet::Fleet,
    person::browser,
};
use serde_json::json;
use sqlx::{ConnectOptions, Connection, Executor};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

async fn status(internal: &str, probe: &str) -> u16 {
    let answer = browser().get(format!("{internal}/{probe}")).send().await;
    answer.expect("the internal listener answers").status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_outage_is_waited_out_readiness_says_so_and_liveness_stays() {
    let app = TestApp::start_on_a_lossy_way().await;
    let internals = [app.api_internal().to_owned(), app.worker_internal().await];
    let anna = app.signed_in("anna").await;
    app.cut_database_off(true);
    for internal in &internals {
        assert!(
            eventually(async || status(internal, "readyz").await == 503).await,
            "{internal}"
        );
        assert_eq!(status(internal, "livez").await, 200, "{internal}");
    }
    assert_eq!(anna.get("/v1/kyc").await.problem(), (503, "unavailable"));
    app.cut_database_off(false);
    for internal in &internals {
        assert!(
            eventually(async || status(internal, "readyz").await == 200).await,
            "{internal}"
        );
    }
    // The worker claims again, unaided.
    let asked = anna
        .post("/v1/kyc/applicant", &json!({ "email": "anna@example.com" }))
        .await;
    assert_eq!(asked.status, 201, "{:?}", asked.problem());
    app.finish().await;
}

const ONE_WORKER: Fleet = Fleet {
    program: env!("CARGO_BIN_EXE_drop-node"),
    apis: 1,
    workers: 1,
};

#[tokio::test(flavor = "multi_thread")]
async fn q7_one_signal_ends_a_worker_that_has_nothing_to_finish() {
    let mut app = TestApp::start_fleet(ONE_WORKER).await;
    assert_eq!(app.log_in("anna").await.status, 200, "the worker works");
    app.until_idle().await;
    let [worker] = app.workers() else { panic!("one worker") };
    worker.signal("TERM");
    assert_eq!(worker.ended().await.code(), Some(0));
    app.finish().await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_crashes_leaves_no_copy_of_its_memory() {
    let own = std::fs::read_to_string("/proc/self/limits").unwrap();
    let own = own.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let hard = own.split_whitespace().nth(5).unwrap();
    assert!(
        !["0", "1"].contains(&hard),
        "whoever runs this forbids what is tried here: {own}"
    );
    let app = TestApp::start_fleet(ONE_WORKER).await;
    assert_eq!(app.log_in("anna").await.status, 200, "API and worker have started");
    for node in app.processes() {
        // With a limit of exactly one byte Linux gives a program nothing, either.
        assert_eq!(node.core_dump_limits(), ["1", "1"]);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn q7_a_second_signal_ends_a_worker_that_waits_for_a_call() {
    let mut app = TestApp::start_fleet(ONE_WORKER).await;
    // For longer than it is waited for. A worker that did not hear the second signal would end with 0.
    app.sandbox.fault(Operation::BankidToken, Fault::Hang, 1);
    come_back(&app).await;
    let exchanging = "SELECT EXISTS (SELECT FROM logins WHERE status = 'checking' AND code_sealed IS NULL)";
    until(&app, exchanging).await;
    let [worker] = app.workers() else { panic!("one worker") };
    let told_again = async || {
        if worker.is_running() {
            worker.signal("TERM"); // two that come at the same moment are one
        }
        !worker.is_running()
    };
    assert!(eventually(told_again).await, "it still runs");
    assert_eq!(worker.ended().await.code(), Some(1));
    app.abandon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn q7_a_worker_whose_only_thread_is_blocked_ends_when_its_time_is_over() {
    let blocking = [
        ("DROP_FAILPOINT", "queue.domain_committed=sleep:120000"),
        ("TOKIO_WORKER_THREADS", "1"),
        ("DROP_LANES", "login"), // no job of another lane gets there first
        ("DROP_WORKER_DRAIN_MS", "1000"),
    ];
    let mut app = TestApp::start_fleet_with(ONE_WORKER, &blocking).await;
    come_back(&app).await;
    until(
        &app,
        "SELECT EXISTS (SELECT FROM jobs WHERE kind = 'check-login' AND state = 'done')",
    )
    .await;
    let [worker] = app.workers() else { panic!("one worker") };
    worker.signal("TERM");
    assert_eq!(worker.ended().await.code(), Some(1));
    app.abandon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn q7_a_request_that_nobody_finishes_does_not_keep_a_worker() {
    let app = TestApp::start().await;
    let internal = app.worker_internal().await;
    let mut unfinished = TcpStream::connect(internal.trim_start_matches("http://"))
        .await
        .expect("a connection");
    unfinished
        .write_all(b"GET /metrics HTTP/1.1\r\n")
        .await
        .expect("half a request");
    assert_eq!(
        status(&internal, "livez").await,
        200,
        "the half request has arrived before this one"
    );
    let stopped = timeout(Duration::from_secs(10), app.stop_worker()).await;
    assert!(stopped.is_ok(), "the worker waits for the other half");
    app.finish().await;
}

/// Somebody comes back from BankID, and does not wait.
async fn come_back(app: &TestApp) {
    let login = app.start_login().await;
    let back = app.sandbox.bankid().sign_in(&login.authorization_url, "anna");
    app.come_back_later(&back.expect("BankID's redirect"), &login.cookie)
        .await;
}

async fn until(app: &TestApp, yes: &'static str) {
    let asked = async || {
        let answer: bool = sqlx::query_scalar(yes).fetch_one(&app.db).await.expect("an answer");
        answer
    };
    assert!(eventually(asked).await, "never true: {yes}");
}

#[tokio::test]
async fn o5_a_worker_whose_own_clock_is_an_hour_off_keeps_to_the_databases() {
    for ahead in [1, -1] {
        let app = TestApp::start().await;
        app.stop_worker().await;
        app.misset_clock(TimeDelta::hours(ahead));
        sqlx::query("DELETE FROM cron_slots")
            .execute(&app.db)
            .await
            .expect("no slot is taken");
        app.start_worker().await;
        let soon = EnqueueOptions {
            delay: Duration::from_secs(2),
            ..EnqueueOptions::default()
        };
        for options in [EnqueueOptions::default(), soon] {
            let enqueued = enqueue_alone(&app.db, &PruneJobs {}, options).await;
            enqueued.expect("a job");
        }
        until(
            &app,
            "SELECT count(*) >= 2 AND bool_and(state = 'done') FROM jobs WHERE kind = 'prune-jobs'",
        )
        .await;
        for held in [
            "SELECT bool_and(claimed_at BETWEEN run_at AND run_at + interval '9 s') FROM jobs",
            "SELECT bool_and(slot BETWEEN now() - CASE name WHEN 'reconcile-kyc' THEN interval '1 hour 10 s'
                             ELSE interval '5 min 10 s' END AND now()) FROM cron_slots",
        ] {
            until(&app, held).await;
        }
        app.finish().await;
    }
}

#[tokio::test]
async fn a_transaction_that_nobody_ends_shows_in_the_gauges() {
    let app = TestApp::start().await;
    app.stop_worker().await;
    let mut forgotten = app.db.connect_options().connect().await.expect("a connection");
    for statement in [
        "SET idle_in_transaction_session_timeout = 0",
        "BEGIN ISOLATION LEVEL REPEATABLE READ",
        "SELECT count(*) FROM jobs",
    ] {
        forgotten.execute(statement).await.expect("a snapshot");
    }
    until(
        &app,
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND now() - xact_start > interval '1 s')",
    )
    .await;
    app.start_worker().await; // reads at once
    let shown = async || {
        let page = app.scrape_worker().await;
        let age = page
            .lines()
            .find_map(|line| line.strip_prefix("drop_db_oldest_snapshot_age_seconds "));
        age.is_some_and(|age| age.parse::<f64>().is_ok_and(|seconds| (1.0..60.0).contains(&seconds)))
    };
    assert!(eventually(shown).await, "{}", app.scrape_worker().await);
    forgotten.close().await.expect("it ends");
    app.finish().await;
}

#[tokio::test]
async fn the_gauges_are_read_in_one_snapshot() {
    let app = TestApp::start().await;
    app.stop_worker().await;
    let mut held = app.db.begin().await.expect("a transaction");
    held.execute("LOCK TABLE webhook_events IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("nobody reads it");
    app.start_worker().await; // it reads the lanes before
    until(
        &app,
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
            AND query LIKE '%payments_oldest_open_age%' AND xact_start < query_start)",
    )
    .await;
    held.rollback().await.expect("the lock goes");
    app.finish().await;
}

#[tokio::test]
async fn a_worker_serves_only_the_lanes_it_is_given() {
    let app = TestApp::start_with(&[("DROP_LANES", "login=2")]).await;
    let anna = app.signed_in("anna").await;
    let accepted = anna
        .post_later("/v1/kyc/applicant", "unused", &json!({ "email": "anna@example.com" }))
        .await;
    assert_eq!(accepted.status, 202, "{:?}", accepted.problem());
    app.stop_worker().await;
    let waiting: String = sqlx::query_scalar("SELECT state FROM jobs WHERE kind = 'create-applicant'")
        .fetch_one(&app.db)
        .await
        .expect("the job");
    assert_eq!(waiting, "ready");
    app.run_jobs().await;
    app.finish().await;
}
