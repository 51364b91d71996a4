//! Somebody in front of the operators' page, without a browser: the cookie they hold, and the forms that the page gives them.

use drop_common::keyring::sha256;
use drop_sandbox::{Fault, Operation};
use drop_tests::{
    app::{TestApp, eventually},
    person::browser,
};
use reqwest::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use serde_json::{Value, json};

/// An operator's token.
pub(super) const KARI: &str = "kari-7f1b0d8e6a5c4b3a2918070605040302";
/// A viewer's token.
pub(super) const OLA: &str = "ola-00112233445566778899aabbccddeeff";

/// Somebody in the list of those who may sign in.
pub(super) fn entry(name: &str, role: &str, token: &str) -> String {
    let hash = sha256(token.as_bytes())
        .iter()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    format!("{name}:{role}:{hash}")
}

/// A service with one operator and one viewer, and some variables set otherwise.
pub(super) async fn service_with(changes: &[(&'static str, &str)]) -> TestApp {
    let tokens = format!("{},{}", entry("kari", "operator", KARI), entry("ola", "viewer", OLA));
    let all: Vec<_> = [("DROP_OPERATOR_TOKENS", tokens.as_str())]
        .into_iter()
        .chain(changes.iter().copied())
        .collect();
    TestApp::start_with(&all).await
}

pub(super) async fn service() -> TestApp {
    service_with(&[]).await
}

/// An answer of the page.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) status: u16,
    pub(super) location: String,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

/// Somebody with or without a cookie.
pub(super) struct Visitor {
    url: String,
    pub(super) cookie: Option<String>,
    pub(super) headers: Vec<(&'static str, String)>,
}

impl Visitor {
    pub(super) async fn at(app: &TestApp) -> Self {
        Self {
            url: app.worker_internal().await,
            cookie: None,
            headers: Vec::new(),
        }
    }

    pub(super) async fn signed_in(app: &TestApp, token: &str) -> Self {
        let mut visitor = Self::at(app).await;
        let answer = visitor.post("/operator/sign-in", &[("token", token)]).await;
        assert_eq!(
            (answer.status, answer.location.as_str()),
            (303, "/operator"),
            "{}",
            answer.text
        );
        visitor
    }

    pub(super) async fn get(&mut self, path: &str) -> Shown {
        self.send(browser().get(format!("{}{path}", self.url))).await
    }

    /// The same, which must be there.
    pub(super) async fn sees(&mut self, path: &str) -> String {
        let shown = self.get(path).await;
        assert_eq!(shown.status, 200, "{path}: {}", shown.text);
        shown.text
    }

    /// A form, with these fields and no others.
    pub(super) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Shown {
        self.send(browser().post(format!("{}{path}", self.url)).form(fields))
            .await
    }

    /// A form as the page makes it, with a reason.
    pub(super) async fn acts(&mut self, path: &str, fields: &[(&str, &str)]) -> Shown {
        let token = self.form_token().await;
        let own = [("form", token.as_str()), ("reason", "ticket 12")];
        self.post(path, &[own.as_slice(), fields].concat()).await
    }

    /// The same, which must be done.
    pub(super) async fn does(&mut self, path: &str, fields: &[(&str, &str)]) -> Shown {
        let shown = self.acts(path, fields).await;
        assert_eq!(shown.status, 303, "{path}: {}", shown.text);
        assert!(shown.location.contains("did="), "{path}: {}", shown.location);
        shown
    }

    /// What the page's forms hold for this visitor.
    pub(super) async fn form_token(&mut self) -> String {
        // With somebody whom a proxy signed in, the overview has no form.
        let page = self.sees("/operator").await + &self.sees("/operator/lanes").await;
        let (_, after) = page.split_once("name=\"form\" value=\"").unwrap_or(("", ""));
        after.split('"').next().expect("its value").to_owned()
    }

    async fn send(&mut self, mut request: reqwest::RequestBuilder) -> Shown {
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let response = request.send().await.expect("an answer");
        let headers = response.headers().clone();
        for line in headers.get_all(SET_COOKIE) {
            let line = line.to_str().expect("text");
            self.cookie = line.split(';').next().map(str::to_owned);
        }
        Shown {
            status: response.status().as_u16(),
            location: headers
                .get(LOCATION)
                .map(|to| to.to_str().expect("text").to_owned())
                .unwrap_or_default(),
            headers,
            text: response.text().await.expect("a body"),
        }
    }
}

/// The one number that a query asks for.
pub(super) async fn count(app: &TestApp, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(&app.db).await.unwrap()
}

/// What operators did, by the audit log.
pub(crate) async fn audited(app: &TestApp) -> Vec<(String, String, Value)> {
    sqlx::query_as("SELECT action, object, detail FROM audit_log WHERE actor = 'operator' AND action <> 'operator.signed_in' ORDER BY id")
        .fetch_all(&app.db)
        .await
        .unwrap()
}

/// One of everything that a page shows and an operator may change. The pages that show it.
pub(super) async fn everything(app: &TestApp) -> Vec<String> {
    let payment = payment_in_review(app).await;
    // Nothing happens by itself from here on.
    sqlx::raw_sql("UPDATE lanes SET paused = true WHERE name <> 'login'")
        .execute(&app.db)
        .await
        .unwrap();
    sqlx::raw_sql(
        "INSERT INTO transactions
         SELECT (jsonb_populate_record(t, jsonb_build_object('id', gen_random_uuid(), 'client_key', 'copy ' || n,
                                                            'idempotency_key', gen_random_uuid(), 'hold', 0))).*
           FROM transactions t, generate_series(1, 2) n;
         INSERT INTO webhook_events (id, provider, event_key, event_type, raw, state, note)
         SELECT gen_random_uuid(), 'sumsub', 'key-' || n, 'applicantReviewed', '{}', 'quarantined', 'not a JSON object'
           FROM generate_series(1, 4) n;
         INSERT INTO jobs (kind, lane, payload, max_attempts, run_at, request_id)
         SELECT 'sync-balance', 5, jsonb_build_object('account', gen_random_uuid()), 5, clock_timestamp() + interval '1 day', gen_random_uuid()
           FROM generate_series(1, 2);
         SELECT breaker_set('sumsub/api', true);
         UPDATE breaker SET fails = ARRAY[clock_timestamp()], fail_window = '1 h' WHERE key = 'neonomics/pisp'",
    )
    .execute(&app.db)
    .await
    .unwrap();
    let dead = dead_jobs(app, 14, "the bank answered 503 to a read of").await;
    dead_jobs(app, 3, "the lease ended").await;
    let ids = async |query: &'static str| {
        let found: Vec<String> = sqlx::query_scalar(query).fetch_all(&app.db).await.unwrap();
        found
    };
    let heard_of = async || !ids("SELECT owner::text FROM workers").await.is_empty();
    assert!(eventually(heard_of).await, "the worker tells that it is there");
    let mut pages: Vec<String> = [
        "/operator",
        "/operator/jobs?state=dead",
        "/operator/jobs?state=ready",
        "/operator/jobs",
        "/operator/jobs/dead",
        "/operator/payments",
        "/operator/lanes",
        "/operator/workers",
        "/operator/breakers",
        "/operator/cron",
        "/operator/webhooks",
        "/operator/webhooks?state=quarantined",
        "/operator/audit",
        "/operator/find?q=nothing-of-this-name",
    ]
    .map(str::to_owned)
    .into();
    pages.push(format!("/operator/jobs/{}", dead[0]));
    let paths =
        "SELECT '/operator/payments/tx_' || replace(id::text, '-', '') FROM transactions WHERE client_key LIKE 'copy %'
                 UNION ALL SELECT '/operator/webhooks/evt_' || replace(id::text, '-', '') FROM webhook_events
                 UNION ALL SELECT '/operator/people/usr_' || replace(id::text, '-', '') FROM users
                 UNION ALL SELECT '/operator/logins/lgn_' || replace(id::text, '-', '') FROM logins
                 UNION ALL SELECT '/operator/jobs/' || id FROM jobs WHERE state = 'ready' AND kind = 'sync-balance'";
    pages.extend(ids(paths).await);
    // Last, for it may be with the bank: not all can be done with it that the copies offer.
    pages.push(format!("/operator/payments/{payment}"));
    pages
}

/// Everything that a form may change, as text. What the worker notes by itself is not in it.
pub(super) async fn stands(app: &TestApp) -> String {
    sqlx::query_scalar(
        "SELECT concat_ws(E'\n',
           (SELECT string_agg(to_jsonb(t)::text, ',' ORDER BY id) FROM transactions t),
           (SELECT string_agg(to_jsonb(t)::text, ',' ORDER BY id) FROM payment_attempts t),
           (SELECT string_agg(to_jsonb(t)::text, ',' ORDER BY id) FROM webhook_events t),
           (SELECT string_agg(to_jsonb(t)::text, ',' ORDER BY id) FROM notifications t),
           (SELECT string_agg(to_jsonb(t)::text, ',' ORDER BY lane) FROM lanes t),
           (SELECT string_agg(to_jsonb(t)::text, ',' ORDER BY key) FROM breaker t),
           (SELECT string_agg(to_jsonb(t)::text, ',' ORDER BY id) FROM breaker_transitions t),
           (SELECT string_agg(concat_ws(' ', owner, quiet_since, quiet_by), ',' ORDER BY owner) FROM workers WHERE quiet_by IS NOT NULL),
           (SELECT string_agg(to_jsonb(t)::text, ',' ORDER BY id) FROM jobs t WHERE NOT lane = 8 AND kind NOT LIKE 'reconcile-%'
               AND kind NOT LIKE 'plan-%'),
           (SELECT string_agg(to_jsonb(t)::text, ',' ORDER BY id) FROM audit_log t
             WHERE actor = 'operator' AND action <> 'operator.signed_in'))",
    )
    .fetch_one(&app.db)
    .await
    .unwrap()
}

/// Dead jobs, so many, which died of this.
pub(super) async fn dead_jobs(app: &TestApp, count: i32, error: &str) -> Vec<i64> {
    sqlx::query_scalar(
        "INSERT INTO jobs (kind, lane, payload, max_attempts, attempt, state, finished_at, last_error)
         SELECT 'sync-balance', 5, jsonb_build_object('account', gen_random_uuid()), 5, 5, 'dead', clock_timestamp(), $2 || ' ' || n
           FROM generate_series(1, $1) n RETURNING id",
    )
    .bind(count)
    .bind(error)
    .fetch_all(&app.db)
    .await
    .unwrap()
}

/// A case of the compliance officer about everybody, and in the audit log what they found, wrote and did.
pub(super) async fn found_by_compliance(app: &TestApp) {
    sqlx::raw_sql(
        "INSERT INTO webhook_events (id, provider, event_key, raw, state, note)
         VALUES (gen_random_uuid(), 'sumsub', 'case', '{}', 'quarantined', 'no applicant');
         INSERT INTO aml_cases (id, user_id, webhook_event_id, applicant_id, reject_labels)
         SELECT gen_random_uuid(), u.id, e.id, 'applicant', '{CANARY_LABEL}' FROM users u, webhook_events e WHERE e.event_key = 'case';
         INSERT INTO audit_log (actor, user_id, action, object, detail)
         SELECT 'operator', id, action, object, jsonb_build_object('operator', 'siri', 'reason', 'canary-reason') || more
           FROM users, (VALUES (1, 'user.held', 'usr_1', '{}'::jsonb), (2, 'aml.case_opened', 'aml_1', '{}'),
                               (3, 'aml.case_closed', 'aml_1', '{\"finding\": \"reported\"}')) v (at, action, object, more) ORDER BY at",
    )
    .execute(&app.db)
    .await
    .unwrap();
}

/// A payment that waits for a person: its answer was lost. Its id.
pub(super) async fn payment_in_review(app: &TestApp) -> String {
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.sandbox.fault(Operation::Payment, Fault::ExecuteThenDrop, 1);
    let order = json!({
        "accountId": account,
        "instructedAmount": { "amount": "2010.00", "currency": "NOK" },
        "creditorName": "Marko Petrovic",
        "creditorAccount": { "bban": "265-1234567-89" },
    });
    let accepted = anna.post_later("/v1/transactions", "pay", &order).await;
    assert_eq!(accepted.status, 202, "{:?}", accepted.problem());
    let waits = async || {
        let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM transactions WHERE needs_review")
            .fetch_one(&app.db)
            .await
            .unwrap();
        waiting == 1
    };
    assert!(eventually(waits).await);
    let id: uuid::Uuid = sqlx::query_scalar("SELECT id FROM transactions")
        .fetch_one(&app.db)
        .await
        .unwrap();
    format!("tx_{}", id.simple())
}
