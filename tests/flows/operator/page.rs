//! What operators see on the page, and what becomes of what they do there.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use chrono::TimeDelta;
use drop_tests::{
    app::{TestApp, eventually},
    person::browser,
};
use serde_json::{Value, json};

use super::{
    forms::{attribute, forms_of},
    scene::{KARI, Visitor, audited, count, dead_jobs, everything, payment_in_review, service, service_with},
};
use crate::paying::{approved, becomes, pays};

/// The only action that was done: what, on what, and its detail.
async fn only_audited(app: &TestApp) -> (String, String, Value) {
    let mut audited = audited(app).await;
    assert_eq!(audited.len(), 1, "{audited:?}");
    audited.remove(0)
}

#[tokio::test]
async fn a_lane_is_paused_with_a_reason_and_goes_on_by_itself_when_its_time_is_over() {
    let app = service().await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    kari.does("/operator/lanes/pause", &[("lane", "kyc.call"), ("minutes", "15")])
        .await;
    let lanes = kari.sees("/operator/lanes").await;
    assert!(
        lanes.contains("paused") && lanes.contains("ticket 12") && lanes.contains("kari"),
        "{lanes}"
    );
    let (action, lane, detail) = only_audited(&app).await;
    assert_eq!((action.as_str(), lane.as_str()), ("lane.paused", "kyc.call"));
    assert_eq!(
        (&detail["operator"], &detail["reason"]),
        (&json!("kari"), &json!("ticket 12"))
    );
    assert_eq!(
        (&detail["before"]["paused"], &detail["after"]["paused"]),
        (&json!(false), &json!(true))
    );
    let paused = "SELECT count(*) FROM lanes WHERE paused";
    app.advance(TimeDelta::minutes(14)).await;
    assert_eq!(count(&app, paused).await, 1);
    app.advance(TimeDelta::minutes(2)).await;
    // A worker looks every ten seconds.
    let goes_on = eventually(async || count(&app, paused).await == 0).await
        || eventually(async || count(&app, paused).await == 0).await;
    assert!(goes_on);
    assert_eq!(
        count(
            &app,
            "SELECT count(*) FROM audit_log WHERE action = 'lane.resumed' AND actor = 'worker'"
        )
        .await,
        1
    );
    let scrape = app.scrape_worker().await;
    assert!(
        scrape.contains("drop_operator_actions_total{action=\"lane.paused\"} 1"),
        "{scrape}"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_lane_that_was_paused_without_an_end_is_resumed_by_hand() {
    let app = service().await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    let unsaid = kari.acts("/operator/lanes/pause", &[("lane", "kyc.call")]).await;
    assert_eq!(unsaid.status, 422, "nobody said for how long");
    let for_good = [("lane", "kyc.call"), ("minutes", "until-resumed")];
    kari.does("/operator/lanes/pause", &for_good).await;
    let twice = kari.acts("/operator/lanes/pause", &for_good).await;
    assert_eq!(twice.status, 409, "{}", twice.text);
    assert!(twice.text.contains("so already"));
    kari.does("/operator/lanes/resume", &[("lane", "kyc.call")]).await;
    let actions: Vec<_> = audited(&app).await.into_iter().map(|(action, ..)| action).collect();
    assert_eq!(
        actions,
        ["lane.paused", "lane.resumed"],
        "what was refused is not there"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_circuit_is_opened_and_closed_by_hand_with_its_history_on_the_page() {
    let app = service().await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    kari.does("/operator/breakers/set", &[("key", "sumsub/api"), ("open", "true")])
        .await;
    assert_eq!(count(&app, "SELECT count(*) FROM breaker WHERE open").await, 1);
    kari.does("/operator/breakers/set", &[("key", "sumsub/api"), ("open", "false")])
        .await;
    assert_eq!(count(&app, "SELECT count(*) FROM breaker WHERE open").await, 0);
    let history: Vec<String> = sqlx::query_scalar("SELECT became FROM breaker_transitions ORDER BY id")
        .fetch_all(&app.db)
        .await
        .unwrap();
    assert_eq!(history, ["open", "closed"]);
    let page = kari.sees("/operator/breakers").await;
    let (_, past) = page.split_once("History").unwrap();
    assert_eq!(past.matches("sumsub/api").count(), 2);
    let audited = audited(&app).await;
    assert_eq!(
        (&audited[1].0, &audited[1].2["before"]["open"]),
        (&"breaker.reset".to_owned(), &json!(true))
    );
    app.finish().await;
}

#[tokio::test]
async fn a_lane_that_is_closed_since_a_restore_is_no_pause_that_somebody_could_end_here() {
    let app = service().await;
    app.lane("payment.send", "paused = true, closed_at = clock_timestamp()")
        .await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    let lanes = kari.sees("/operator/lanes").await;
    assert!(lanes.contains(">closed<"), "{lanes}");
    assert!(forms_of(&lanes).iter().all(|form| !form.action.ends_with("/resume")));
    let resumed = kari.acts("/operator/lanes/resume", &[("lane", "payment.send")]).await;
    assert_eq!(resumed.status, 409);
    app.abandon().await;
}

#[tokio::test]
async fn a_login_tells_its_story_while_its_row_is_there_and_after() {
    let app = service().await;
    app.signed_in("anna").await;
    let id: uuid::Uuid = sqlx::query_scalar("SELECT id FROM logins")
        .fetch_one(&app.db)
        .await
        .unwrap();
    let id = format!("lgn_{}", id.simple());
    let mut kari = Visitor::signed_in(&app, KARI).await;
    let path = kari.get(&format!("/operator/find?q={id}")).await.location;
    let story = kari.sees(&path).await;
    for step in [
        "login.started",
        "callback.came_back",
        "check-login enqueued",
        "check-login done",
        "login.succeeded",
        "login.handed_out",
    ] {
        assert!(story.contains(step), "{step}: {story}");
    }
    for personal in ["Anna", "13897249477"] {
        assert!(!story.contains(personal), "{personal}");
    }
    app.until_idle().await;
    sqlx::query("DELETE FROM logins").execute(&app.db).await.unwrap();
    let story = kari.sees(&path).await;
    assert!(
        story.contains("Its row is gone") && story.contains("login.succeeded"),
        "{story}"
    );
    assert_eq!(
        kari.get("/operator/logins/lgn_0192f0c1a2b37c4d8e5f60718293a4b5")
            .await
            .status,
        404
    );
    app.finish().await;
}

#[tokio::test]
async fn a_worker_is_kept_quiet_and_goes_on() {
    let app = service().await;
    let owner = async || -> Option<uuid::Uuid> {
        sqlx::query_scalar("SELECT owner FROM workers")
            .fetch_optional(&app.db)
            .await
            .unwrap()
    };
    assert!(eventually(async || owner().await.is_some()).await);
    let owner = owner().await.unwrap().to_string();
    let mut kari = Visitor::signed_in(&app, KARI).await;
    let shown = kari.sees("/operator/workers").await;
    assert!(
        shown.contains(&owner.replace('-', "")[..12]) && shown.contains(">claims<"),
        "{shown}"
    );
    let change = |quiet: &'static str| [("owner", owner.clone()), ("quiet", quiet.to_owned())];
    let quiet = change("true");
    let quiet = quiet.each_ref().map(|(name, value)| (*name, value.as_str()));
    kari.does("/operator/workers/quiet", &quiet).await;
    assert_eq!(kari.acts("/operator/workers/quiet", &quiet).await.status, 409);
    let mut heard = async || kari.sees("/operator/workers").await.contains(">quiet<");
    assert!(eventually(&mut heard).await, "it says so itself");
    assert!(kari.sees("/operator/workers").await.contains("ticket 12"));
    kari.does("/operator/cron/run", &[("name", "reconcile-kyc")]).await;
    // It looks for jobs every second, and is heard of every five.
    let rounds_later = "SELECT count(*) FROM workers, jobs
                         WHERE kind = 'reconcile-kyc' AND state = 'ready' AND seen_at > created_at + interval '2 s'";
    assert!(
        eventually(async || count(&app, rounds_later).await == 1).await,
        "nobody claims it"
    );
    let go_on = change("false");
    let go_on = go_on.each_ref().map(|(name, value)| (*name, value.as_str()));
    kari.does("/operator/workers/quiet", &go_on).await;
    app.until_idle().await;
    app.stop_worker().await;
    assert_eq!(
        count(&app, "SELECT count(*) FROM workers").await,
        0,
        "one that has ended is not missed"
    );
    app.finish().await;
}

#[tokio::test]
async fn the_overview_leads_to_the_dashboards_where_it_is_said_where_they_are() {
    let app = service_with(&[("DROP_GRAFANA_URL", "https://grafana.example.com/d/drop")]).await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    assert!(
        kari.sees("/operator")
            .await
            .contains("href=\"https://grafana.example.com/d/drop\"")
    );
    app.finish().await;
    let app = service().await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    assert!(!kari.sees("/operator").await.contains("Dashboards"));
    app.finish().await;
}

#[tokio::test]
async fn chosen_jobs_are_changed_all_or_none_and_are_found_by_many_filters() {
    let app = service().await;
    app.lane("balance.batch", "paused = true").await;
    let jobs = dead_jobs(&app, 2, "timed out").await;
    let (one, other) = (jobs[0].to_string(), jobs[1].to_string());
    let mut kari = Visitor::signed_in(&app, KARI).await;
    for filter in [
        "state=dead",
        "lane=balance.batch",
        "kind=sync-balance",
        "error=timed+out+1",
        "error=TIMED",
    ] {
        assert!(
            kari.sees(&format!("/operator/jobs?{filter}"))
                .await
                .contains(&format!(">{one}<")),
            "{filter}"
        );
    }
    for filter in ["state=done", "lane=login", "kind=prune-jobs", "error=50%25", "before=1"] {
        assert!(
            !kari
                .sees(&format!("/operator/jobs?{filter}"))
                .await
                .contains(&format!(">{one}<")),
            "{filter}"
        );
    }
    let mistyped = kari
        .acts(
            "/operator/jobs/change",
            &[("id", &one), ("id", "999999"), ("verb", "retry")],
        )
        .await;
    assert_eq!(mistyped.status, 409);
    assert!(audited(&app).await.is_empty());
    kari.does(
        "/operator/jobs/change",
        &[("id", &one), ("id", &other), ("verb", "retry")],
    )
    .await;
    assert_eq!(
        count(
            &app,
            "SELECT count(*) FROM jobs WHERE kind = 'sync-balance' AND state = 'ready'"
        )
        .await,
        2
    );
    assert!(
        kari.sees(&format!("/operator/jobs/{one}"))
            .await
            .contains("timed out 1")
    );
    assert_eq!(
        kari.get(&format!("/operator/find?q=job_{one}")).await.location,
        format!("/operator/jobs/{one}")
    );
    // One that waits may be cancelled: then it dies as one that came too late.
    kari.does("/operator/jobs/change", &[("id", &one), ("verb", "cancel")])
        .await;
    assert!(
        eventually(async || count(&app, "SELECT count(*) FROM jobs WHERE last_error = 'expired'").await == 1).await
    );
    let actions: Vec<_> = audited(&app).await.into_iter().map(|(action, ..)| action).collect();
    assert_eq!(actions, ["job.retried", "job.retried", "job.cancelled"]);
    app.abandon().await;
}

#[tokio::test]
async fn a_payment_that_was_paid_tells_its_way_from_the_order_to_the_notice() {
    let app = service().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let paid = pays(&anna, &account, "first").await.body;
    let (id, link) = (paid["id"].as_str().unwrap(), paid["scaRedirect"].as_str().unwrap());
    browser().get(approved(&app, link)).send().await.unwrap();
    becomes(&anna, id, "completed").await;
    app.until_idle().await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    let story = kari.sees(&format!("/operator/payments/{id}")).await;
    for step in [
        "payment.requested",
        "initiate-payment enqueued",
        "initiate-payment done",
        "payment.initiated",
        "callback.came_back",
        "poll-payment enqueued",
        "payment.moved",
        "payment delivered",
    ] {
        assert!(story.contains(step), "{step}: {story}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_payment_tells_its_whole_story_and_is_settled_there() {
    let app = service().await;
    let id = payment_in_review(&app).await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    assert!(kari.sees("/operator/payments").await.contains(&id));
    let path = format!("/operator/payments/{id}");
    let story = kari.sees(&path).await;
    for step in [
        "payment.requested",
        "initiate-payment enqueued",
        "attempt.sent",
        "answer.ambiguous",
        "payment.needs_review",
    ] {
        assert!(story.contains(step), "{step}: {story}");
    }
    for personal in ["Marko", "2010", "201000", "265-1234567-89", "Anna"] {
        assert!(!story.contains(personal), "{personal}");
    }
    let unknown = kari.acts(&format!("{path}/settle"), &[("bank_status", "PDNG")]).await;
    assert_eq!(unknown.status, 422);
    kari.does(&format!("{path}/settle"), &[("bank_status", "ACSC")]).await;
    let story = kari.sees(&path).await;
    for step in ["payment.settled", "payment.moved", "completed", "notification · worker"] {
        assert!(story.contains(step), "{step}: {story}");
    }
    // The move is the domain's row; who settled it and why is the action's.
    let (action, object, detail) = audited(&app).await.pop().unwrap();
    assert_eq!((action, object), ("payment.settled".to_owned(), id.clone()));
    assert_eq!(
        (&detail["before"]["status"], &detail["after"]["status"]),
        (&json!("processing"), &json!("completed"))
    );
    assert_eq!(
        kari.acts(&format!("{path}/settle"), &[("bank_status", "ACSC")])
            .await
            .status,
        409
    );
    let request: uuid::Uuid = sqlx::query_scalar("SELECT idempotency_key FROM transactions")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(kari.get(&format!("/operator/find?q={request}")).await.location, path);
    app.abandon().await;
}

#[tokio::test]
async fn a_schedule_is_run_between_its_slots() {
    let app = service().await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    let took = async || count(&app, "SELECT count(*) FROM cron_slots WHERE name = 'reconcile-kyc'").await == 1;
    assert!(eventually(took).await, "the worker takes the last slots when it starts");
    let before = count(&app, "SELECT count(*) FROM jobs WHERE kind = 'reconcile-kyc'").await;
    assert!(kari.sees("/operator/cron").await.contains("17 * * * *"));
    kari.does("/operator/cron/run", &[("name", "reconcile-kyc")]).await;
    assert_eq!(
        count(&app, "SELECT count(*) FROM jobs WHERE kind = 'reconcile-kyc'").await,
        before + 1
    );
    let (action, name, _) = only_audited(&app).await;
    assert_eq!((action.as_str(), name.as_str()), ("cron.run", "reconcile-kyc"));
    app.finish().await;
}

#[tokio::test]
async fn a_persons_check_is_told_by_ids_and_words_and_not_by_who_they_are() {
    let app = service().await;
    let anna = app.signed_in("anna").await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    let accepted = anna
        .post_later("/v1/kyc/applicant", "unused", &json!({ "email": "anna@example.com" }))
        .await;
    assert_eq!(accepted.status, 202, "{:?}", accepted.problem());
    app.until_idle().await;
    let page = kari.sees(&format!("/operator/people/{}", anna.user)).await;
    assert!(
        page.contains("pending") && page.contains("basic-kyc-level") && page.contains("kyc.applicant_requested"),
        "{page}"
    );
    for personal in ["Anna", "anna@example.com", "13897249477"] {
        assert!(!page.contains(personal), "{personal}");
    }
    app.finish().await;
}

#[tokio::test]
async fn what_others_wrote_is_shown_as_text_and_nothing_may_run_or_load_from_elsewhere() {
    let app = service().await;
    dead_jobs(&app, 1, "<script>alert(1)</script><img src=x onerror=alert(2)>").await;
    app.lane("balance.batch", "paused = true").await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    for page in [
        "/operator/jobs?state=dead",
        "/operator/jobs/dead",
        "/operator/find?q=%3Cscript%3Ealert(1)",
        "/operator/jobs?error=%22%3E%3Cscript%3Ealert(1)",
    ] {
        let shown = kari.get(page).await;
        assert_eq!(shown.status, 200, "{page}");
        assert!(
            !shown.text.contains("<script>alert") && !shown.text.contains("<img"),
            "{page}: {}",
            shown.text
        );
        let policy = shown.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'sha256-") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(shown.headers["cache-control"], "no-store");
        assert!(
            !shown.text.contains(" style=") && !shown.text.contains(" onclick="),
            "{page}"
        );
    }
    // Neither does an answer lead elsewhere.
    let led = kari
        .acts(
            "/operator/cron/run",
            &[("name", "prune"), ("back", "https://example.com/")],
        )
        .await;
    assert!(led.location.starts_with("/operator?did="), "{}", led.location);
    app.abandon().await;
}

#[tokio::test]
async fn the_overview_shows_what_the_gauges_read() {
    let app = service().await;
    dead_jobs(&app, 3, "timed out").await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    // The gauges are read every ten seconds.
    let mut shown = async || {
        kari.sees("/operator")
            .await
            .contains("/operator/jobs?state=dead&amp;lane=balance.batch\">3<")
    };
    assert!(eventually(&mut shown).await || eventually(&mut shown).await);
    app.abandon().await;
}

#[tokio::test]
async fn every_time_on_every_page_says_that_it_is_utc() {
    let app = service().await;
    let pages = everything(&app).await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    let mut times = 0;
    for page in pages {
        for time in kari.sees(&page).await.split("<time ").skip(1) {
            let (tag, shown) = time.split_once('>').unwrap();
            let (shown, _) = shown.split_once("</time>").unwrap();
            assert!(shown.contains(" UTC"), "{page}: {shown}");
            let machine_readable = attribute(tag, "datetime").unwrap();
            chrono::DateTime::parse_from_rfc3339(&machine_readable).unwrap();
            times += 1;
        }
    }
    assert!(times > 100, "{times}");
    app.abandon_without_books().await;
}

/// How often this process panics over a time from here on. What it says of panics stays as it was.
fn panics_over_times() -> Arc<AtomicUsize> {
    let panics = Arc::new(AtomicUsize::new(0));
    let (counted, says) = (Arc::clone(&panics), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        if panic.location().is_some_and(|place| place.file().contains("chrono")) {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        says(panic);
    }));
    panics
}

#[tokio::test]
async fn a_page_that_panics_is_answered_like_any_other_failure() {
    let app = service().await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    // A time that is beyond every calendar: whoever reads it panics.
    sqlx::raw_sql("INSERT INTO breaker_transitions (key, became, at) VALUES ('sumsub/api', 'open', 'infinity')")
        .execute(&app.db)
        .await
        .unwrap();
    let panics = panics_over_times();
    let failed = kari.get("/operator/breakers").await;
    assert_eq!(failed.status, 500, "{}", failed.text);
    assert_eq!(panics.load(Ordering::SeqCst), 1, "it fails in no other way");
    assert!(failed.text.contains("Something failed"), "{}", failed.text);
    // A panic may come after a commit.
    assert!(
        failed.text.contains("it may have been done") && !failed.text.contains("Nothing was changed"),
        "{}",
        failed.text
    );
    assert_eq!(failed.headers["cache-control"], "no-store");
    assert!(failed.headers.contains_key("content-security-policy"));
    kari.sees("/operator/lanes").await;
    app.abandon().await;
}

#[tokio::test]
async fn the_tiles_of_webhooks_lead_to_what_they_count() {
    let app = service().await;
    sqlx::raw_sql(
        "INSERT INTO webhook_events (id, provider, event_key, raw, state)
         SELECT gen_random_uuid(), 'sumsub', 'key-' || n, '{}', CASE n WHEN 1 THEN 'unmatched' ELSE 'quarantined' END FROM generate_series(1, 3) n",
    )
    .execute(&app.db)
    .await
    .unwrap();
    let mut kari = Visitor::signed_in(&app, KARI).await;
    let links = ["unmatched", "quarantined"].map(|state| format!("/operator/webhooks?state={state}"));
    let counted = |overview: &str| {
        let tile = |link| {
            overview
                .split_once(&format!("href=\"{link}\""))?
                .1
                .split_once("class=\"value\">")
        };
        links
            .each_ref()
            .map(|link| tile(link)?.1.split('<').next()?.parse::<usize>().ok())
    };
    let mut is_read = async || counted(&kari.sees("/operator").await) == [Some(1), Some(2)];
    assert!(eventually(&mut is_read).await || eventually(&mut is_read).await);
    for (link, count) in links.iter().zip([1, 2]) {
        let listed = kari.sees(link).await.matches("aria-label=\"Event evt_").count();
        assert_eq!(listed, count, "{link}");
    }
    app.abandon().await;
}
