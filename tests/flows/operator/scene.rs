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

/// What operators did, by the audit log.
pub(super) async fn audited(app: &TestApp) -> Vec<(String, String, Value)> {
    sqlx::query_as("SELECT action, object, detail FROM audit_log WHERE actor = 'operator' AND action <> 'operator.signed_in' ORDER BY id")
        .fetch_all(&app.db)
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
