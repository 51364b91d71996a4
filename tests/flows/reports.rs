//! What reaches Sentry, what never does, and that nobody waits for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use drop_common::{
    domain::ids::UserId,
    queue::{self, EnqueueOptions, Enqueued},
};
use drop_sandbox::{Decision, Fault, Operation};
use drop_tests::{
    app::{TestApp, eventually},
    database::TestDatabase,
    effects::{self, ALOUD, Effect, Way},
    fleet::Fleet,
    ingest::{Ingest, Manner},
    person::{Answer, browser},
    processes::Node,
    time,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::paying::{execute, order};

const PROGRAM: &str = env!("CARGO_BIN_EXE_drop-node");

const FLEET: Fleet = Fleet {
    program: PROGRAM,
    apis: 1,
    workers: 1,
};

/// A webhook that nobody signed: an alert, and an answer that stands in nobody's way.
async fn forged_webhook(url: &str) -> u16 {
    let webhook = browser().post(format!("{url}/v1/webhooks/sumsub")).json(&json!({}));
    webhook.send().await.unwrap().status().as_u16()
}

/// One more API, which has raised an alert about such a webhook.
async fn raised_by_another(app: &TestApp, changes: &[(&'static str, &str)]) -> Node {
    let (process, url) = app.api_process(PROGRAM, changes).await;
    assert!(eventually(async || forged_webhook(&url).await == 401).await);
    process
}

/// The first event that tells of this alert.
async fn told(ingest: &Ingest, alert: &str) -> Value {
    let tells_of_it = |event: &Value| event["tags"]["alert.name"] == alert;
    ingest.until("event", tells_of_it).await
}

async fn end(mut process: Node) {
    process.signal("TERM");
    process.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_told_once_in_its_quiet_period_however_many_processes_raise_it() {
    let (ingest, app) = (Ingest::start(Manner::Well).await, TestApp::start().await);
    let changes = [("SENTRY_DSN", ingest.dsn.as_str()), ("DROP_API_DRAIN_MS", "0")];
    // Each process raises it, for each keeps quiet about its own only; and each has told what it tells when it has ended.
    let told_after_another = async || {
        end(raised_by_another(&app, &changes).await).await;
        ingest.alerts("webhook_digest").len()
    };
    assert_eq!(told_after_another().await, 1);
    assert_eq!(told_after_another().await, 1);
    time::pass(&app.db, TimeDelta::seconds(14 * 60)).await;
    assert_eq!(told_after_another().await, 1, "within the quiet period");
    time::pass(&app.db, TimeDelta::seconds(60)).await;
    assert_eq!(told_after_another().await, 2, "after it");
    for event in ingest.alerts("webhook_digest") {
        assert_eq!(event["fingerprint"][0], "webhook_digest");
        assert_eq!(event["tags"]["alert.severity"], "high");
        assert_eq!(event["tags"]["program"], "drop-node");
        assert_eq!(event["level"], Value::Null, "error, which is left out");
        assert_eq!(event["environment"], "local");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_one_payment_keeps_quiet_about_no_other() {
    let ingest = Ingest::start(Manner::Well).await;
    let app = TestApp::start_fleet_with(FLEET, &[("SENTRY_DSN", &ingest.dsn)]).await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.sandbox.neonomics().configure(|bank| bank.links = Some(json!({})));
    let mut ordered = BTreeSet::new();
    for (key, amount) in [("one", "2010.00"), ("two", "2020.00")] {
        let payment = anna.post_keyed("/v1/transactions", key, &order(&account, amount)).await;
        ordered.insert(payment.body["id"].as_str().unwrap().to_owned());
    }
    let of = |event: &Value, payment: &str| event["message"].as_str().unwrap_or_default().contains(payment);
    for payment in &ordered {
        ingest.until("event", |event| of(event, payment)).await;
    }
    let alerts = ingest.alerts("payment");
    let issues: BTreeSet<_> = alerts.iter().map(|event| event["fingerprint"].to_string()).collect();
    assert_eq!((alerts.len(), issues.len()), (2, 2), "each is an issue of its own");
    drop(app);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_waits_behind_no_flood_of_timings() {
    let (ingest, app) = (
        Ingest::start(Manner::Slow(Duration::from_secs(3))).await,
        TestApp::start().await,
    );
    let (process, url) = app.api_process(PROGRAM, &[("SENTRY_DSN", &ingest.dsn)]).await;
    let answers = async || browser().get(format!("{url}/v1/health")).send().await.is_ok();
    assert!(eventually(answers).await);
    // More than the queue of reports holds.
    for _ in 0..60 {
        assert!(answers().await);
    }
    assert_eq!(forged_webhook(&url).await, 401);
    told(&ingest, "webhook_digest").await;
    drop(process);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_sentry_did_not_take_is_tried_again_and_told_by_the_next_who_raises_it() {
    let (ingest, app) = (Ingest::start(Manner::Refuses).await, TestApp::start().await);
    let changes = [("SENTRY_DSN", ingest.dsn.as_str()), ("DROP_API_DRAIN_MS", "0")];
    let came = async |times| {
        let came = async || ingest.alerts("webhook_digest").len() >= times;
        assert!(eventually(came).await, "not {times} times");
    };
    let first = raised_by_another(&app, &changes).await;
    came(1).await;
    end(first).await;
    let before = ingest.alerts("webhook_digest").len();
    let second = raised_by_another(&app, &changes).await;
    came(before + 1).await;
    ingest.becomes(Manner::Well);
    came(before + 2).await;
    end(second).await;
    let taken = ingest.alerts("webhook_digest").len();
    let third = raised_by_another(&app, &changes).await;
    end(third).await;
    assert_eq!(ingest.alerts("webhook_digest").len(), taken, "Sentry has it");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_sentry_refuses_for_good_is_counted_and_not_tried_again() {
    let (ingest, app) = (Ingest::start(Manner::NeverTakes).await, TestApp::start().await);
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let changes = [
        ("SENTRY_DSN", ingest.dsn.as_str()),
        ("DROP_API_DRAIN_MS", "0"),
        ("DROP_API_INTERNAL_LISTEN", &free),
    ];
    let process = raised_by_another(&app, &changes).await;
    let counted = async || {
        let scraped = browser().get(format!("http://{free}/metrics")).send().await.unwrap();
        let text = scraped.text().await.unwrap();
        let is_its = |line: &str| line.starts_with("drop_alerts_refused_total") && line.contains("webhook_digest");
        text.lines().any(|line| is_its(line) && line.ends_with(" 1"))
    };
    assert!(eventually(counted).await, "it is not counted");
    // What is left is told at the end.
    ingest.becomes(Manner::Well);
    end(process).await;
    assert_eq!(ingest.alerts("webhook_digest").len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sentry_refused_for_good_is_not_sent_again_each_time_it_is_raised() {
    let ingest = Ingest::start(Manner::NeverTakes).await;
    let app = TestApp::start_fleet_with(FLEET, &[("SENTRY_DSN", &ingest.dsn)]).await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let own = Uuid::new_v5(&anna.user.parse::<UserId>().unwrap().uuid(), b"forgotten");
    let noted = format!("INSERT INTO forgotten_orders VALUES ('{own}', 'pay_1', now(), 1, 'NOK', '')");
    execute(&app, &noted).await;
    let asks = async || {
        let order = order(&account, "2010.00");
        let refused = anna.post_keyed("/v1/transactions", "forgotten", &order).await;
        assert_eq!(refused.problem(), (422, "idempotency_key_reused"));
    };
    let is_about = |event: &Value, alert: &str| event["tags"]["alert.name"] == alert;
    asks().await;
    ingest.until("event", |event| is_about(event, "payment")).await;
    asks().await;
    // What is raised later is told later.
    assert_eq!(forged_webhook(&app.url).await, 401);
    ingest.until("event", |event| is_about(event, "webhook_digest")).await;
    assert_eq!(ingest.alerts("payment").len(), 1);
    drop(app);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_told_by_another_process_where_the_one_that_began_to_tell_it_has_died() {
    let (ingest, app) = (Ingest::start(Manner::Well).await, TestApp::start().await);
    let changes = [("SENTRY_DSN", ingest.dsn.as_str()), ("DROP_API_DRAIN_MS", "0")];
    let told = async |times| {
        let told = async || ingest.alerts("webhook_digest").len() == times;
        assert!(eventually(told).await, "not {times} times");
    };
    let first = raised_by_another(&app, &changes).await;
    told(1).await;
    end(first).await;
    // As where it had got no further than this.
    sqlx::query("UPDATE alert_turns SET free_at = now() + interval '4 s'")
        .execute(&app.db)
        .await
        .unwrap();
    let second = raised_by_another(&app, &changes).await;
    told(2).await;
    drop(second);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_whoever_tells_alerts_ends_none() {
    let (ingest, app) = (Ingest::start(Manner::Well).await, TestApp::start().await);
    let changes = [
        ("SENTRY_DSN", ingest.dsn.as_str()),
        ("DROP_FAILPOINT", "alerts.telling=panic"),
    ];
    let process = raised_by_another(&app, &changes).await;
    told(&ingest, "webhook_digest").await;
    drop(process);
    app.finish().await;
}

/// What a person starts, or a timer, ends at once; what it raised has been told by then.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_tells_its_alerts_before_it_ends() {
    let (ingest, app) = (Ingest::start(Manner::Well).await, TestApp::start().await);
    let anna = app.signed_in("anna").await;
    app.stop_worker().await;
    let operator = ["--operator", "o.nordmann", "--reason", "#1"];
    let erase = [&["users", "erase", anna.user.as_str()][..], &operator].concat();
    assert!(app.operator(PROGRAM, &erase).await.0);
    for change in [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN RAISE EXCEPTION ''not this one'' USING ERRCODE = ''23503''; END'",
        "CREATE TRIGGER refuse BEFORE UPDATE OF moved_at ON users FOR EACH ROW EXECUTE FUNCTION refuse()",
    ] {
        sqlx::query(change).execute(&app.db).await.unwrap();
    }
    let mut command = app.retain_process(PROGRAM, &[("SENTRY_DSN", &ingest.dsn)]);
    assert!(!command.ended().await.success(), "a step failed");
    assert_eq!(ingest.alerts("retention_failed").len(), 1);
    app.run_jobs().await; // what the worker planned before it was stopped
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_ends_soon_although_neither_sentry_nor_the_database_answers() {
    let (ingest, app) = (Ingest::start(Manner::Hangs).await, TestApp::start().await);
    let nowhere = ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
    let changes = [("SENTRY_DSN", ingest.dsn.as_str()), ("DROP_API_DRAIN_MS", "0")];
    for changes in [changes.to_vec(), [&[nowhere][..], &changes].concat()] {
        let mut process = raised_by_another(&app, &changes).await;
        let begun = Instant::now();
        process.signal("TERM");
        process.ended().await;
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(8), "{took:?}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_reaches_people_too_while_the_database_is_away() {
    let (ingest, app) = (Ingest::start(Manner::Well).await, TestApp::start().await);
    let nowhere = ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
    let process = raised_by_another(&app, &[nowhere, ("SENTRY_DSN", &ingest.dsn)]).await;
    told(&ingest, "webhook_digest").await;
    drop(process);
    app.finish().await;
}

/// Contract 7: the conditions that Sentry hears of, and how bad each is.
#[tokio::test(flavor = "multi_thread")]
async fn the_contracts_conditions_are_told_with_their_severity() {
    let (ingest, app) = (Ingest::start(Manner::Well).await, TestApp::start().await);
    app.signed_in("anna").await.has_an_account().await;
    app.stop_worker().await;
    for change in [
        "UPDATE bank_consents SET authorised_at = authorised_at - interval '1 day'",
        "UPDATE bank_accounts SET balance_synced_at = now() - interval '13 hours'",
        "UPDATE breaker SET open = true, opened_at = now() - interval '6 min', retry_at = now() + interval '1 hour'
          WHERE key = 'neonomics/pisp'",
    ] {
        sqlx::query(change).execute(&app.db).await.unwrap();
    }
    let worker = app.worker_process(PROGRAM, &[("SENTRY_DSN", &ingest.dsn)]);
    app.sandbox.fault(Operation::BankidToken, Fault::status(503), 1);
    assert_eq!(app.log_in("anna").await.status, 502);
    for (alert, level, severity) in [
        ("pisp_circuit_open", json!("fatal"), "critical"),
        ("circuit_open_long", Value::Null, "high"),
        ("bankid_unreachable", Value::Null, "high"),
        ("balance_stale", json!("warning"), "medium"),
    ] {
        let event = told(&ingest, alert).await;
        assert_eq!(
            (&event["level"], &event["tags"]["alert.severity"]),
            (&level, &json!(severity))
        );
    }
    drop(worker);
    sqlx::query("UPDATE breaker SET open = false, opened_at = NULL, retry_at = NULL")
        .execute(&app.db)
        .await
        .unwrap();
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_endpoint_and_each_kind_of_job_is_a_transaction_and_no_person_is_in_any() {
    let ingest = Ingest::start(Manner::Well).await;
    let app = TestApp::start_fleet_with(FLEET, &[("SENTRY_DSN", &ingest.dsn)]).await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let payment = anna
        .post_keyed("/v1/transactions", "one", &order(&account, "2010.00"))
        .await;
    assert_eq!(payment.status, 201, "{:?}", payment.problem());
    let path = format!("/v1/transactions/{}", payment.body["id"].as_str().unwrap());
    assert_eq!(anna.get(&path).await.status, 200);
    anna.decides(payment.body["scaRedirect"].as_str().unwrap(), Decision::Approve)
        .await;
    assert_eq!(
        browser()
            .get(format!("{}/no/such/path", app.url))
            .send()
            .await
            .unwrap()
            .status(),
        404
    );

    for (name, operation) in [
        ("GET /api/auth/bankid/callback", "http.server"),
        ("POST /v1/transactions", "http.server"),
        ("GET /v1/transactions/{id}", "http.server"),
        ("POST /v1/webhooks/sumsub", "http.server"),
        ("check-login", "queue.process"),
        ("initiate-payment", "queue.process"),
        ("apply-kyc-event", "queue.process"),
    ] {
        let timed = ingest.until("transaction", |timed| timed["transaction"] == name).await;
        assert_eq!(timed["contexts"]["trace"]["op"], operation, "{name}");
        assert_eq!(timed["contexts"]["trace"]["status"], "ok", "{name}");
        assert!(timed["tags"]["request.id"].is_string(), "{name}: {timed}");
    }
    let check = ingest
        .until("transaction", |timed| timed["transaction"] == "check-login")
        .await;
    let calls: Vec<_> = check["spans"]
        .as_array()
        .unwrap()
        .iter()
        .map(|span| &span["description"])
        .collect();
    assert!(calls.contains(&&json!("bankid token")), "{calls:?}");

    // What a request and the jobs that it caused have in common.
    let with_request = |name: &str| {
        let timed = ingest
            .items("transaction")
            .into_iter()
            .find(|timed| timed["transaction"] == name);
        timed.unwrap()["tags"]["request.id"].clone()
    };
    assert_eq!(with_request("POST /v1/transactions"), with_request("initiate-payment"));
    for timed in ingest.items("transaction") {
        let name = timed["transaction"].as_str().unwrap();
        assert!(!name.contains("tx_") && !name.contains("no/such"), "{name}");
    }
    assert_eq!(app.canaries().await.found_in(&ingest.everything()), BTreeMap::new());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_timed_at_a_rate_of_none_and_what_fails_is_told_all_the_same() {
    let ingest = Ingest::start(Manner::Well).await;
    let changes = [("SENTRY_DSN", ingest.dsn.as_str()), ("SENTRY_TRACES_SAMPLE_RATE", "0")];
    let app = TestApp::start_fleet_with(FLEET, &changes).await;
    app.signed_in("anna").await;
    assert_eq!(forged_webhook(&app.url).await, 401);
    told(&ingest, "webhook_digest").await;
    assert_eq!(ingest.items("transaction"), [Value::Null; 0]);
    app.finish().await;
}

/// A worker of jobs that misbehave as they are told, over a database of its own.
pub(crate) async fn misbehaving(way: Way, variables: &[(&str, &str)]) -> (TestDatabase, Node, i64) {
    let database = TestDatabase::new().await;
    effects::create_table(&database.pool).await.unwrap();
    let enqueued = queue::enqueue_alone(&database.pool, &Effect { way }, EnqueueOptions::default()).await;
    let Enqueued::New(job) = enqueued.unwrap() else {
        unreachable!("these jobs have no key")
    };
    let url = database.url();
    let own = [("DATABASE_URL", url.as_str()), ("DROP_PROFILE", "local")];
    let worker = Node::start(PROGRAM, "queue", &[&own, variables].concat());
    (database, worker, job)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_job_is_told_by_its_place_with_its_job_and_without_its_message() {
    let ingest = Ingest::start(Manner::Well).await;
    let (database, worker, job) = misbehaving(Way::PanicAloud, &[("SENTRY_DSN", &ingest.dsn)]).await;
    let is_panic = |event: &Value| {
        event["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("a panic at "))
    };
    let event = ingest.until("event", is_panic).await;
    assert!(event["message"].as_str().unwrap().contains("node/queue.rs:"), "{event}");
    assert_eq!(event["tags"]["job.id"], job.to_string());
    assert_eq!(event["contexts"]["trace"]["op"], "queue.process");
    let again = ingest
        .until("transaction", |timed| timed["contexts"]["trace"]["status"] == "ok")
        .await;
    assert_eq!(again["transaction"], "effect");
    let everything = ingest.everything();
    assert!(!everything.contains(&ALOUD[..11]) && !everything.contains("has no account"));
    end(worker).await;
    database.remove().await;
}

/// Everything in a report that was written by somebody else: bodies, cookies, headers, what stands behind a question mark.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_no_report_has_anything_of_a_person() {
    let ingest = Ingest::start(Manner::Well).await;
    let app = TestApp::start_fleet_with(FLEET, &[("SENTRY_DSN", &ingest.dsn)]).await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    for (operation, body) in [
        (Operation::BankidToken, json!({ "error": "words-of-a-stranger" })),
        (
            Operation::Payment,
            json!({ "tppMessages": [{ "code": "words-of-a-stranger" }] }),
        ),
    ] {
        let body = Some(body);
        app.sandbox.fault(operation, Fault::Status { code: 401, body }, 1);
    }
    app.log_in("marko").await;
    anna.post_keyed("/v1/transactions", "one", &order(&account, "2010.00"))
        .await;
    let headers = ["authorization", "cookie", "x-forwarded-for", "idempotency-key"];
    let of_header = |name: &str| format!("of-a-header-{name}");
    for name in headers {
        let asked = browser()
            .post(format!("{}/v1/webhooks/sumsub?code=of-a-query-string", app.url))
            .header(name, of_header(name))
            .body("of-a-whole-body");
        assert_eq!(Answer::of(asked.send().await.unwrap()).await.status, 401);
    }
    // After the failures, whose codes and tokens are among them.
    let mut canaries = app.canaries().await;
    canaries.add("their words", "words-of-a-stranger");
    for name in headers {
        canaries.add(name, &of_header(name));
    }
    canaries.add("query", "of-a-query-string");
    canaries.add("body", "of-a-whole-body");
    canaries.add("person", "127.0.0.1:");
    told(&ingest, "webhook_digest").await;
    told(&ingest, "bankid_login_refused").await;
    ingest
        .until("transaction", |timed| timed["transaction"] == "initiate-payment")
        .await;
    for event in ingest.items("event") {
        for left_out in ["request", "user", "breadcrumbs", "server_name", "extra"] {
            assert_eq!(event[left_out], Value::Null, "{left_out}");
        }
    }
    let own = ingest.dsn.trim_start_matches("http://public@").trim_end_matches("/1");
    let everything = ingest.everything().replace(own, "the ingest");
    assert_eq!(canaries.found_in(&everything), BTreeMap::new());
    canaries.assert_each_would_be_found();
    drop(app);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentry_that_is_slow_refuses_or_hangs_holds_up_no_request_no_job_and_no_end() {
    for manner in [Manner::Slow(Duration::from_secs(3)), Manner::Refuses, Manner::Hangs] {
        let ingest = Ingest::start(manner).await;
        let changes = [("SENTRY_DSN", ingest.dsn.as_str()), ("DROP_API_DRAIN_MS", "0")];
        let mut app = TestApp::start_fleet_with(FLEET, &changes).await;
        let begun = Instant::now();
        app.signed_in("anna").await;
        // More than the queue of reports holds.
        for _ in 0..40 {
            assert_eq!(forged_webhook(&app.url).await, 401);
        }
        app.signed_in("marko").await;
        let took = begun.elapsed();
        assert!(
            took < Duration::from_secs(30),
            "{manner:?}: {took:?}, and each report takes seconds or never ends"
        );
        assert!(!ingest.everything().is_empty(), "nothing was reported");

        let begun = Instant::now();
        let worker = &mut app.workers()[0];
        worker.signal("TERM");
        assert!(worker.ended().await.success(), "{manner:?}");
        let took = begun.elapsed();
        assert!(
            took < Duration::from_secs(9),
            "{manner:?}: {took:?}, as if the end waited for a report"
        );
        drop(app);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn without_a_dsn_there_is_no_client_and_no_thread_for_one() {
    let ingest = Ingest::start(Manner::Well).await;
    for (variables, threads) in [(vec![], 0), (vec![("SENTRY_DSN", ingest.dsn.as_str())], 2)] {
        let (database, worker, _) = misbehaving(Way::Together, &variables).await;
        let is_done = "SELECT count(*) = 1 FROM effects";
        let done = async || sqlx::query_scalar(is_done).fetch_one(&database.pool).await.unwrap();
        assert!(eventually(done).await);
        let named = worker
            .threads()
            .iter()
            .filter(|name| name.starts_with("sentry"))
            .count();
        assert_eq!(named, threads);
        end(worker).await;
        database.remove().await;
    }
}
