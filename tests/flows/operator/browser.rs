//! The operators' page in a real browser: nothing it complains of, nothing from elsewhere, and all of it by keyboard, on a
//! phone, in light and in dark. What it promises is seen there, and every action is done there.

use std::path::PathBuf;

use drop_tests::{app::TestApp, chromium};
use serde_json::{Value, json};

use super::scene::{KARI, audited, everything, service_with};

/// The first of these in the database, as text.
async fn one(app: &TestApp, query: &'static str) -> String {
    sqlx::query_scalar(query).fetch_one(&app.db).await.unwrap()
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
    worker: String,
}

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

    /// The table of features, line by line.
    fn sees(&self) -> Value {
        let Self {
            payment,
            login,
            person,
            dead,
            ready,
            request,
            worker,
            ..
        } = self;
        json!({
            "/operator": ["balance.batch", "Ready", "Running", "Dead", "Oldest ready", "Dashboards", "Providers", "neonomics/pisp"],
            "/operator/jobs?state=dead&error=503": ["the bank answered 503", "sync-balance"],
            "/operator/jobs?lane=balance.batch&kind=sync-balance&state=ready": [ready],
            (format!("/operator/find?q={request}")): [ready],
            (format!("/operator/jobs/{dead}")): ["5 of 5", "Failed attempts", "the bank answered 503", "What followed", "the next slot does it"],
            "/operator/jobs/dead": ["the bank answered … to a read of …", "the lease ended …", "the next slot does it"],
            "/operator/lanes": ["their maintenance", "kari", "closed", "somebody resumes it"],
            "/operator/workers": [worker, "claims", "Last heard of", "Leases", "Slots taken", "Restarts"],
            "/operator/breakers": ["sumsub/api", "open", "Next probe", "1 of 3 in 60 min", "History"],
            "/operator/cron": ["reconcile-kyc", "17 * * * *", "Last slot", "Next slot", "Taken in 24 h", "Skipped"],
            "/operator/webhooks?state=quarantined": ["not a JSON object", "unmatched", "quarantined"],
            (payment.clone()): ["payment.requested", "initiate-payment enqueued", "attempt.sent", "answer.ambiguous", "payment.needs_review"],
            (login.clone()): ["login.started", "callback.came_back", "check-login done", "login.succeeded"],
            (person.clone()): ["Identity check", "Decisions", "Newest payments"],
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
    let app = service_with(&[("DROP_GRAFANA_URL", "https://grafana.example.com/d/drop")]).await;
    everything(&app).await;
    sqlx::raw_sql(
        "UPDATE lanes SET paused_by = 'kari', paused_because = 'their maintenance', paused_until = now() + interval '50 min'
          WHERE name = 'balance.batch';
         UPDATE lanes SET paused = false WHERE name IN ('login', 'upkeep');
         UPDATE lanes SET closed_at = now() WHERE name = 'payment.send';
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
        "folder": folder,
        "pages": rows.pages(),
        "sees": rows.sees(),
        "acts": rows.acts(),
    }))
    .await;
    if let Some(found) = found {
        judge(&found);
        let audited = audited(&app).await;
        let in_browser = audited
            .iter()
            .filter(|(.., detail)| detail["reason"] == "seen in a browser");
        assert_eq!(in_browser.count(), 32, "a row for each that was changed: {audited:?}");
    }
    app.abandon_without_books().await;
}

fn judge(found: &Value) {
    for kind in [
        "console", "foreign", "overflow", "unnamed", "small", "contrast", "unseen",
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
