//! Webhooks written and signed by the test itself, and people who wait for them.

use chrono::{DateTime, TimeDelta, Utc};
use drop_sandbox::Review;
use drop_tests::{
    app::TestApp,
    person::{SignedIn, browser},
    settings::SUMSUB_SECRET,
};
use reqwest::{
    Client,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use ring::hmac;
use serde_json::{Value, json};

/// The digest of a body as Sumsub writes it.
pub(super) fn digest(secret: &str, body: &[u8]) -> String {
    hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body).as_ref())
}

/// The digest under the secret of these tests.
pub(super) fn signature(body: &[u8]) -> String {
    digest(SUMSUB_SECRET, body)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A time that is long past, and so many minutes after it.
pub(super) fn past(minutes: i64) -> DateTime<Utc> {
    let began: DateTime<Utc> = "2026-02-23T10:00:00Z".parse().unwrap();
    began + TimeDelta::minutes(minutes)
}

/// A review of so many seconds ago.
pub(super) fn ago(seconds: i64, review: Review) -> Review {
    Review {
        created_at_offset: -seconds,
        ..review
    }
}

/// Has the check of somebody signed in started. What they are told of it.
pub(super) async fn starts(person: &SignedIn<'_>) -> Value {
    let started = person
        .post("/v1/kyc/applicant", &json!({ "email": "anna@example.com" }))
        .await;
    assert_eq!(started.status, 201, "{:?}", started.problem());
    started.body
}

/// Posts a body under these headers and no others. The status, and the problem's code.
pub(super) async fn posts(url: &str, body: impl Into<reqwest::Body>, headers: &[(&str, &str)]) -> (u16, String) {
    posts_by(&browser(), url, body, headers).await
}

/// The same by somebody who sends many.
pub(super) async fn posts_by(
    client: &Client,
    url: &str,
    body: impl Into<reqwest::Body>,
    headers: &[(&str, &str)],
) -> (u16, String) {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
        })
        .collect();
    let request = client.post(format!("{url}/v1/webhooks/sumsub")).headers(headers);
    let answer = request.body(body).send().await.unwrap();
    let status = answer.status().as_u16();
    let problem: Value = answer.json().await.unwrap_or_default();
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

/// Posts a rightly signed body.
pub(super) async fn signed(app: &TestApp, body: impl AsRef<[u8]>) -> (u16, String) {
    let digest = digest(SUMSUB_SECRET, body.as_ref());
    let headers = [
        ("x-payload-digest", digest.as_str()),
        ("content-type", "application/json"),
    ];
    posts(&app.url, body.as_ref().to_vec(), &headers).await
}

/// Sends an event, which is accepted.
pub(super) async fn sends(app: &TestApp, event: &Value) {
    sends_by(&browser(), app, event).await;
}

/// The same by somebody who sends many.
pub(super) async fn sends_by(client: &Client, app: &TestApp, event: &Value) {
    let body = event.to_string();
    let digest = digest(SUMSUB_SECRET, body.as_bytes());
    let answer = posts_by(client, &app.url, body, &[("x-payload-digest", &digest)]).await;
    assert_eq!(answer, (200, String::new()), "{event}");
}

/// Somebody whose check was started, and who never logged in: their id and the applicant's.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub(super) user: String,
    pub(super) applicant: String,
}

impl Checked {
    /// An event about them. `said` are further members.
    pub(super) fn event(&self, kind: &str, said: Value) -> Value {
        let mut event = json!({
            "type": kind,
            "applicantId": self.applicant,
            "externalUserId": self.user,
            "correlationId": uuid::Uuid::new_v4().to_string(),
            "levelName": "basic-kyc-level",
            "sandboxMode": false,
        });
        let Value::Object(said) = said else {
            panic!("further members")
        };
        event.as_object_mut().unwrap().extend(said);
        event
    }

    /// `pending`, `approved` or `rejected`.
    pub(super) async fn status(&self, app: &TestApp) -> String {
        sqlx::query_scalar("SELECT kyc_status FROM users WHERE 'usr_' || replace(id::text, '-', '') = $1")
            .bind(&self.user)
            .fetch_one(&app.db)
            .await
            .unwrap()
    }

    /// The titles of what they were told, in order.
    pub(super) async fn told(&self, app: &TestApp) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT title FROM notifications WHERE 'usr_' || replace(user_id::text, '-', '') = $1 ORDER BY created_at, id",
        )
        .bind(&self.user)
        .fetch_all(&app.db)
        .await
        .unwrap()
    }

    /// The results that count, in order.
    pub(super) async fn results(&self, app: &TestApp) -> Vec<String> {
        sqlx::query_scalar("SELECT result FROM screening_results WHERE applicant_id = $1 ORDER BY created_at, id")
            .bind(&self.applicant)
            .fetch_all(&app.db)
            .await
            .unwrap()
    }

    /// What became of their events, in the order of their arrival.
    pub(super) async fn states(&self, app: &TestApp) -> Vec<String> {
        sqlx::query_scalar("SELECT state FROM webhook_events WHERE applicant_id = $1 ORDER BY received_at, id")
            .bind(&self.applicant)
            .fetch_all(&app.db)
            .await
            .unwrap()
    }
}

/// So many people whose checks were started.
pub(super) async fn people(db: &sqlx::PgPool, count: i32) -> Vec<Checked> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "WITH people AS (
           INSERT INTO users (id, national_id_hash, first_name, last_name)
           SELECT gen_random_uuid(), lpad(to_hex(n), 64, '0'), 'Kari', 'Testperson' FROM generate_series(1, $1) n
           RETURNING id)
         INSERT INTO kyc_applicants (id, user_id, level_name, status, applicant_id, request_id)
         SELECT gen_random_uuid(), id, 'basic-kyc-level', 'created', left(replace(gen_random_uuid()::text, '-', ''), 24), gen_random_uuid()
           FROM people
         RETURNING 'usr_' || replace(user_id::text, '-', ''), applicant_id",
    )
    .bind(count)
    .fetch_all(db)
    .await
    .unwrap();
    rows.into_iter()
        .map(|(user, applicant)| Checked { user, applicant })
        .collect()
}
