//! What programs do through the operators' API, and what is refused to whom.

use drop_tests::{app::TestApp, person::browser};
use drop_worker::operator;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::{
    asking::{BY, Program, runs},
    scene::{
        KARI, OLA, Visitor, audited, count, dead_jobs, found_by_compliance, payment_in_review, service, service_with,
    },
    twins::{CASES, CHANGES, LOOKS, MOVING, NO_CASE, NO_EVENT, NO_PAYMENT, NO_WORKER, seen},
};

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
