//! The operators' API: it says what the commands say and does what they do, and whoever may not is refused.

use std::collections::BTreeSet;

use clap::{CommandFactory as _, Parser};
use drop_tests::{
    app::{TestApp, eventually},
    person::browser,
};
use drop_worker::operator::{self, Verb};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Value, json};

use super::{
    every_form::KINDS,
    refused::PAGES,
    scene::{
        KARI, OLA, Visitor, audited, count, dead_jobs, found_by_compliance, payment_in_review, service, service_with,
    },
};

/// An operation's path, and the command that says or does the same.
type Twin = (&'static str, &'static str);

/// What whoever has a token may ask for, viewers too, with the page that shows the same.
const LOOKS: [(Twin, &str); 16] = [
    (("/audit", "audit"), "/operator/audit"),
    (("/circuits", "circuits list"), "/operator/breakers"),
    (("/circuits/history", "circuits history"), "/operator/breakers"),
    (("/cron", "cron list"), "/operator/cron"),
    (("/find", "find"), "/operator/find"),
    (("/jobs", "jobs list"), "/operator/jobs"),
    (("/jobs/dead", "jobs dead"), "/operator/jobs/dead"),
    (("/jobs/{id}", "jobs show"), "/operator/jobs/{id}"),
    (("/lanes", "lanes list"), "/operator/lanes"),
    (("/logins/{id}", "logins show"), "/operator/logins/{id}"),
    (("/payments", "payments newest"), "/operator/payments"),
    (("/payments/review", "payments list"), "/operator/payments"),
    (("/payments/{id}", "payments show"), "/operator/payments/{id}"),
    (("/users/{id}", "users show"), "/operator/people/{id}"),
    (("/webhooks", "webhooks list"), "/operator/webhooks"),
    (("/webhooks/{id}", "webhooks show"), "/operator/webhooks/{id}"),
];
/// The same, of what differs from one moment to the next.
const MOVING: [(Twin, &str); 2] = [
    (("/stats", "stats"), "/operator"),
    (("/workers", "workers list"), "/operator/workers"),
];
/// What operators alone may ask for. No page shows it.
const CASES: Twin = ("/cases", "cases list");
/// What operators alone may do, with the pages' forms that do the same.
const CHANGES: [(Twin, &[&str]); 18] = [
    (("/cases/{id}/close", "cases close"), &[]),
    (("/circuits/open", "circuits open"), &["/operator/breakers/set true"]),
    (("/circuits/reset", "circuits reset"), &["/operator/breakers/set false"]),
    (("/cron/{name}/run", "cron run"), &["/operator/cron/run"]),
    (("/jobs/cancel", "jobs cancel"), &["/operator/jobs/change cancel"]),
    (
        ("/jobs/dead/discard", "jobs discard-dead"),
        &["/operator/jobs/change-dead discard"],
    ),
    (
        ("/jobs/dead/retry", "jobs retry-dead"),
        &["/operator/jobs/change-dead retry"],
    ),
    (("/jobs/discard", "jobs discard"), &["/operator/jobs/change discard"]),
    (("/jobs/retry", "jobs retry"), &["/operator/jobs/change retry"]),
    (("/lanes/{lane}/pause", "lanes pause"), &["/operator/lanes/pause"]),
    (("/lanes/{lane}/resume", "lanes resume"), &["/operator/lanes/resume"]),
    (
        ("/payments/{id}/retry", "payments retry"),
        &["/operator/payments/…/retry"],
    ),
    (
        ("/payments/{id}/settle", "payments settle"),
        &["/operator/payments/…/settle"],
    ),
    (
        ("/payments/{id}/track", "payments track"),
        &["/operator/payments/…/track"],
    ),
    (
        ("/webhooks/dismiss", "webhooks dismiss"),
        &["/operator/webhooks/change dismiss"],
    ),
    (
        ("/webhooks/replay", "webhooks replay"),
        &["/operator/webhooks/change replay", "/operator/webhooks/replay-all"],
    ),
    (
        ("/workers/{owner}/quiet", "workers quiet"),
        &["/operator/workers/quiet true"],
    ),
    (
        ("/workers/{owner}/resume", "workers resume"),
        &["/operator/workers/quiet false"],
    ),
];
/// Commands without a twin: they need another role of the database, keys, files, or a service that is down.
const ALONE: [&str; 9] = [
    "reseal",
    "restored close",
    "restored open",
    "users erase",
    "users erase-again",
    "users erased",
    "users hold",
    "users kept",
    "users release",
];

const NO_PAYMENT: &str = "tx_0192f0c1a2b37c4d8e5f60718293a4b5";
const NO_EVENT: &str = "evt_0192f0c1a2b37c4d8e5f60718293a4b5";
const NO_WORKER: &str = "0192f0c1-a2b3-7c4d-8e5f-60718293a4b5";
const NO_CASE: &str = "aml_0192f0c1a2b37c4d8e5f60718293a4b5";
const BY: [&str; 4] = ["--operator", "kari", "--reason", "ticket 12"];

#[derive(Parser)]
struct Commands {
    #[command(subcommand)]
    _verb: Verb,
}

/// An answer of the API.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

/// Whoever asks the API, with or without a token.
struct Program {
    url: String,
    token: Option<&'static str>,
    headers: Vec<(&'static str, String)>,
}

impl Program {
    async fn of(app: &TestApp, token: Option<&'static str>) -> Self {
        Self {
            url: format!("{}/operator/api", app.worker_internal().await),
            token,
            headers: Vec::new(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(browser().get(format!("{}{path}", self.url))).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(browser().post(format!("{}{path}", self.url)).json(body))
            .await
    }

    async fn send(&self, mut request: reqwest::RequestBuilder) -> Answer {
        if let Some(token) = self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("a body");
        let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}"));
        Answer { status, headers, body }
    }
}

/// So many of the dead between two, whenever they died.
fn seen(share: &str, newest: &Value, oldest: &Value) -> Value {
    json!({ "share": share, "newest": newest, "oldest": oldest, "latest": "2100-01-01T00:00:00Z" })
}

/// Everything that would be changed, filled in so that it would be: paths and bodies.
fn changes(job: &Value) -> Vec<(String, Value)> {
    let bodies = [
        json!({ "finding": "nothing" }),
        json!({ "key": "sumsub/api" }),
        json!({ "key": "sumsub/api" }),
        json!({}),
        json!({ "ids": [job] }),
        seen("all", job, job),
        seen("all", job, job),
        json!({ "ids": [job] }),
        json!({ "ids": [job] }),
        json!({ "minutes": 15 }),
        json!({}),
        json!({}),
        json!({ "bank_status": "ACSC" }),
        json!({ "payment_id": "x" }),
        json!({ "ids": [NO_EVENT] }),
        json!({ "ids": [NO_EVENT] }),
        json!({}),
        json!({}),
    ];
    let filled = CHANGES.iter().zip(bodies).map(|(&((path, _), _), mut body)| {
        body["reason"] = json!("ticket 12");
        let id = match path.split('/').nth(1) {
            Some("payments") => NO_PAYMENT,
            _ => NO_CASE,
        };
        let lane = if path.ends_with("resume") { "kyc.call" } else { "upkeep" };
        let path = path
            .replace("{id}", id)
            .replace("{lane}", lane)
            .replace("{owner}", NO_WORKER)
            .replace("{name}", "prune");
        (path, body)
    });
    filled.collect()
}

/// What the changes would change, in one text.
async fn stands(app: &TestApp) -> String {
    sqlx::query_scalar(
        "SELECT concat_ws('; ', (SELECT string_agg(concat_ws(' ', id, state, attempt, unused), ',' ORDER BY id) FROM jobs WHERE kind = 'sync-balance'),
                          (SELECT string_agg(concat_ws(' ', name, paused), ',' ORDER BY lane) FROM lanes),
                          (SELECT string_agg(concat_ws(' ', key, open, epoch), ',' ORDER BY key) FROM breaker))",
    )
    .fetch_one(&app.db)
    .await
    .unwrap()
}

/// What the command prints, and whether it succeeded.
async fn runs(app: &TestApp, command: &str, more: &[&str]) -> (bool, String) {
    let arguments: Vec<&str> = command.split(' ').chain(more.iter().copied()).collect();
    app.operator(env!("CARGO_BIN_EXE_drop-node"), &arguments).await
}

async fn says(app: &TestApp, command: &str, id: Option<&str>) -> Value {
    let arguments: Vec<&str> = id.into_iter().chain(["--json"]).collect();
    let (succeeded, said) = runs(app, command, &arguments).await;
    assert!(succeeded, "{command}: {said}");
    serde_json::from_str(&said).unwrap()
}

/// Two events that were not understood. Their ids.
async fn quarantined(app: &TestApp) -> Vec<String> {
    let events: Vec<uuid::Uuid> = sqlx::query_scalar(
        "INSERT INTO webhook_events (id, provider, event_key, event_type, external_user_id, raw, state, note)
         SELECT gen_random_uuid(), 'sumsub', 'key-' || n, 'applicantReviewed', 'canary user', '{\"canary\": \"body\"}', 'quarantined', 'no applicant'
           FROM generate_series(1, 2) n RETURNING id",
    )
    .fetch_all(&app.db)
    .await
    .unwrap();
    events.iter().map(|id| format!("evt_{}", id.simple())).collect()
}

#[test]
fn every_operation_of_the_document_has_its_command_and_every_command_its_operation() {
    let document = operator::document();
    let paths = document["paths"].as_object().unwrap().iter();
    let published: BTreeSet<(String, String)> = paths
        .flat_map(|(path, methods)| {
            let path = path.strip_prefix("/operator/api").unwrap().to_owned();
            methods
                .as_object()
                .unwrap()
                .keys()
                .map(move |method| (method.clone(), path.clone()))
        })
        .collect();
    let looks = LOOKS.iter().chain(&MOVING).map(|(twin, _)| *twin).chain([CASES]);
    let looks = looks.map(|(path, _)| ("get".to_owned(), path.to_owned()));
    let changes = CHANGES
        .iter()
        .map(|((path, _), _)| ("post".to_owned(), (*path).to_owned()));
    assert_eq!(published, looks.chain(changes).collect());

    let mut commands = BTreeSet::new();
    for noun in Commands::command().get_subcommands() {
        let mut verbs = noun
            .get_subcommands()
            .map(|verb| format!("{} {}", noun.get_name(), verb.get_name()));
        match verbs.next() {
            None => drop(commands.insert(noun.get_name().to_owned())),
            Some(first) => commands.extend(verbs.chain([first])),
        }
    }
    let looks = LOOKS.iter().chain(&MOVING).map(|((_, command), _)| *command);
    let changes = CHANGES.iter().map(|((_, command), _)| *command);
    let twins = looks.chain(changes).chain([CASES.1]).chain(ALONE);
    assert_eq!(commands, twins.map(str::to_owned).collect());
}

#[test]
fn every_page_and_every_form_has_its_operation() {
    let shown: BTreeSet<&str> = LOOKS.iter().chain(&MOVING).map(|(_, page)| *page).collect();
    let pages = PAGES.map(|page| {
        let path = page.split('?').next().unwrap();
        let is_id = |part: &str| part.contains('_') || part.parse::<i64>().is_ok();
        let parts: Vec<&str> = path
            .split('/')
            .map(|part| if is_id(part) { "{id}" } else { part })
            .collect();
        parts.join("/")
    });
    assert_eq!(pages.iter().map(String::as_str).collect::<BTreeSet<_>>(), shown);
    let forms: BTreeSet<&str> = CHANGES.iter().flat_map(|(_, forms)| forms.iter().copied()).collect();
    assert_eq!(BTreeSet::from(KINDS), forms);
}

#[tokio::test]
async fn a_command_and_its_operation_show_the_same() {
    let app = service().await;
    let payment = payment_in_review(&app).await;
    let job = dead_jobs(&app, 7, "the bank is away").await[0].to_string();
    let event = quarantined(&app).await.remove(0);
    let user: uuid::Uuid = sqlx::query_scalar("SELECT user_id FROM transactions")
        .fetch_one(&app.db)
        .await
        .unwrap();
    let user = format!("usr_{}", user.simple());
    let login: uuid::Uuid = sqlx::query_scalar("SELECT id FROM logins LIMIT 1")
        .fetch_one(&app.db)
        .await
        .unwrap();
    let login = format!("lgn_{}", login.simple());
    found_by_compliance(&app).await;
    assert!(
        runs(
            &app,
            "lanes pause",
            &[["login", "--minutes", "15"].as_slice(), &BY].concat()
        )
        .await
        .0
    );
    let kari = Program::of(&app, Some(KARI)).await;
    for (path, command) in LOOKS.map(|(twin, _)| twin).into_iter().chain([CASES]) {
        let id = match path {
            "/jobs/{id}" => Some(&job),
            "/payments/{id}" | "/find" => Some(&payment),
            "/logins/{id}" => Some(&login),
            "/users/{id}" => Some(&user),
            "/webhooks/{id}" => Some(&event),
            _ => None,
        };
        let mut address = path.replace("{id}", id.map_or("", String::as_str));
        if path == "/find" {
            address = format!("/find?id={payment}");
        }
        let mut both = (Value::Null, Value::Null);
        // What they show may change between the two.
        let same = eventually(async || {
            let answer = kari.get(&address).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            let mut said = says(&app, command, id.map(String::as_str)).await;
            let body = match path {
                "/jobs" => answer.body["jobs"].clone(),
                "/webhooks" => answer.body["events"].clone(),
                _ => answer.body,
            };
            if path == "/webhooks/{id}" {
                // At a terminal alone.
                for member in ["body", "external_user_id"] {
                    assert!(said[member].take().to_string().contains("canary"), "{member}");
                }
            }
            both = (body, said);
            both.0 == both.1
        });
        assert!(same.await, "{path}: {} and {command}: {}", both.0, both.1);
        let shows = !matches!(both.0.as_array(), Some(rows) if rows.is_empty());
        assert!(shows || path == "/circuits/history", "{path} shows nothing");
        let table = runs(&app, command, &id.into_iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert!(table.0 && !table.1.is_empty(), "{command}: {}", table.1);
    }
    for ((path, command), _) in MOVING {
        let shown = |value: &Value| {
            let first = value[0].as_object().unwrap_or_else(|| panic!("{path}: {value}")).keys();
            first.cloned().collect::<Vec<_>>()
        };
        let read = async || kari.get(path).await.status == 200;
        assert!(eventually(read).await, "{path}");
        let body = kari.get(path).await.body;
        assert_eq!(shown(&body), shown(&says(&app, command, None).await), "{path}");
        assert!(runs(&app, command, &[]).await.0, "{command}");
    }
    app.abandon().await;
}

/// What is asked of the API, and the command that does the same to another, or to the same once it is undone.
type Pair = (String, Value, &'static str, Vec<String>);

fn pair(path: &str, body: Value, command: &'static str, arguments: &[&str]) -> Pair {
    let mut body = body;
    body["reason"] = json!("ticket 12");
    let arguments = arguments.iter().chain(&BY).map(ToString::to_string).collect();
    (path.to_owned(), body, command, arguments)
}

async fn runs_pair(app: &TestApp, command: &str, arguments: &[String]) -> (bool, String) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    runs(app, command, &arguments).await
}

fn pairs(jobs: &[i64], events: &[String], workers: &[String]) -> Vec<Pair> {
    let number = |at: usize| jobs[at].to_string();
    let (newest, oldest) = (json!(jobs.last()), json!(jobs[0]));
    let (mut of_kind, mut of_group) = (seen("trial", &newest, &oldest), seen("tenth", &newest, &oldest));
    of_kind["kind"] = json!("sync-balance");
    of_group["died_of"] = json!("the bank is away …");
    let (newest, oldest) = (newest.to_string(), oldest.to_string());
    let of_these = [
        "--newest",
        &newest,
        "--oldest",
        &oldest,
        "--latest",
        "2100-01-01T00:00:00Z",
    ];
    let with = |more: [&'static str; 4]| [more.as_slice(), &of_these].concat();
    let circuit = json!({ "key": "sumsub/api" });
    vec![
        pair("/jobs/retry", json!({ "ids": [jobs[0]] }), "jobs retry", &[&number(1)]),
        pair(
            "/jobs/cancel",
            json!({ "ids": [jobs[0]] }),
            "jobs cancel",
            &[&number(1)],
        ),
        pair(
            "/jobs/discard",
            json!({ "ids": [jobs[2]] }),
            "jobs discard",
            &[&number(3)],
        ),
        pair(
            "/jobs/dead/retry",
            of_kind,
            "jobs retry-dead",
            &with(["--share", "trial", "--kind", "sync-balance"]),
        ),
        pair(
            "/jobs/dead/discard",
            of_group,
            "jobs discard-dead",
            &with(["--share", "tenth", "--died-of", "the bank is away …"]),
        ),
        pair(
            "/lanes/login/pause",
            json!({ "until_resumed": true }),
            "lanes pause",
            &["kyc.call", "--until-resumed"],
        ),
        pair("/lanes/login/resume", json!({}), "lanes resume", &["kyc.call"]),
        pair("/circuits/open", circuit.clone(), "circuits open", &["neonomics/aisp"]),
        pair("/circuits/reset", circuit, "circuits reset", &["neonomics/aisp"]),
        pair(
            "/webhooks/replay",
            json!({ "ids": [events[0]] }),
            "webhooks replay",
            &[&events[1]],
        ),
        pair(
            "/webhooks/dismiss",
            json!({ "ids": [events[0]] }),
            "webhooks dismiss",
            &[&events[1]],
        ),
        pair(
            "/cron/reconcile-kyc/run",
            json!({}),
            "cron run",
            &["reconcile-payments"],
        ),
        pair(
            &format!("/workers/{}/quiet", workers[0]),
            json!({}),
            "workers quiet",
            &[&workers[1]],
        ),
        pair(
            &format!("/workers/{}/resume", workers[0]),
            json!({}),
            "workers resume",
            &[&workers[1]],
        ),
    ]
}

#[tokio::test]
async fn a_command_and_its_operation_do_the_same_and_leave_the_same_in_the_audit_log() {
    let app = service().await;
    let kari = Program::of(&app, Some(KARI)).await;
    app.lane("balance.batch", "paused = true").await;
    app.lane("kyc.apply", "paused = true").await;
    let events = quarantined(&app).await;
    let jobs = dead_jobs(&app, 30, "the bank is away").await;
    let workers: Vec<String> = sqlx::query_scalar(
        "INSERT INTO workers (owner, lanes, is_quiet) SELECT gen_random_uuid(), '{}', false FROM generate_series(1, 2) RETURNING owner::text",
    )
    .fetch_all(&app.db)
    .await
    .unwrap();
    for (path, body, command, arguments) in pairs(&jobs, &events, &workers) {
        let before = audited(&app).await.len();
        let answer = kari.post(&path, &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let by_api = audited(&app).await.split_off(before);
        let (done, said) = runs_pair(&app, command, &arguments).await;
        assert!(done, "{command}: {said}");
        let by_command = audited(&app).await.split_off(before + by_api.len());
        let action = answer.body["action"].as_str().unwrap();
        assert_eq!(
            said.trim(),
            format!("{action}: {}", answer.body["changed"]),
            "{command}"
        );
        assert_eq!(answer.body["changed"], by_api.len(), "{path}");
        for (one, other) in by_api.iter().zip(&by_command) {
            assert_eq!((one.0.as_str(), &other.0), (action, &one.0), "{path}");
            for member in ["operator", "reason", "before"] {
                assert_eq!(one.2[member], other.2[member], "{path}: {member}");
            }
        }
        assert_eq!(by_api.len(), by_command.len(), "{path}");
    }
    let scrape = app.scrape_worker().await;
    let counted = "drop_operator_actions_total{action=\"lane.paused\"} 1";
    assert!(scrape.contains(counted), "the API's alone");
    app.abandon().await;
}

#[tokio::test]
async fn what_stands_otherwise_is_refused_in_the_words_of_the_command_and_leaves_nothing_in_the_audit_log() {
    let app = service().await;
    let kari = Program::of(&app, Some(KARI)).await;
    let of_payment = |verb: &str| format!("/payments/{NO_PAYMENT}/{verb}");
    let last_word = json!({ "bank_status": "ACSC" });
    let refused = [
        pair(
            &of_payment("settle"),
            last_word,
            "payments settle",
            &[NO_PAYMENT, "--bank-status", "ACSC"],
        ),
        pair(
            &of_payment("track"),
            json!({ "payment_id": "x" }),
            "payments track",
            &[NO_PAYMENT, "--payment-id", "x"],
        ),
        pair(
            &format!("/workers/{NO_WORKER}/quiet"),
            json!({}),
            "workers quiet",
            &[NO_WORKER],
        ),
        pair(&of_payment("retry"), json!({}), "payments retry", &[NO_PAYMENT]),
        pair(
            &format!("/cases/{NO_CASE}/close"),
            json!({ "finding": "nothing" }),
            "cases close",
            &[NO_CASE, "--finding", "nothing"],
        ),
        pair(
            "/webhooks/dismiss",
            json!({ "ids": [NO_EVENT] }),
            "webhooks dismiss",
            &[NO_EVENT],
        ),
        pair("/cron/no-such/run", json!({}), "cron run", &["no-such"]),
    ];
    for (path, body, command, arguments) in refused {
        let answer = kari.post(&path, &body).await;
        let code = &answer.body["code"];
        assert_eq!(
            (answer.status, code),
            (409, &json!("conflict")),
            "{path}: {}",
            answer.body
        );
        let (done, said) = runs_pair(&app, command, &arguments).await;
        let why = answer.body["detail"].as_str().unwrap();
        assert!(!done && said.contains(why), "{command}: {said} without {why}");
    }
    for odd in ["two words", "beep\u{7}", "  "] {
        let given = json!({ "payment_id": odd });
        let (path, body, command, arguments) = pair(
            &of_payment("track"),
            given,
            "payments track",
            &[NO_PAYMENT, "--payment-id", odd],
        );
        let answer = kari.post(&path, &body).await;
        assert!(
            answer.body["detail"].to_string().contains("no id of a payment"),
            "{}",
            answer.body
        );
        let (done, said) = runs_pair(&app, command, &arguments).await;
        assert!(!done && said.contains("no id of a payment"), "{said}");
    }
    assert!(audited(&app).await.is_empty());
    app.abandon().await;
}

#[tokio::test]
async fn a_payment_is_settled_by_a_program_as_by_a_person() {
    let app = service().await;
    let payment = payment_in_review(&app).await;
    let kari = Program::of(&app, Some(KARI)).await;
    let waiting = kari.get("/payments/review?limit=1").await.body;
    assert_eq!(waiting[0]["id"], json!(payment));
    let behind = kari.get(&format!("/payments/review?after={payment}")).await.body;
    assert_eq!(behind, json!([]));
    let path = format!("/payments/{payment}/settle");
    for unusable in [
        json!({}),
        json!({ "bank_status": "ACSC", "never_arrived": true }),
        json!({ "bank_status": "RCVD" }),
    ] {
        let mut body = unusable.clone();
        body["reason"] = json!("ticket 12");
        assert_eq!(kari.post(&path, &body).await.status, 422, "{unusable}");
    }
    let settled = kari
        .post(&path, &json!({ "bank_status": "ACSC", "reason": "ticket 12" }))
        .await;
    assert_eq!(
        (settled.status, &settled.body),
        (200, &json!({ "action": "payment.settled", "changed": 1 }))
    );
    let told = kari.get(&format!("/payments/{payment}")).await.body;
    assert_eq!(
        (&told["status"], &told["needs_review"]),
        (&json!("completed"), &json!(false))
    );
    let (action, object, detail) = audited(&app).await.pop().unwrap();
    assert_eq!((action.as_str(), object), ("payment.settled", payment));
    assert_eq!(
        (&detail["operator"], &detail["reason"]),
        (&json!("kari"), &json!("ticket 12"))
    );
    app.abandon().await;
}

/// Forgets how many tokens were nobody's: what becomes of too many is another test's matter.
async fn anybody_may_try(app: &TestApp) {
    sqlx::query("DELETE FROM rate_bucket WHERE key LIKE 'operator.%'")
        .execute(&app.db)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_a_compliance_officer_found_is_told_to_no_program_that_only_looks() {
    let app = service().await;
    let anna = app.signed_in("anna").await;
    found_by_compliance(&app).await;
    let (ola, kari) = (Program::of(&app, Some(OLA)).await, Program::of(&app, Some(KARI)).await);
    let person = format!("/users/{}", anna.user);
    for path in ["/audit", &person, "/audit?limit=1"] {
        let told = ola.get(path).await;
        let text = told.body.to_string();
        assert!(told.status == 200 && text.contains("user.held"), "{path}: {text}");
        for secret in ["aml", "reported", "canary"] {
            assert!(!text.contains(secret), "{path} tells a viewer {secret}: {text}");
        }
    }
    let refused = ola.get("/cases?all=true").await;
    assert!(refused.status == 403 && !refused.body.to_string().contains("CANARY"));
    let done = kari.get("/audit").await.body.to_string();
    assert!(done.contains("aml.case_closed") && !done.contains("reported"), "{done}");
    let cases = kari.get("/cases").await.body;
    assert_eq!(cases[0]["reject_labels"], json!(["CANARY_LABEL"]));
    let last = cases[0]["id"].as_str().unwrap();
    assert_eq!(kari.get(&format!("/cases?after={last}")).await.body, json!([]));
    app.abandon().await;
}

/// The one group of the dead, as the API has it.
async fn group(kari: &Program) -> Value {
    let groups = kari.get("/jobs/dead").await.body;
    assert_eq!(groups.as_array().map(Vec::len), Some(1), "{groups}");
    groups[0].clone()
}

#[tokio::test]
async fn what_programs_and_commands_do_with_all_of_a_group_is_done_to_those_that_were_seen_and_to_no_others() {
    let app = service().await;
    let kari = Program::of(&app, Some(KARI)).await;
    app.lane("balance.batch", "paused = true").await;
    dead_jobs(&app, 4, "the bank answered").await;
    let dead = "SELECT count(*) FROM jobs WHERE kind = 'sync-balance' AND state = 'dead'";
    let unseen = json!({ "share": "all", "kind": "sync-balance", "reason": "ticket 12" });
    assert_eq!(kari.post("/jobs/dead/discard", &unseen).await.status, 400);
    assert!(
        !runs(
            &app,
            "jobs discard-dead",
            &[["--share", "all"].as_slice(), &BY].concat()
        )
        .await
        .0
    );
    let seen = group(&kari).await;
    // Somebody looks at it, and meanwhile one more dies of the same.
    dead_jobs(&app, 1, "the bank answered").await;
    let body = json!({
        "died_of": seen["error"], "kind": seen["kind"], "lane": seen["lane"], "newest": seen["newest"], "oldest": seen["oldest"],
        "latest": seen["latest"], "share": "all", "reason": "ticket 12",
    });
    let done = kari.post("/jobs/dead/discard", &body).await;
    assert_eq!(done.body["changed"], 4, "{}", done.body);
    assert_eq!(count(&app, dead).await, 1);

    let seen = group(&kari).await;
    dead_jobs(&app, 2, "the bank answered").await;
    let (newest, oldest) = (seen["newest"].to_string(), seen["oldest"].to_string());
    let (error, latest) = (seen["error"].as_str().unwrap(), seen["latest"].as_str().unwrap());
    let arguments = [
        "--share",
        "all",
        "--died-of",
        error,
        "--newest",
        &newest,
        "--oldest",
        &oldest,
        "--latest",
        latest,
    ];
    let (_, said) = runs(&app, "jobs discard-dead", &[arguments.as_slice(), &BY].concat()).await;
    assert_eq!(said.trim(), "job.discarded: 1");
    assert_eq!(count(&app, dead).await, 2);
    app.abandon().await;
}

#[tokio::test]
async fn who_has_no_token_sees_and_changes_nothing_and_a_viewer_changes_nothing() {
    let app = service().await;
    let job = json!(dead_jobs(&app, 1, "canary-error").await[0]);
    app.lane("kyc.call", "paused = true").await;
    let before = stands(&app).await;
    let mut cookie = Program::of(&app, None).await;
    cookie.headers = vec![("cookie", Visitor::signed_in(&app, KARI).await.cookie.unwrap())];
    let mut wrong_scheme = Program::of(&app, None).await;
    wrong_scheme.headers = vec![("authorization", format!("Basic {KARI}"))];
    let mut twice = Program::of(&app, Some(KARI)).await;
    twice.headers = vec![("authorization", format!("Bearer {OLA}"))];
    let nobody = [
        Program::of(&app, None).await,
        Program::of(&app, Some("nobodys")).await,
        cookie,
        wrong_scheme,
        twice,
    ];
    let viewer = Program::of(&app, Some(OLA)).await;
    for ((path, _), _) in LOOKS.iter().chain(&MOVING).chain([&(CASES, "")]) {
        anybody_may_try(&app).await;
        let path = path.replace("{id}", "1").replace("/find", "/find?id=1");
        for nobody in &nobody {
            let refused = nobody.get(&path).await;
            assert_eq!(
                (refused.status, &refused.body["code"]),
                (401, &json!("unauthenticated")),
                "{path}"
            );
            assert_eq!(refused.headers["www-authenticate"], "Bearer", "{path}");
        }
        let shown = viewer.get(&path).await;
        if path == CASES.0 {
            assert_eq!(
                (shown.status, &shown.body["code"]),
                (403, &json!("forbidden")),
                "{path}"
            );
            continue;
        }
        // The first reading may not be there yet.
        assert!(matches!(shown.status, 200 | 404 | 503), "{path}: {}", shown.body);
        assert_eq!(
            (
                &shown.headers["cache-control"],
                &shown.headers["x-content-type-options"]
            ),
            (&"no-store".parse().unwrap(), &"nosniff".parse().unwrap())
        );
    }
    for (path, body) in changes(&job) {
        anybody_may_try(&app).await;
        for nobody in &nobody {
            assert_eq!(nobody.post(&path, &body).await.status, 401, "{path}");
        }
        let refused = viewer.post(&path, &body).await;
        assert_eq!(
            (refused.status, &refused.body["code"]),
            (403, &json!("forbidden")),
            "{path}"
        );
        assert_eq!(refused.headers[CONTENT_TYPE], "application/problem+json", "{path}");
    }
    assert_eq!(stands(&app).await, before);
    assert!(audited(&app).await.is_empty());
    app.abandon().await;
}

#[tokio::test]
async fn what_an_operator_sends_must_be_whole_have_a_reason_and_come_from_no_other_page() {
    let app = service().await;
    let job = json!(dead_jobs(&app, 1, "the bank is away").await[0]);
    app.lane("kyc.call", "paused = true").await;
    let before = stands(&app).await;
    let mut kari = Program::of(&app, Some(KARI)).await;
    for (path, body) in changes(&job) {
        let with = |name: &str, value: Value| {
            let mut body = body.clone();
            body[name] = value;
            body
        };
        for reason in [
            "",
            "  ",
            "asked 13897249477",
            "mail to anna@example.com",
            &"x".repeat(301),
        ] {
            let refused = kari.post(&path, &with("reason", json!(reason))).await;
            assert_eq!(
                (refused.status, &refused.body["code"]),
                (422, &json!("validation_failed")),
                "{path} with {reason}"
            );
        }
        // A misspelt filter would widen what is done.
        assert_eq!(
            kari.post(&path, &with("lanes", json!("login"))).await.status,
            400,
            "{path} with a member too many"
        );
        assert_eq!(kari.post(&path, &json!([])).await.status, 400, "{path}");
        let url = format!("{}{path}", kari.url);
        let as_text = browser()
            .post(&url)
            .header(CONTENT_TYPE, "text/plain")
            .body(body.to_string());
        assert_eq!(
            kari.send(as_text).await.status,
            415,
            "{path}: a form of another page can send that"
        );
        let large = with("reason", json!("x".repeat(70_000)));
        assert_eq!(kari.post(&path, &large).await.status, 413, "{path}");
    }
    // A browser that trusts no plain connection says less, but the origin all the same.
    for (name, foreign) in [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://evil.test"),
        ("origin", "null"),
    ] {
        kari.headers = vec![(name, foreign.to_owned())];
        for (path, body) in changes(&job) {
            assert_eq!(kari.post(&path, &body).await.status, 403, "{path} from {foreign}");
        }
    }
    kari.headers.clear();
    for endless in [
        json!({ "reason": "ticket 12" }),
        json!({ "minutes": 15, "until_resumed": true, "reason": "ticket 12" }),
    ] {
        assert_eq!(
            kari.post("/lanes/upkeep/pause", &endless).await.status,
            422,
            "{endless}"
        );
    }
    assert!(
        !runs(&app, "lanes pause", &[["upkeep"].as_slice(), &BY].concat())
            .await
            .0
    );
    for unreadable in [
        "/jobs?lane=nowhere",
        "/jobs?state=gone",
        "/jobs?limit=0",
        "/jobs?before=x",
    ] {
        let refused = kari.get(unreadable).await;
        assert_eq!(
            (refused.status, &refused.body["code"]),
            (400, &json!("bad_request")),
            "{unreadable}"
        );
    }
    for unusable in ["/payments?user=usr_1", "/webhooks?state=gone", "/webhooks?before=evt_1"] {
        assert_eq!(kari.get(unusable).await.status, 422, "{unusable}");
    }
    for nowhere in ["/nowhere", "/jobs/999999", "/payments/tx_1"] {
        assert_eq!(kari.get(nowhere).await.body["code"], "not_found", "{nowhere}");
    }
    assert_eq!(stands(&app).await, before);
    assert!(audited(&app).await.is_empty());
    kari.headers = vec![("origin", app.worker_internal().await)];
    let run = kari.post("/cron/prune/run", &json!({ "reason": "ticket 12" })).await;
    assert_eq!(run.status, 200, "{}", run.body);
    app.abandon().await;
}

#[tokio::test]
async fn a_proxys_word_decides_the_role_of_a_program_too_and_the_document_is_served_beside() {
    let app = service_with(&[("DROP_OPERATOR_PROXIES", "127.0.0.1")]).await;
    let mut siri = Program::of(&app, None).await;
    let named = |groups: &str| {
        vec![
            ("x-forwarded-user", "siri@drop.no".to_owned()),
            ("x-forwarded-groups", groups.to_owned()),
        ]
    };
    let because = json!({ "minutes": 15, "reason": "ticket 12" });
    siri.headers = named("staff");
    assert_eq!(siri.get("/lanes").await.status, 401);
    siri.headers = named("drop-viewers");
    assert_eq!(siri.get("/lanes").await.status, 200);
    assert_eq!(siri.post("/lanes/upkeep/pause", &because).await.status, 403);
    for foreign in ["https://evil.test", "null"] {
        siri.headers = named("drop-operators");
        siri.headers.push(("origin", foreign.to_owned()));
        assert_eq!(
            siri.post("/lanes/upkeep/pause", &because).await.status,
            403,
            "{foreign}"
        );
    }
    siri.headers = named("drop-operators");
    assert_eq!(siri.post("/lanes/upkeep/pause", &because).await.status, 200);
    assert_eq!(audited(&app).await[0].2["operator"], "siri@drop.no");
    let served = Program::of(&app, None).await.get("/openapi.json").await;
    assert!(served.status == 200 && served.body == operator::document());
    app.abandon().await;

    // Where nobody may see the page, there is no API.
    let app = TestApp::start().await;
    let url = format!("{}/operator/api/lanes", app.worker_internal().await);
    assert_eq!(browser().get(url).send().await.unwrap().status().as_u16(), 404);
    app.finish().await;
}
