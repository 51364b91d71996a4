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

use super::scene::{KARI, OLA, Visitor, audited, dead_jobs, payment_in_review, service, service_with};

/// What whoever has a token may ask for, viewers too: the path, and the command that says the same.
const LOOKS: [(&str, &str); 17] = [
    ("/audit", "audit"),
    ("/cases", "cases list"),
    ("/circuits", "circuits list"),
    ("/circuits/history", "circuits history"),
    ("/cron", "cron list"),
    ("/find", "find"),
    ("/jobs", "jobs list"),
    ("/jobs/dead", "jobs dead"),
    ("/jobs/{id}", "jobs show"),
    ("/lanes", "lanes list"),
    ("/payments", "payments newest"),
    ("/payments/review", "payments list"),
    ("/payments/{id}", "payments show"),
    ("/stats", "stats"),
    ("/users/{id}", "users show"),
    ("/webhooks", "webhooks list"),
    ("/webhooks/{id}", "webhooks show"),
];
/// The same, of what differs from one moment to the next.
const MOVING: (&str, &str) = ("/workers", "workers");
/// What operators alone may do: the path, and the command that does the same.
const CHANGES: [(&str, &str); 16] = [
    ("/cases/{id}/close", "cases close"),
    ("/circuits/open", "circuits open"),
    ("/circuits/reset", "circuits reset"),
    ("/cron/{name}/run", "cron run"),
    ("/jobs/cancel", "jobs cancel"),
    ("/jobs/dead/discard", "jobs discard-dead"),
    ("/jobs/dead/retry", "jobs retry-dead"),
    ("/jobs/discard", "jobs discard"),
    ("/jobs/retry", "jobs retry"),
    ("/lanes/{lane}/pause", "lanes pause"),
    ("/lanes/{lane}/resume", "lanes resume"),
    ("/payments/{id}/retry", "payments retry"),
    ("/payments/{id}/settle", "payments settle"),
    ("/payments/{id}/track", "payments track"),
    ("/webhooks/dismiss", "webhooks dismiss"),
    ("/webhooks/replay", "webhooks replay"),
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

/// Everything that would be changed, filled in so that it would be: paths and bodies.
fn changes(job: &Value) -> Vec<(String, Value)> {
    let bodies = [
        json!({ "finding": "nothing" }),
        json!({ "key": "sumsub/api" }),
        json!({ "key": "sumsub/api" }),
        json!({}),
        json!({ "ids": [job] }),
        json!({ "share": "all" }),
        json!({ "share": "all" }),
        json!({ "ids": [job] }),
        json!({ "ids": [job] }),
        json!({ "minutes": 15 }),
        json!({}),
        json!({}),
        json!({ "bank_status": "ACSC" }),
        json!({ "payment_id": "x" }),
        json!({ "ids": [NO_EVENT] }),
        json!({ "ids": [NO_EVENT] }),
    ];
    let filled = CHANGES.iter().zip(bodies).map(|(&(path, _), mut body)| {
        body["reason"] = json!("ticket 12");
        let id = match path.split('/').nth(1) {
            Some("payments") => NO_PAYMENT,
            _ => NO_CASE,
        };
        let lane = if path.ends_with("resume") { "kyc.call" } else { "upkeep" };
        let path = path
            .replace("{id}", id)
            .replace("{lane}", lane)
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
        "INSERT INTO webhook_events (id, provider, event_key, event_type, raw, state, note)
         SELECT gen_random_uuid(), 'sumsub', 'key-' || n, 'applicantReviewed', '{\"canary\": \"body\"}', 'quarantined', 'no applicant'
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
    let looks = LOOKS
        .iter()
        .chain([&MOVING])
        .map(|(path, _)| ("get".to_owned(), (*path).to_owned()));
    let changes = CHANGES.iter().map(|(path, _)| ("post".to_owned(), (*path).to_owned()));
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
    let twins = LOOKS
        .iter()
        .chain([&MOVING])
        .chain(&CHANGES)
        .map(|(_, command)| *command);
    assert_eq!(commands, twins.chain(ALONE).map(str::to_owned).collect());
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
    // One in which nothing comes to wait: how long that has waited would differ from one moment to the next.
    assert!(
        runs(
            &app,
            "lanes pause",
            &[["login", "--minutes", "15"].as_slice(), &BY].concat()
        )
        .await
        .0
    );
    let viewer = Program::of(&app, Some(OLA)).await;
    for (path, command) in LOOKS {
        let id = match path {
            "/jobs/{id}" => Some(&job),
            "/payments/{id}" | "/find" => Some(&payment),
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
            let answer = viewer.get(&address).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            let mut said = says(&app, command, id.map(String::as_str)).await;
            let body = match path {
                "/jobs" => answer.body["jobs"].clone(),
                "/webhooks" => answer.body["events"].clone(),
                _ => answer.body,
            };
            if path == "/webhooks/{id}" {
                // At a terminal alone.
                assert!(said["body"].take().to_string().contains("canary"));
            }
            both = (body, said);
            both.0 == both.1
        });
        assert!(same.await, "{path}: {} and {command}: {}", both.0, both.1);
        let shows = !matches!(both.0.as_array(), Some(rows) if rows.is_empty());
        assert!(
            shows || matches!(path, "/cases" | "/circuits/history"),
            "{path} shows nothing"
        );
        let table = runs(&app, command, &id.into_iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert!(table.0 && !table.1.is_empty(), "{command}: {}", table.1);
    }
    assert!(viewer.get(MOVING.0).await.body.is_array() && says(&app, MOVING.1, None).await.is_array());
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

fn pairs(jobs: &[i64], events: &[String]) -> Vec<Pair> {
    let number = |at: usize| jobs[at].to_string();
    let of_kind = ["--share", "trial", "--kind", "sync-balance"];
    let of_error = ["--share", "tenth", "--error", "is away"];
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
            json!({ "share": "trial", "kind": "sync-balance" }),
            "jobs retry-dead",
            &of_kind,
        ),
        pair(
            "/jobs/dead/discard",
            json!({ "share": "tenth", "error": "is away" }),
            "jobs discard-dead",
            &of_error,
        ),
        pair("/lanes/login/pause", json!({}), "lanes pause", &["kyc.call"]),
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
    for (path, body, command, arguments) in pairs(&jobs, &events) {
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
    assert!(audited(&app).await.is_empty());
    app.abandon().await;
}

#[tokio::test]
async fn a_payment_is_settled_by_a_program_as_by_a_person() {
    let app = service().await;
    let payment = payment_in_review(&app).await;
    let kari = Program::of(&app, Some(KARI)).await;
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
    for (path, _) in LOOKS.iter().chain([&MOVING]) {
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
        assert!(matches!(shown.status, 200 | 404), "{path}: {}", shown.body);
        assert_eq!(
            (
                &shown.headers["cache-control"],
                &shown.headers["x-content-type-options"]
            ),
            (&"no-store".parse().unwrap(), &"nosniff".parse().unwrap())
        );
    }
    for (path, body) in changes(&job) {
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
    kari.headers = vec![("sec-fetch-site", "cross-site".to_owned())];
    for (path, body) in changes(&job) {
        assert_eq!(kari.post(&path, &body).await.status, 403, "{path} from elsewhere");
    }
    kari.headers.clear();
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
    let because = json!({ "reason": "ticket 12" });
    siri.headers = named("staff");
    assert_eq!(siri.get("/lanes").await.status, 401);
    siri.headers = named("drop-viewers");
    assert_eq!(siri.get("/lanes").await.status, 200);
    assert_eq!(siri.post("/lanes/upkeep/pause", &because).await.status, 403);
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
