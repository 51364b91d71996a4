//! Who sees nothing, and who can change nothing.

use chrono::TimeDelta;
use drop_tests::app::TestApp;

use super::{
    arriving::sign_in_for,
    scene::{KARI, OLA, Visitor, audited, dead_jobs, entry, found_by_compliance, service, service_with, stands},
};

/// Every page. A person and an event that are not there are asked for like any other.
pub(super) const PAGES: [&str; 16] = [
    "/operator",
    "/operator/find?q=1",
    "/operator/jobs",
    "/operator/jobs/dead",
    "/operator/jobs/1",
    "/operator/payments",
    "/operator/payments/tx_0192f0c1a2b37c4d8e5f60718293a4b5",
    "/operator/lanes",
    "/operator/breakers",
    "/operator/cron",
    "/operator/webhooks",
    "/operator/webhooks/evt_0192f0c1a2b37c4d8e5f60718293a4b5",
    "/operator/people/usr_0192f0c1a2b37c4d8e5f60718293a4b5",
    "/operator/logins/lgn_0192f0c1a2b37c4d8e5f60718293a4b5",
    "/operator/workers",
    "/operator/audit",
];

/// Every form that changes something, filled in so that it would.
fn forms(job: &str) -> Vec<(&'static str, Vec<(&'static str, &str)>)> {
    vec![
        ("/operator/jobs/change", vec![("id", job), ("verb", "retry")]),
        ("/operator/jobs/change", vec![("id", job), ("verb", "discard")]),
        (
            "/operator/jobs/change-dead",
            vec![("verb", "discard"), ("share", "all")],
        ),
        ("/operator/lanes/pause", vec![("lane", "upkeep"), ("minutes", "15")]),
        ("/operator/lanes/resume", vec![("lane", "kyc.call")]),
        ("/operator/breakers/set", vec![("key", "sumsub/api"), ("open", "true")]),
        ("/operator/cron/run", vec![("name", "prune")]),
        (
            "/operator/payments/tx_0192f0c1a2b37c4d8e5f60718293a4b5/settle",
            vec![("bank_status", "ACSC")],
        ),
        (
            "/operator/payments/tx_0192f0c1a2b37c4d8e5f60718293a4b5/track",
            vec![("payment_id", "x")],
        ),
        ("/operator/payments/tx_0192f0c1a2b37c4d8e5f60718293a4b5/retry", vec![]),
        (
            "/operator/webhooks/change",
            vec![("id", "evt_0192f0c1a2b37c4d8e5f60718293a4b5"), ("verb", "dismiss")],
        ),
        ("/operator/webhooks/replay-all", vec![("state", "received")]),
        (
            "/operator/workers/quiet",
            vec![("owner", "0192f0c1-a2b3-7c4d-8e5f-60718293a4b5"), ("quiet", "true")],
        ),
    ]
}

#[tokio::test]
async fn without_a_token_nothing_is_seen_and_nothing_is_changed() {
    let app = service().await;
    let job = dead_jobs(&app, 1, "canary-error").await[0].to_string();
    app.lane("kyc.call", "paused = true").await;
    let before = stands(&app).await;
    let mut nobody = Visitor::at(&app).await;
    for page in PAGES {
        let shown = nobody.get(page).await;
        assert_eq!(
            (shown.status, shown.location, shown.text.as_str()),
            (303, sign_in_for(page), ""),
            "{page}"
        );
    }
    for (path, fields) in forms(&job) {
        let mut given = fields.clone();
        given.extend([("reason", "ticket 12"), ("form", "guessed")]);
        let shown = nobody.post(path, &given).await;
        assert_eq!(
            (shown.status, shown.location.as_str()),
            (303, "/operator/sign-in"),
            "{path}"
        );
    }
    let wrong = nobody.post("/operator/sign-in", &[("token", "kari")]).await;
    assert_eq!((wrong.status, nobody.cookie.as_deref()), (403, None));
    assert!(nobody.get("/operator/sign-in").await.text.contains("Your token"));
    assert_eq!(stands(&app).await, before);
    assert!(audited(&app).await.is_empty());
    app.abandon().await;
}

#[tokio::test]
async fn a_form_that_the_page_did_not_make_for_this_operator_changes_nothing() {
    let app = service().await;
    let job = dead_jobs(&app, 1, "the bank is away").await[0].to_string();
    app.lane("kyc.call", "paused = true").await;
    let before = stands(&app).await;
    let somebody_elses = Visitor::signed_in(&app, OLA).await.form_token().await;
    let former = Visitor::signed_in(&app, KARI).await.form_token().await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    let own = kari.form_token().await;
    for (path, fields) in forms(&job) {
        for forged in ["", "guessed", &somebody_elses, &former] {
            let given = [fields.as_slice(), &[("reason", "ticket 12"), ("form", forged)]].concat();
            assert_eq!(kari.post(path, &given).await.status, 403, "{path} with {forged}");
        }
        // Neither is one without a reason, or with one that names somebody.
        for reason in [
            "",
            "  ",
            "asked 13897249477",
            "mail to anna@example.com",
            &"x".repeat(301),
        ] {
            let given = [fields.as_slice(), &[("reason", reason), ("form", &own)]].concat();
            assert_eq!(kari.post(path, &given).await.status, 422, "{path} with {reason}");
        }
    }
    kari.headers = vec![("sec-fetch-site", "cross-site".to_owned())];
    for (path, fields) in forms(&job) {
        let given = [fields.as_slice(), &[("reason", "ticket 12"), ("form", &own)]].concat();
        assert_eq!(kari.post(path, &given).await.status, 403, "{path} from elsewhere");
    }
    // A browser that trusts no plain connection says less, but the origin all the same.
    for foreign in ["https://evil.test", "null"] {
        kari.headers = vec![("origin", foreign.to_owned())];
        for (path, fields) in forms(&job) {
            let given = [fields.as_slice(), &[("reason", "ticket 12"), ("form", &own)]].concat();
            assert_eq!(kari.post(path, &given).await.status, 403, "{path} from {foreign}");
        }
        let mut lured = Visitor::at(&app).await;
        lured.headers.clone_from(&kari.headers);
        let signed_in = lured.post("/operator/sign-in", &[("token", KARI)]).await;
        assert_eq!((signed_in.status, lured.cookie), (403, None), "from {foreign}");
    }
    assert_eq!(stands(&app).await, before);
    assert!(audited(&app).await.is_empty());
    kari.headers = vec![("origin", app.worker_internal().await)];
    kari.does("/operator/cron/run", &[("name", "prune")]).await;
    app.abandon().await;
}

#[tokio::test]
async fn a_cookie_that_was_copied_is_nobodys_once_its_owner_signed_out() {
    let app = service().await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    let (copied, token) = (kari.cookie.clone(), kari.form_token().await);
    let mut elsewhere = Visitor::signed_in(&app, KARI).await;
    kari.post("/operator/sign-out", &[("form", &token)]).await;
    let mut thief = Visitor::at(&app).await;
    thief.cookie.clone_from(&copied);
    assert_eq!(thief.get("/operator").await.status, 303);
    let given = [("name", "prune"), ("reason", "ticket 12"), ("form", &token)];
    assert_eq!(
        thief.post("/operator/cron/run", &given).await.location,
        "/operator/sign-in"
    );
    assert_eq!(
        elsewhere.get("/operator").await.status,
        200,
        "their other session goes on"
    );
    // Any other worker knows it, too.
    app.stop_worker().await;
    app.start_worker().await;
    let mut thief = Visitor::at(&app).await;
    thief.cookie = copied;
    assert_eq!(thief.get("/operator").await.status, 303);
    app.abandon().await;
}

#[tokio::test]
async fn whoever_tries_too_many_tokens_waits_and_keeps_out_nobody_who_has_one() {
    let app = service().await;
    let mut nobody = Visitor::at(&app).await;
    let mut program = Visitor::at(&app).await;
    let mut asks = async |token: &str| {
        program.headers = vec![("authorization", format!("Bearer {token}"))];
        program.get("/operator/api/lanes").await
    };
    for _ in 0..5 {
        let refused = nobody.post("/operator/sign-in", &[("token", "guessed")]).await;
        assert_eq!((refused.status, asks("guessed").await.status), (403, 401));
        assert_eq!(asks(KARI).await.status, 200);
    }
    let refused = nobody.post("/operator/sign-in", &[("token", "guessed")]).await;
    assert!(refused.status == 429 && refused.headers.contains_key("retry-after"));
    let refused = asks("guessed").await;
    assert!(refused.status == 429 && refused.headers.contains_key("retry-after"));
    assert!(refused.text.contains("rate_limited"), "{}", refused.text);
    // From the same address, as all are who come through a forwarded port.
    Visitor::signed_in(&app, KARI).await;
    assert_eq!(asks(KARI).await.status, 200);
    assert_eq!(asks("guessed").await.status, 429, "nor do they reset what is counted");
    app.advance(TimeDelta::minutes(6)).await;
    assert_eq!(asks("guessed").await.status, 401);
    app.abandon().await;
}

#[tokio::test]
async fn what_a_compliance_officer_found_is_told_to_nobody_who_only_looks() {
    let app = service().await;
    let anna = app.signed_in("anna").await;
    found_by_compliance(&app).await;
    let person = format!("/operator/people/{}", anna.user);
    let mut ola = Visitor::signed_in(&app, OLA).await;
    for page in ["/operator/audit", &person] {
        let shown = ola.sees(page).await;
        assert!(shown.contains("user.held"), "{page}");
        for secret in ["aml.", "reported", "canary-reason"] {
            assert!(!shown.contains(secret), "{page} tells a viewer {secret}");
        }
    }
    let mut kari = Visitor::signed_in(&app, KARI).await;
    let shown = kari.sees("/operator/audit").await;
    assert!(shown.contains("aml.case_closed") && !shown.contains("reported"));
    app.abandon().await;
}

#[tokio::test]
async fn a_token_that_is_replaced_ends_what_was_begun_with_it() {
    let before = service().await;
    let cookie = Visitor::signed_in(&before, KARI).await.cookie;
    before.abandon().await;
    let replaced = entry("kari", "operator", "kari-0000000000000000000000000000000000");
    for (tokens, status) in [(entry("kari", "operator", KARI), 200), (replaced, 303)] {
        let after = service_with(&[("DROP_OPERATOR_TOKENS", &tokens)]).await;
        let mut kari = Visitor::at(&after).await;
        kari.cookie.clone_from(&cookie);
        assert_eq!(kari.get("/operator").await.status, status, "with {tokens}");
        after.abandon().await;
    }
}

#[tokio::test]
async fn what_an_audit_log_cannot_keep_is_no_reason_of_a_command_either() {
    let app = service().await;
    for reason in ["", " ", "asked 13897249477 about it"] {
        let pause = [
            "lanes",
            "pause",
            "login",
            "--minutes",
            "15",
            "--operator",
            "kari",
            "--reason",
            reason,
        ];
        let (done, _) = app.operator(env!("CARGO_BIN_EXE_drop-node"), &pause).await;
        assert!(!done, "{reason:?}");
    }
    assert!(audited(&app).await.is_empty());
    app.abandon().await;
}

#[tokio::test]
async fn a_filter_that_cannot_be_read_changes_nothing() {
    let app = service().await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    let fields = [
        ("state", "dead"),
        ("lane", "nowhere"),
        ("share", "all"),
        ("verb", "discard"),
    ];
    assert_eq!(kari.acts("/operator/jobs/change-dead", &fields).await.status, 422);
    assert!(kari.get("/operator/jobs?lane=nowhere").await.status == 422);
    app.abandon().await;
}

#[tokio::test]
async fn the_cookie_is_for_this_site_alone_ends_and_cannot_be_made_up() {
    let app = service().await;
    let mut kari = Visitor::at(&app).await;
    let answer = kari.post("/operator/sign-in", &[("token", KARI)]).await;
    let set = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/operator"] {
        assert!(set.contains(attribute), "{set}");
    }
    let cookie = kari.cookie.clone().unwrap();
    assert!(!cookie.contains(KARI));
    let other = cookie.replacen("kari", "ola", 1);
    let longer = cookie.replacen('~', "~~", 1);
    for forged in [
        other,
        longer,
        cookie[..cookie.len() - 2].to_owned(),
        "drop_operator=".to_owned(),
    ] {
        let mut visitor = Visitor::at(&app).await;
        visitor.cookie = Some(forged);
        assert_eq!(visitor.get("/operator").await.status, 303);
    }
    // Who looks stays; who is away for an hour is out, and everybody after half a day.
    for _ in 0..13 {
        app.advance(TimeDelta::minutes(54)).await;
        assert_eq!(kari.get("/operator/cron").await.status, 200);
    }
    app.advance(TimeDelta::minutes(54)).await;
    assert_eq!(kari.get("/operator").await.status, 303, "half a day is over");
    let mut away = Visitor::signed_in(&app, KARI).await;
    app.advance(TimeDelta::minutes(61)).await;
    assert_eq!(away.get("/operator").await.status, 303, "an hour without a sign");
    let mut leaves = Visitor::signed_in(&app, KARI).await;
    let token = leaves.form_token().await;
    assert_eq!(
        leaves.post("/operator/sign-out", &[("form", "guessed")]).await.status,
        403
    );
    assert_eq!(
        leaves.post("/operator/sign-out", &[("form", &token)]).await.location,
        "/operator/sign-in"
    );
    assert_eq!(leaves.get("/operator").await.status, 303);
    app.abandon().await;
}

#[tokio::test]
async fn a_proxys_word_is_believed_from_the_proxy_alone_and_decides_the_role() {
    let named = |user: &str, groups: &str| {
        vec![
            ("x-forwarded-user", user.to_owned()),
            ("x-forwarded-groups", groups.to_owned()),
        ]
    };
    let app = service_with(&[("DROP_OPERATOR_PROXIES", "127.0.0.1")]).await;
    let mut visitor = Visitor::at(&app).await;
    visitor.headers = named("siri@drop.no", "staff,drop-operators");
    visitor
        .does("/operator/lanes/pause", &[("lane", "upkeep"), ("minutes", "15")])
        .await;
    assert_eq!(audited(&app).await[0].2["operator"], "siri@drop.no");
    visitor.headers = named("siri@drop.no", "drop-viewers");
    assert_eq!(
        visitor
            .acts("/operator/lanes/resume", &[("lane", "upkeep")])
            .await
            .status,
        403
    );
    for (user, groups) in [
        ("siri", "staff"),
        ("siri", ""),
        ("", "drop-operators"),
        ("si ri", "drop-operators"),
    ] {
        visitor.headers = named(user, groups);
        assert_eq!(visitor.get("/operator").await.status, 303, "{user} in {groups}");
    }
    app.abandon().await;

    let app = service().await;
    let mut visitor = Visitor::at(&app).await;
    visitor.headers = named("siri", "drop-operators");
    assert_eq!(visitor.get("/operator").await.status, 303, "it is no proxy of ours");
    app.finish().await;
}

#[tokio::test]
async fn a_worker_without_operators_has_no_page_and_its_probes_need_no_token() {
    let app = TestApp::start().await;
    let mut visitor = Visitor::at(&app).await;
    assert_eq!(visitor.get("/operator").await.status, 404);
    assert_eq!(visitor.get("/operator/sign-in").await.status, 404);
    app.finish().await;

    let app = service().await;
    let mut visitor = Visitor::at(&app).await;
    assert_eq!(visitor.get("/livez").await.status, 200);
    assert!(visitor.sees("/metrics").await.contains("drop_operator_actions_total"));
    app.finish().await;
}
