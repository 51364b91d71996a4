//! The operators' API says what the commands say, and does what they do.

use std::collections::BTreeSet;

use clap::{CommandFactory as _, Parser};
use drop_tests::app::{TestApp, eventually};
use drop_worker::operator::{self, Verb};
use serde_json::{Value, json};

use super::{
    asking::{BY, Program, runs, says},
    every_form::KINDS,
    refused::PAGES,
    scene::{KARI, audited, dead_jobs, found_by_compliance, payment_in_review, service},
};

/// An operation's path, and the command that says or does the same.
pub(super) type Twin = (&'static str, &'static str);

/// What whoever has a token may ask for, viewers too, with the page that shows the same.
pub(super) const LOOKS: [(Twin, &str); 16] = [
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
pub(super) const MOVING: [(Twin, &str); 2] = [
    (("/stats", "stats"), "/operator"),
    (("/workers", "workers list"), "/operator/workers"),
];
/// What operators alone may ask for. No page shows it.
pub(super) const CASES: Twin = ("/cases", "cases list");
/// What operators alone may do, with the pages' forms that do the same.
pub(super) const CHANGES: [(Twin, &[&str]); 18] = [
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

pub(super) const NO_PAYMENT: &str = "tx_0192f0c1a2b37c4d8e5f60718293a4b5";
pub(super) const NO_EVENT: &str = "evt_0192f0c1a2b37c4d8e5f60718293a4b5";
pub(super) const NO_WORKER: &str = "0192f0c1-a2b3-7c4d-8e5f-60718293a4b5";
pub(super) const NO_CASE: &str = "aml_0192f0c1a2b37c4d8e5f60718293a4b5";

#[derive(Parser)]
struct Commands {
    #[command(subcommand)]
    _verb: Verb,
}

/// So many of the dead between two, whenever they died.
pub(super) fn seen(share: &str, newest: &Value, oldest: &Value) -> Value {
    json!({ "share": share, "newest": newest, "oldest": oldest, "latest": "2100-01-01T00:00:00Z" })
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
