//! What the internal listeners tell: metrics (contract, section 7) and probes.

#![expect(
    clippy::float_cmp,
    reason = "a metric's value is text, and the counts compared here are exact in it"
)]

use std::{
    collections::BTreeMap,
    future::pending,
    io::Write as _,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use drop_common::{
    metrics::{Metrics, Process},
    probes::Readiness,
    storage::ErrorClass,
};
use drop_sandbox::{Delivery, Digest, Fault, Mutation, Operation, Review};
use drop_tests::{
    alerts,
    app::{TestApp, eventually},
    person::browser,
};
use serde_json::{Value, json};

use crate::{ops::ops, paying::execute};

/// The contract's seven, and whether the API sets them too; the worker sets them all.
const CONTRACT: [(&str, bool); 7] = [
    ("bankid_login_errors_total", true),
    ("bankid_underage_rejections_total", false),
    ("pisp_payment_failures_total", false),
    ("pisp_circuit_open", false),
    ("sumsub_webhook_failures_total", true),
    ("aisp_balance_staleness_hours", false),
    ("kyc_approval_rate", false),
];

/// One answer of `/metrics`: every series as it is written, with its value.
pub(crate) struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    fn of(text: &str) -> Self {
        let series = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a series and its value");
            (series.to_owned(), value.parse().expect("a number"))
        });
        Self(series.collect())
    }

    pub(crate) async fn of_api(app: &TestApp) -> Self {
        Self::of(&app.scrape_api().await)
    }

    pub(crate) async fn of_worker(app: &TestApp) -> Self {
        Self::of(&app.scrape_worker().await)
    }

    #[track_caller]
    pub(crate) fn value(&self, series: &str) -> f64 {
        *self.0.get(series).unwrap_or_else(|| panic!("no {series}"))
    }

    /// The series of a counter that have counted anything, by their labels as they are written.
    pub(crate) fn counted(&self, name: &str) -> BTreeMap<String, f64> {
        let counted = self.0.iter().filter_map(|(series, count)| {
            let labels = series.strip_prefix(name).filter(|labels| labels.starts_with('{'))?;
            (*count > 0.0).then(|| (labels.to_owned(), *count))
        });
        counted.collect()
    }

    fn has_family(&self, name: &str) -> bool {
        self.0
            .keys()
            .any(|series| series.split('{').next().is_some_and(|found| found == name))
    }
}

fn order(account: &str) -> Value {
    json!({
        "accountId": account,
        "instructedAmount": { "amount": "2010.00", "currency": "NOK" },
        "creditorName": "Marko Petrovic",
        "creditorAccount": { "bban": "265-1234567-89" },
    })
}

/// Scrapes the worker until it holds, for half a minute at most: gauges are read from the database every ten seconds.
pub(crate) async fn until(app: &TestApp, what: &str, holds: impl Fn(&Scrape) -> bool) -> Scrape {
    for _ in 0..300 {
        let scrape = Scrape::of_worker(app).await;
        if holds(&scrape) {
            return scrape;
        }
        tokio::time::timeout(Duration::from_millis(100), pending::<()>())
            .await
            .ok();
    }
    panic!("never true: {what}");
}

#[tokio::test]
async fn each_process_shows_its_metrics_of_the_contract_from_the_start() {
    let app = TestApp::start().await;
    let (api, worker) = (Scrape::of_api(&app).await, Scrape::of_worker(&app).await);
    for (name, in_api) in CONTRACT {
        assert!(worker.has_family(name), "{name}");
        assert_eq!(api.has_family(name), in_api, "{name}");
    }
    for (reason, scrape) in [("invalid_state", &api), ("client_refused", &worker)] {
        assert_eq!(
            scrape.value(&format!("bankid_login_errors_total{{reason=\"{reason}\"}}")),
            0.0
        );
    }
    assert_eq!(worker.value("pisp_circuit_open"), 0.0);
    assert_eq!(worker.value("aisp_balance_staleness_hours"), 0.0);
    assert!(worker.value("kyc_approval_rate").is_nan(), "nothing was decided");
    app.finish().await;
}

/// What `promtool check metrics` says of a page, line by line. Nothing where there is no promtool, which is said.
fn promtool_says(page: &str) -> Option<Vec<String>> {
    let found = Command::new(ops("tool"))
        .args(["promtool", "prometheus"])
        .output()
        .unwrap();
    if !found.status.success() {
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "no promtool (Debian: prometheus)"
        );
        // Past the test runner, which swallows what a passing test prints.
        let _ = writeln!(std::io::stderr(), "not run: no promtool (Debian: prometheus)");
        return None;
    }
    let mut promtool = Command::new(String::from_utf8(found.stdout).unwrap().trim());
    promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut running = promtool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let said = running.wait_with_output().unwrap();
    let text = [said.stdout, said.stderr].concat();
    Some(
        String::from_utf8(text)
            .unwrap()
            .lines()
            .map(ToOwned::to_owned)
            .collect(),
    )
}

#[tokio::test]
async fn promtool_complains_about_nothing_but_the_hours_that_the_contract_names() {
    let app = TestApp::start().await;
    let pages = [app.scrape_api().await, app.scrape_worker().await];
    let said = pages.map(|page| promtool_says(&page));
    if let [Some(of_api), Some(of_worker)] = said {
        assert_eq!(of_api, Vec::<String>::new());
        let [hours] = &of_worker[..] else {
            panic!("{of_worker:?}")
        };
        assert!(hours.starts_with("aisp_balance_staleness_hours "), "{hours}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_bank_that_answers_500_three_times_shows_an_open_circuit() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.sandbox.fault(Operation::Payment, Fault::status(500), 3);
    let paid = anna.post_keyed("/v1/transactions", "first", &order(&account)).await;
    assert_eq!(paid.problem(), (502, "circuit_open"));
    let open = until(&app, "the circuit is open", |scrape| {
        scrape.value("pisp_circuit_open") == 1.0
    })
    .await;
    let calls = |outcome| {
        open.value(&format!(
            "drop_provider_requests_total{{operation=\"payment_initiate\",outcome=\"{outcome}\",provider=\"neonomics\"}}"
        ))
    };
    assert_eq!((calls("transient"), calls("ok")), (3.0, 0.0));
    let lane = until(&app, "the lane is blocked", |scrape| {
        scrape.value("drop_lane_blocked{lane=\"payment.send\"}") == 1.0
    })
    .await;
    assert_eq!(lane.value("drop_circuit_state{key=\"neonomics/pisp\"}"), 2.0);
    assert_eq!(lane.value("drop_circuit_state{key=\"neonomics/aisp\"}"), 0.0);
    assert_eq!(lane.value("drop_payments_open"), 1.0);
    app.abandon().await;
}

#[tokio::test]
async fn a_payment_that_the_bank_may_have_counts_once_as_ambiguous_and_waits_for_a_person() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.sandbox.fault(Operation::Payment, Fault::ExecuteThenDrop, 1);
    anna.post_keyed("/v1/transactions", "first", &order(&account)).await;
    let worker = until(&app, "a payment needs review", |scrape| {
        scrape.value("drop_payments_needs_review") == 1.0
    })
    .await;
    let failures = |reason| worker.value(&format!("pisp_payment_failures_total{{reason=\"{reason}\"}}"));
    assert_eq!((failures("ambiguous"), failures("retries_spent")), (1.0, 0.0));
    assert_eq!(worker.value("drop_payments_open"), 0.0);
    assert_eq!(worker.value("drop_jobs{lane=\"payment.send\",state=\"dead\"}"), 1.0);
    app.abandon().await;
}

#[tokio::test]
async fn a_circuit_that_another_worker_opened_shows_too_and_so_does_its_closing() {
    let app = TestApp::start().await;
    for _ in 0..3 {
        sqlx::query("SELECT breaker_fail('neonomics/pisp', 0, NULL, '0 s')")
            .execute(&app.db)
            .await
            .unwrap();
    }
    until(&app, "the circuit is open", |scrape| {
        scrape.value("pisp_circuit_open") == 1.0
    })
    .await;
    sqlx::query("UPDATE breaker SET open = false, opened_at = NULL, retry_at = NULL, closed_at = clock_timestamp()")
        .execute(&app.db)
        .await
        .unwrap();
    until(&app, "the circuit is closed", |scrape| {
        scrape.value("pisp_circuit_open") == 0.0
    })
    .await;
    app.finish().await;
}

#[tokio::test]
async fn a_minor_and_a_lost_state_are_counted_each_in_its_own_process() {
    let app = TestApp::start().await;
    assert_eq!(app.log_in("minor").await.problem(), (403, "underage"));
    let login = app.start_login().await;
    let forged = format!("{}/api/auth/bankid/callback?code=x&state=forged", app.url);
    assert_eq!(
        app.come_back(&forged, &login.cookie).await.problem(),
        (400, "invalid_state")
    );
    let api = Scrape::of_api(&app).await;
    let worker = until(&app, "the minor was counted", |scrape| {
        scrape.value("bankid_underage_rejections_total") == 1.0
    })
    .await;
    assert_eq!(api.value("bankid_login_errors_total{reason=\"invalid_state\"}"), 1.0);
    assert!(
        worker
            .0
            .iter()
            .all(|(series, value)| !series.starts_with("bankid_login_errors_total") || *value == 0.0),
        "being young is no error"
    );
    app.finish().await;
}

fn logins(scrape: &Scrape) -> BTreeMap<&str, f64> {
    let counted = scrape.0.iter().filter_map(|(series, count)| {
        let outcome = series.strip_prefix("drop_logins_total{outcome=\"")?;
        (*count > 0.0).then(|| (outcome.trim_end_matches("\"}"), *count))
    });
    counted.collect()
}

#[tokio::test]
async fn every_login_that_came_back_is_counted_once_by_what_it_ended_in_and_timed_where_bankid_was_asked() {
    let app = TestApp::start().await;
    let login = app.start_login().await;
    let callback = app.sandbox.bankid().sign_in(&login.authorization_url, "anna").unwrap();
    assert_eq!(app.come_back(&callback, &login.cookie).await.status, 200);
    // No login comes back with a callback that was used, nor does one that is never finished.
    assert_eq!(
        app.come_back(&callback, &login.cookie).await.problem(),
        (400, "invalid_state")
    );
    app.start_login().await;
    for (person, code) in [("anna", ""), ("minor", "underage"), ("cancel", "bankid_cancelled")] {
        assert_eq!(app.log_in(person).await.problem().1, code);
    }
    app.sandbox
        .bankid()
        .spoil_next(vec![Mutation::claim("nonce", "of another login")]);
    assert_eq!(app.log_in("anna").await.problem(), (502, "jwks_verification_failed"));

    let worker = until(&app, "all are counted", |scrape| {
        logins(scrape).values().sum::<f64>() == 4.0
    })
    .await;
    let checked = [("jwks_verification_failed", 1.0), ("succeeded", 2.0), ("underage", 1.0)];
    assert_eq!(logins(&worker), BTreeMap::from(checked));
    assert_eq!(
        logins(&Scrape::of_api(&app).await),
        BTreeMap::from([("bankid_cancelled", 1.0)])
    );
    for part in ["provider", "ours"] {
        let timed = worker.value(&format!("drop_login_duration_seconds_count{{part=\"{part}\"}}"));
        assert_eq!(timed, 4.0, "{part}");
    }
    app.finish().await;
}

#[tokio::test]
async fn the_time_of_a_login_is_told_apart_into_bankids_and_ours() {
    let app = TestApp::start().await;
    let slow = Duration::from_millis(1_500);
    let delay = Fault::Delay { ms: 1_500 };
    app.sandbox.fault(Operation::BankidToken, delay, 1);
    let login = app.start_login().await;
    let callback = app.sandbox.bankid().sign_in(&login.authorization_url, "anna").unwrap();
    let came_back = Instant::now();
    assert_eq!(app.come_back(&callback, &login.cookie).await.status, 200);
    let answered = came_back.elapsed().as_secs_f64();
    let count = "drop_login_duration_seconds_count{part=\"ours\"}";
    let worker = until(&app, "it was timed", |scrape| scrape.value(count) == 1.0).await;
    let part = |part| worker.value(&format!("drop_login_duration_seconds_sum{{part=\"{part}\"}}"));
    assert!(part("provider") >= slow.as_secs_f64(), "{}", part("provider"));
    assert!(part("ours") > 0.0);
    assert!(
        part("provider") + part("ours") <= answered,
        "more than the caller waited"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_login_whose_check_died_is_counted_and_told_once_although_the_check_is_run_again() {
    alerts::listen();
    let app = TestApp::start().await;
    let login = app.start_login().await;
    let callback = app.sandbox.bankid().sign_in(&login.authorization_url, "anna").unwrap();
    app.stop_worker().await;
    assert_eq!(app.come_back_later(&callback, &login.cookie).await.status, 202);
    let job: i64 = sqlx::query_scalar("UPDATE jobs SET expires_at = now() WHERE kind = 'check-login' RETURNING id")
        .fetch_one(&app.db)
        .await
        .unwrap();
    app.lane("login", "paused = true").await; // or it would still be taken in time
    app.start_worker().await;
    let failed = BTreeMap::from([("token_exchange_failed", 1.0)]);
    until(&app, "it was counted", |scrape| logins(scrape) == failed).await;
    app.lane("login", "paused = false").await;

    let arguments = [
        "jobs",
        "retry",
        &job.to_string(),
        "--operator",
        "kari",
        "--reason",
        "a mistake",
    ];
    let (retried, said) = app.operator(env!("CARGO_BIN_EXE_drop-node"), &arguments).await;
    assert!(retried, "{said}");
    let attempts = "drop_job_attempts_total{kind=\"check-login\",lane=\"login\",outcome=\"done\"}";
    let again = until(&app, "it ran again", |scrape| scrape.value(attempts) == 1.0).await;
    assert_eq!(logins(&again), failed);
    assert_eq!(again.value("bankid_login_errors_total{reason=\"not_checked\"}"), 1.0);
    // Told once, too.
    let audited: Vec<(String, String)> =
        sqlx::query_as("SELECT object, detail ->> 'reason' FROM audit_log WHERE action = 'login.refused'")
            .fetch_all(&app.db)
            .await
            .unwrap();
    let [(login, reason)] = &audited[..] else {
        panic!("{audited:?}");
    };
    assert_eq!(reason, "not_checked");
    assert_eq!(alerts::about(login), ["bankid_login_refused"]);
    app.finish().await;
}

#[tokio::test]
async fn a_webhook_with_a_bad_digest_counts_as_a_failure_of_the_api() {
    let app = TestApp::start().await;
    let delivery = Delivery {
        digest: Digest::Wrong,
        ..Delivery::default()
    };
    let review = Review::of("usr_unknown", "GREEN");
    let sent = app.sandbox.sumsub().review(review, &delivery).await.unwrap();
    assert_eq!(sent.statuses, [Some(401)]);
    let api = Scrape::of_api(&app).await;
    let failures = |reason| api.value(&format!("sumsub_webhook_failures_total{{reason=\"{reason}\"}}"));
    assert_eq!(
        [failures("digest"), failures("unreadable"), failures("storage")],
        [1.0, 0.0, 0.0]
    );
    // Of the process, in which other tests raise alerts too.
    let raised = |scrape: &Scrape| scrape.value("drop_alerts_raised_total{alert=\"webhook_digest\"}") >= 1.0;
    assert!(eventually(async || raised(&Scrape::of_api(&app).await)).await);
    app.finish().await;
}

#[tokio::test]
async fn calls_to_providers_and_attempts_of_jobs_are_counted_and_timed() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.has_an_account().await;
    let worker = until(&app, "nothing is in flight", |scrape| {
        scrape.value("drop_jobs_in_flight{lane=\"balance.user\"}") == 0.0
    })
    .await;
    for (provider, operation) in [
        ("bankid", "token"),
        ("neonomics", "balances"),
        ("sumsub", "applicant_create"),
    ] {
        let counted =
            format!("drop_provider_requests_total{{operation=\"{operation}\",outcome=\"ok\",provider=\"{provider}\"}}");
        let timed = format!(
            "drop_provider_request_duration_seconds_count{{operation=\"{operation}\",provider=\"{provider}\"}}"
        );
        assert!(worker.value(&counted) >= 1.0, "{counted}");
        assert_eq!(worker.value(&counted), worker.value(&timed), "{operation}");
    }
    for (lane, kind) in [("login", "check-login"), ("balance.user", "refresh-balance")] {
        let attempts = format!("drop_job_attempts_total{{kind=\"{kind}\",lane=\"{lane}\",outcome=\"done\"}}");
        assert!(worker.value(&attempts) >= 1.0, "{attempts}");
        for family in [
            "drop_job_duration_seconds",
            "drop_job_wait_seconds",
            "drop_claim_duration_seconds",
        ] {
            assert!(
                worker.value(&format!("{family}_count{{lane=\"{lane}\"}}")) >= 1.0,
                "{family} {lane}"
            );
        }
    }
    assert_eq!(worker.value("drop_lane_slots{lane=\"login\"}"), 64.0);
    assert!(worker.value("drop_worker_last_claim_timestamp_seconds") > 1_700_000_000.0);
    app.finish().await;
}

#[tokio::test]
async fn the_gauges_tell_what_the_rows_say() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.has_an_account().await;
    let decided = anna.get("/v1/kyc").await;
    assert_eq!(decided.body["status"], "approved");
    // The approval again, three times as a rejection, and one of the day before yesterday that no longer counts.
    sqlx::query(
        "WITH other AS (
           INSERT INTO webhook_events (id, provider, event_key, event_type, state, applied_at)
           SELECT gen_random_uuid(), 'sumsub', 'other' || n, 'applicantReviewed', 'applied', now() FROM generate_series(1, 4) n
           RETURNING id, event_key)
         INSERT INTO screening_results (id, user_id, screening_type, result, webhook_event_id, applicant_id, provider_at)
         SELECT gen_random_uuid(), u.id, 'kyc', 'rejected', other.id, 'a',
                now() - CASE WHEN event_key = 'other4' THEN interval '2 days' ELSE interval '1 min' END
           FROM other, users u",
    )
    .execute(&app.db)
    .await
    .unwrap();
    sqlx::query("UPDATE bank_consents SET authorised_at = now() - interval '1 day'")
        .execute(&app.db)
        .await
        .unwrap();
    sqlx::query("UPDATE bank_accounts SET balance_synced_at = now() - interval '13 hours'")
        .execute(&app.db)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO webhook_events (id, provider, event_key, received_at) VALUES (gen_random_uuid(), 'sumsub', 'late', now() - interval '10 min')",
    )
    .execute(&app.db)
    .await
    .unwrap();
    // Of two reads without the owner one is of yesterday, and the next is due for two minutes.
    sqlx::query(
        "INSERT INTO balance_reads (account_id, attended, read_at)
         SELECT id, false, now() - age FROM bank_accounts, unnest(ARRAY[interval '1 hour', interval '25 hours']) age",
    )
    .execute(&app.db)
    .await
    .unwrap();
    sqlx::query("UPDATE bank_accounts SET next_sync_at = now() - interval '2 min'")
        .execute(&app.db)
        .await
        .unwrap();
    app.lane("upkeep", "paused = true").await; // nobody plans it
    sqlx::query(
        "INSERT INTO jobs (lane, kind, max_attempts, run_at) VALUES (8, 'prune-jobs', 1, now() + interval '1 hour')",
    )
    .execute(&app.db)
    .await
    .unwrap();
    // Those about balances are read once a minute, and when a worker begins.
    app.stop_worker().await;
    app.start_worker().await;
    let worker = until(&app, "the balance is stale", |scrape| {
        scrape.value("aisp_balance_staleness_hours") > 12.0
            && scrape.value("drop_jobs{lane=\"upkeep\",state=\"scheduled\"}") == 1.0
    })
    .await;
    assert!(worker.value("aisp_balance_staleness_hours") < 13.1);
    assert_eq!(worker.value("drop_balance_window_used"), 1.0);
    let lag = worker.value("drop_balance_sync_lag_seconds");
    assert!((120.0..180.0).contains(&lag), "{lag}");
    assert_eq!(worker.value("drop_consents{state=\"valid\"}"), 1.0);
    assert_eq!(worker.value("kyc_approval_rate"), 0.25);
    assert_eq!(worker.value("drop_kyc_reviews_last_hour"), 4.0);
    let inbox = worker.value("drop_webhook_inbox_oldest_age_seconds");
    assert!((600.0..700.0).contains(&inbox), "{inbox}");
    assert_eq!(worker.value("drop_lane_ready_age_limit_seconds{lane=\"login\"}"), 5.0);
    assert!(
        worker
            .value("drop_lane_ready_age_limit_seconds{lane=\"upkeep\"}")
            .is_nan()
    );
    assert!(worker.value("drop_queue_gauges_age_seconds") <= 12.0);

    // A consent that ended takes its accounts out: nobody can read them any more.
    sqlx::query("UPDATE bank_consents SET status = 'expired'")
        .execute(&app.db)
        .await
        .unwrap();
    app.stop_worker().await;
    app.start_worker().await;
    until(&app, "no account is left", |scrape| {
        scrape.value("aisp_balance_staleness_hours") == 0.0 && scrape.value("drop_balance_sync_lag_seconds") == 0.0
    })
    .await;
    app.abandon().await;
}

#[tokio::test]
async fn each_process_tells_of_its_connections_and_of_what_the_database_refused() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    // Of the process, in which other tests may meet errors too.
    let before = u32::try_from(ErrorClass::Other.met()).unwrap();
    execute(&app, "ALTER TABLE notifications RENAME TO elsewhere").await;
    assert_eq!(
        anna.get("/v1/me/notifications").await.problem(),
        (500, "internal_error")
    );
    execute(&app, "ALTER TABLE elsewhere RENAME TO notifications").await;
    let refused = |scrape: &Scrape| scrape.value("drop_db_errors_total{class=\"other\"}") > f64::from(before);
    assert!(eventually(async || refused(&Scrape::of_api(&app).await)).await);
    for scrape in [Scrape::of_api(&app).await, Scrape::of_worker(&app).await] {
        let connections =
            ["idle", "in_use"].map(|state| scrape.value(&format!("drop_db_connections{{state=\"{state}\"}}")));
        assert!(connections.iter().sum::<f64>() >= 1.0, "{connections:?}");
        assert!(scrape.value("drop_db_acquire_duration_seconds_count") >= 1.0);
    }
    app.finish().await;
}

#[tokio::test]
async fn the_worker_is_alive_and_both_are_ready() {
    let app = TestApp::start().await;
    for internal in [app.api_internal(), &app.worker_internal().await] {
        for probe in ["livez", "readyz", "startupz"] {
            let answer = browser().get(format!("{internal}/{probe}")).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{internal}/{probe}");
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn a_process_is_ready_once_its_schema_is_there_and_asks_no_more_after_that() {
    let app = TestApp::start().await;
    let metrics = Arc::new(Metrics::new(Process::Api, "0.1.0", "unknown").unwrap());
    let readiness = Readiness::new(app.db.clone(), metrics);
    readiness.started();
    let hide =
        "UPDATE _sqlx_migrations SET success = false WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    sqlx::query(hide).execute(&app.db).await.unwrap();
    assert!(!readiness.is_ready().await, "a migration is missing");
    sqlx::query("UPDATE _sqlx_migrations SET success = true")
        .execute(&app.db)
        .await
        .unwrap();
    assert!(readiness.is_ready().await);
    sqlx::query(hide).execute(&app.db).await.unwrap();
    assert!(readiness.is_ready().await, "it was there once");
    app.finish().await;
}
