//! The operators' page in a real browser: nothing it complains of, nothing from elsewhere, and all of it by keyboard, on a
//! phone, in light and in dark. What it promises is seen there, and every action is done there.

use std::path::PathBuf;

use drop_tests::{app::TestApp, chromium};
use serde_json::{Value, json};

use super::scene::{KARI, OLA, audited, everything, service_with};

/// The first of these in the database, as text.
async fn one(app: &TestApp, query: &'static str) -> String {
    sqlx::query_scalar(query).fetch_one(&app.db).await.unwrap()
}

/// The id in a page's path.
fn id(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// The rows that the browser looks at and acts on.
struct Rows {
    payment: String,
    other: String,
    third: String,
    login: String,
    person: String,
    dead: String,
    next: String,
    ready: String,
    request: String,
    events: Vec<String>,
    unmatched: String,
    consent: String,
    consents_job: String,
    worker: String,
}

/// Who is behind the rows, and what was paid to whom: on no page.
const PERSONAL: [&str; 6] = [
    "Anna",
    "13897249477",
    "Marko",
    "265-1234567-89",
    "265123456789",
    "2010.00",
];

impl Rows {
    async fn of(app: &TestApp) -> Self {
        let payment =
            "SELECT '/operator/payments/tx_' || replace(id::text, '-', '') FROM transactions WHERE client_key = 'pay'";
        let other = "SELECT '/operator/payments/tx_' || replace(id::text, '-', '') FROM transactions WHERE client_key = 'copy 1'";
        let third = "SELECT '/operator/payments/tx_' || replace(id::text, '-', '') FROM transactions WHERE client_key = 'copy 2'";
        let events = "SELECT 'evt_' || replace(id::text, '-', '') FROM webhook_events WHERE state = 'quarantined' ORDER BY id DESC";
        Self {
            payment: one(app, payment).await,
            other: one(app, other).await,
            third: one(app, third).await,
            login: one(
                app,
                "SELECT '/operator/logins/lgn_' || replace(id::text, '-', '') FROM logins",
            )
            .await,
            person: one(
                app,
                "SELECT '/operator/people/usr_' || replace(id::text, '-', '') FROM users",
            )
            .await,
            dead: one(
                app,
                "SELECT min(id)::text FROM jobs WHERE state = 'dead' AND kind = 'sync-balance'",
            )
            .await,
            next: one(
                app,
                "SELECT (min(id) + 1)::text FROM jobs WHERE state = 'dead' AND kind = 'sync-balance'",
            )
            .await,
            ready: one(
                app,
                "SELECT min(id)::text FROM jobs WHERE state = 'ready' AND kind = 'sync-balance'",
            )
            .await,
            request: one(
                app,
                "SELECT request_id::text FROM jobs WHERE state = 'ready' AND kind = 'sync-balance' ORDER BY id LIMIT 1",
            )
            .await,
            events: sqlx::query_scalar(events).fetch_all(&app.db).await.unwrap(),
            unmatched: one(
                app,
                "SELECT 'evt_' || replace(id::text, '-', '') FROM webhook_events WHERE state = 'unmatched'",
            )
            .await,
            consent: one(app, "SELECT 'con_' || replace(id::text, '-', '') FROM bank_consents").await,
            consents_job: one(
                app,
                "SELECT min(j.id)::text FROM jobs j, bank_consents c WHERE j.payload ->> 'consent' = c.id::text",
            )
            .await,
            worker: one(app, "SELECT left(replace(owner::text, '-', ''), 12) FROM workers").await,
        }
    }

    fn pages(&self) -> Value {
        let Self {
            payment,
            login,
            person,
            dead,
            request,
            events,
            ..
        } = self;
        json!({
            "overview": "/operator",
            "jobs": "/operator/jobs?state=dead",
            "dead": "/operator/jobs/dead",
            "job": format!("/operator/jobs/{dead}"),
            "payments": "/operator/payments",
            "payment": payment,
            "login": login,
            "lanes": "/operator/lanes",
            "workers": "/operator/workers",
            "circuits": "/operator/breakers",
            "cron": "/operator/cron",
            "webhooks": "/operator/webhooks?state=quarantined",
            "event": format!("/operator/webhooks/{}", events[0]),
            "person": person,
            "audit": "/operator/audit",
            "found": format!("/operator/find?q={request}"),
        })
    }

    /// The table of features, line by line: texts, rows by what is in their cells, and what a filter takes away.
    fn sees(&self) -> Value {
        let Self {
            payment,
            login,
            person,
            dead,
            ready,
            request,
            unmatched,
            worker,
            ..
        } = self;
        json!({
            "/operator": [
                "Ready", "Running", "Dead", "Oldest ready", "Providers", "Payments to review", "Webhooks unmatched",
                { "row": "balance.batch", "cells": ["paused", "2", "17"] }, { "row": "balance.user", "cells": ["throttled"] },
                { "row": "sumsub/api", "cells": ["open"] }, { "row": "neonomics/pisp", "cells": ["closed"] }, { "row": worker, "cells": ["claims"] },
            ],
            "/operator/jobs?state=dead&error=503": [{ "row": "the bank answered 503", "cells": ["sync-balance", "dead"] }, { "hides": "the lease ended" }],
            "/operator/jobs?lane=balance.batch&kind=sync-balance&state=ready": [
                { "row": ready, "cells": ["sync-balance", "balance.batch", "ready"] }, { "hides": "the lease ended" },
            ],
            "/operator/jobs?lane=login": [{ "row": "check-login", "cells": ["login", "done"] }, { "hides": "the lease ended" }],
            "/operator/jobs?kind=initiate-payment": [{ "row": "initiate-payment", "cells": ["payment.send"] }, { "hides": "the lease ended" }],
            (format!("/operator/find?q={request}")): [ready],
            (format!("/operator/jobs/{dead}")): [
                "5 of 5", "About", "account", "Enqueued", "May start", "Ended", "What followed", "the next slot does it", "Failed attempts",
                { "row": "again", "cells": ["1", "the bank answered 503"] }, { "row": "dead", "cells": ["5", "the bank answered 503"] },
            ],
            "/operator/jobs/dead": [
                { "row": "the bank answered … to a read of …", "cells": ["14", "sync-balance", "the next slot does it"] },
                { "row": "the lease ended …", "cells": ["3", "the next slot does it"] },
            ],
            "/operator/payments": ["To review", "Newest", { "row": id(payment), "cells": ["processing", "review"] }],
            "/operator/lanes": [
                { "row": "balance.batch", "cells": ["paused", "their maintenance", "kari", "UTC (in"] },
                { "row": "balance.user", "cells": ["throttled", "the provider asked for it", "UTC (in"] },
                { "row": "payment.send", "cells": ["closed", "it is opened"] }, { "row": "kyc.apply", "cells": ["paused", "somebody resumes it"] },
            ],
            "/operator/workers": [worker, "claims", "Last heard of", "Leases", "Slots taken", "Restarts"],
            "/operator/breakers": [
                "Next probe", "History", { "row": "sumsub/api", "cells": ["open", "UTC ("] }, { "row": "neonomics/pisp", "cells": ["1 of 3 in 60 min"] },
            ],
            "/operator/cron": ["reconcile-kyc", "17 * * * *", "Last slot", "Next slot", "Taken in 24 h", "Skipped"],
            "/operator/webhooks?state=quarantined": [{ "row": "not a JSON object", "cells": ["quarantined"] }, { "hides": unmatched }],
            "/operator/webhooks?state=unmatched": [{ "row": unmatched, "cells": ["unmatched"] }, { "hides": "not a JSON object" }],
            "/operator/audit": [
                { "row": "operator.signed_in", "cells": ["kari"] },
                { "row": "lane.paused", "cells": ["kari", "upkeep", "seen by keyboard", "before", "after"] },
            ],
            (payment.clone()): ["payment.requested", "initiate-payment enqueued", "attempt.sent", "answer.ambiguous", "payment.needs_review"],
            (login.clone()): ["login.started", "callback.came_back", "check-login done", "login.succeeded"],
            (person.clone()): ["Identity check", "Decisions", "Newest payments"],
        })
    }

    /// Whose ids the box knows: what is typed, where it leads, and what is there.
    fn finds(&self) -> Value {
        let Self {
            payment,
            login,
            person,
            dead,
            unmatched,
            consent,
            consents_job,
            ..
        } = self;
        json!([
            [id(payment), payment, ["payment.requested"]],
            [id(login), login, ["login.started"]],
            [id(person), person, ["Identity check"]],
            [unmatched, format!("/operator/webhooks/{unmatched}"), ["unmatched"]],
            [dead, format!("/operator/jobs/{dead}"), ["5 of 5"]],
            [consent, format!("/operator/find?q={consent}"), [{ "row": consents_job, "cells": ["done"] }]],
            ["tx_0192f0c1a2b37c4d8e5f60718293a4b5", "/operator/find?q=tx_0192f0c1a2b37c4d8e5f60718293a4b5", ["Nothing is known by that id."]],
        ])
    }

    /// What the audit log has of the actions: who, on what, why, before and after.
    fn after(&self) -> Value {
        let told = |action: &str, on: &str, detail: &[&str]| {
            let cells = [["kari", on, "seen in a browser"].as_slice(), detail].concat();
            json!({ "row": action, "cells": cells })
        };
        let of = |action: &str, on: &str| told(action, on, &["before", "after"]);
        json!({
            "/operator/audit": [
                of("job.retried", &format!("job_{}", self.dead)), of("job.cancelled", &format!("job_{}", self.ready)),
                told("job.discarded", &format!("job_{}", self.next), &["before"]), of("lane.resumed", "kyc.call"), of("lane.paused", "kyc.call"),
                of("breaker.reset", "sumsub/api"), of("breaker.opened", "sumsub/api"), told("cron.run", "reconcile-kyc", &["after"]),
                of("webhook.replayed", &self.events[0]), of("webhook.dismissed", &self.events[2]), of("payment.settled", id(&self.payment)),
                of("payment.tracked", id(&self.other)), of("payment.retried", id(&self.third)), of("worker.quieted", ""), of("worker.resumed", ""),
            ],
            "/operator/breakers": [{ "row": "sumsub/api", "cells": ["closed"] }, { "row": "sumsub/api", "cells": ["open"] }],
        })
    }

    /// Every action, by the form that offers it.
    fn acts(&self) -> Value {
        let Self {
            payment,
            other,
            third,
            dead,
            next,
            ready,
            events,
            ..
        } = self;
        json!([
            { "path": format!("/operator/jobs/{dead}"), "form": "form.action", "press": "Run again" },
            { "path": format!("/operator/jobs/{ready}"), "form": "form.action", "press": "Cancel" },
            { "path": "/operator/jobs?state=dead", "form": "#selection", "tick": [next], "press": "Discard" },
            { "path": "/operator/jobs?state=dead&error=lease", "form": "#selection", "tick": "all", "press": "Retry" },
            { "path": "/operator/jobs?state=dead&error=503", "form": "form[action$=change-dead]", "choose": "A trial of", "press": "Retry" },
            { "path": "/operator/jobs?state=dead&error=503", "form": "form[action$=change-dead]", "choose": "A tenth", "press": "Retry" },
            { "path": "/operator/jobs?state=dead&error=503", "form": "form[action$=change-dead]", "choose": "All", "press": "Discard" },
            { "path": "/operator/lanes", "form": "form:has([value='kyc.call'])", "press": "Resume kyc.call" },
            { "path": "/operator/lanes", "form": "form:has([value='kyc.call'])", "with": { "minutes": "60" }, "press": "Pause kyc.call" },
            { "path": "/operator/breakers", "form": "form:has([value='sumsub/api'])", "press": "Close sumsub/api" },
            { "path": "/operator/breakers", "form": "form:has([value='sumsub/api'])", "press": "Open sumsub/api" },
            { "path": "/operator/cron", "form": "form:has([value='reconcile-kyc'])", "press": "Run reconcile-kyc" },
            { "path": "/operator/webhooks?state=quarantined", "form": "#selection", "tick": [events[0], events[1]], "press": "Replay" },
            { "path": format!("/operator/webhooks/{}", events[2]), "form": "form.action", "press": "Dismiss" },
            { "path": "/operator/webhooks?state=quarantined", "form": "form[action$=replay-all]", "press": "Replay all" },
            { "path": payment, "form": "form[action$=settle]", "choose": "ACSC", "press": "Settle" },
            { "path": other, "form": "form[action$=track]", "with": { "payment_id": "found-there" }, "press": "Ask the bank" },
            { "path": third, "form": "form[action$=retry]", "press": "Send it again" },
            { "path": "/operator/workers", "form": "form[action$=quiet]", "press": "Quiet" },
            { "path": "/operator/workers", "form": "form[action$=quiet]", "press": "go on" },
        ])
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_and_every_action_works_in_a_browser_by_keyboard_on_a_phone_in_light_and_in_dark() {
    let app = service_with(&[
        ("DROP_GRAFANA_URL", "https://grafana.example.com/d/drop"),
        ("DROP_OPERATOR_PROXIES", "127.0.0.1"),
    ])
    .await;
    everything(&app).await;
    sqlx::raw_sql(
        "UPDATE lanes SET paused_by = 'kari', paused_because = 'their maintenance', paused_until = now() + interval '50 min'
          WHERE name = 'balance.batch';
         UPDATE lanes SET paused = false WHERE name IN ('login', 'upkeep');
         UPDATE lanes SET closed_at = now() WHERE name = 'payment.send';
         UPDATE lanes SET paused = false, throttled_until = now() + interval '20 min' WHERE name = 'balance.user';
         INSERT INTO webhook_events (id, provider, event_key, event_type, raw, state, note)
         VALUES (gen_random_uuid(), 'sumsub', 'of nobody', 'applicantCreated', '{}', 'unmatched', 'no applicant');
         INSERT INTO jobs (kind, lane, payload, max_attempts, attempt, state, finished_at)
         SELECT 'ask-to-link', 5, jsonb_build_object('account', gen_random_uuid()), 5, 1, 'done', now() FROM generate_series(1, 60);
         INSERT INTO job_attempts (job_id, attempt, owner, result, started_at, ended_at, error)
         SELECT j.id, n, gen_random_uuid(), CASE n WHEN 5 THEN 'dead' ELSE 'again' END, now() - (6 - n) * interval '4 s',
                now() - (6 - n) * interval '3 s', j.last_error
           FROM (SELECT min(id) AS id, min(last_error) AS last_error FROM jobs WHERE state = 'dead' AND kind = 'sync-balance') j, generate_series(1, 5) n",
    )
    .execute(&app.db)
    .await
    .unwrap();
    let rows = Rows::of(&app).await;
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("operator-page");
    std::fs::create_dir_all(&folder).unwrap();
    let found = chromium::visit(&json!({
        "url": app.worker_internal().await,
        "token": KARI,
        "viewer": OLA,
        "proxy": {
            "operator": { "user": "siri@drop.no", "group": "drop-operators" },
            "viewer": { "user": "per@drop.no", "group": "drop-viewers" },
        },
        "folder": folder,
        "pages": rows.pages(),
        "never": PERSONAL,
        "sees": rows.sees(),
        "finds": rows.finds(),
        "long": "/operator/jobs?state=done&kind=ask-to-link",
        "acts": rows.acts(),
        "after": rows.after(),
    }))
    .await;
    if let Some(found) = found {
        judge(&found);
        let audited = audited(&app).await;
        let in_browser = audited
            .iter()
            .filter(|(.., detail)| detail["reason"] == "seen in a browser");
        assert_eq!(in_browser.count(), 33, "a row for each that was changed: {audited:?}");
    }
    app.abandon_without_books().await;
}

fn judge(found: &Value) {
    for kind in [
        "console", "foreign", "overflow", "unnamed", "small", "contrast", "personal", "unseen", "unasked",
    ] {
        assert_eq!(found[kind], json!([]), "{kind}");
    }
    assert_eq!(found["shots"], 64);
    let keyboard = &found["keyboard"];
    assert_eq!(keyboard["first"], "To the content");
    assert_eq!(
        (&keyboard["skipped"], &keyboard["slash"]),
        (&json!("main"), &json!("q"))
    );
    assert_ne!(keyboard["outlined"], "none");
    assert!(
        keyboard["done"].as_str().unwrap().contains("lane.paused, 1"),
        "{keyboard}"
    );
    assert_eq!(found["charts"], 8, "one for each lane");
    assert_eq!(found["dashboards"], "https://grafana.example.com/d/drop");
    assert_eq!(found["older"], json!([50, 10]));
    assert_eq!(
        found["viewer"],
        json!({ "who": "ola viewer Sign out", "changing": {}, "pages": 16 })
    );
    assert_eq!(
        found["proxy"],
        json!({
            "operator": { "who": "siri@drop.no operator", "changing": true },
            "done": "Done: lane.resumed, 1.",
            "viewer": { "who": "per@drop.no viewer", "changing": false },
        })
    );
    assert_eq!(found["live"], json!({ "seen": 200, "hidden": 0 }));
    let done = [
        "job.retried, 1",
        "job.cancelled, 1",
        "job.discarded, 1",
        "job.retried, 3",
        "job.retried, 5",
        "job.retried, 1",
        "job.discarded, 6",
        "lane.resumed, 1",
        "lane.paused, 1",
        "breaker.reset, 1",
        "breaker.opened, 1",
        "cron.run, 1",
        "webhook.replayed, 2",
        "webhook.dismissed, 1",
        "webhook.replayed, 1",
        "payment.settled, 1",
        "payment.tracked, 1",
        "payment.retried, 1",
        "worker.quieted, 1",
        "worker.resumed, 1",
    ];
    assert_eq!(found["done"], json!(done.map(|done| format!("Done: {done}."))));
}
