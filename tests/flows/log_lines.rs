//! Logs as a collector gets them: one JSON object a line, each with the ids of its request and its job.

use std::path::PathBuf;

use drop_tests::{
    app::TestApp,
    effects::{ALOUD, Way},
    fleet::Fleet,
    processes::SAYS_TO,
};
use serde_json::Value;

use crate::reports::misbehaving;

/// A file that goes when this does.
struct Log(PathBuf);

impl Log {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("drop-lines-{}", uuid::Uuid::now_v7())))
    }

    fn variables(&self) -> [(&'static str, &str); 3] {
        let file = self.0.to_str().unwrap();
        [
            (SAYS_TO, file),
            ("DROP_LOG_FORMAT", "json"),
            ("RUST_LOG", "drop_api=trace,drop_common=trace,drop_worker=trace"),
        ]
    }

    /// Every line, each of which must be an object.
    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.0).unwrap();
        let line = |line| match serde_json::from_str(line) {
            Ok(Value::Object(object)) => Value::Object(object),
            _ => panic!("no object: {line}"),
        };
        text.lines().map(line).collect()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The value of a field of one of the spans around a line.
fn around<'a>(line: &'a Value, span: &str, field: &str) -> &'a Value {
    let spans = line["spans"].as_array().into_iter().flatten();
    spans
        .filter(|around| around["name"] == span)
        .map(|around| &around[field])
        .next()
        .unwrap_or(&Value::Null)
}

fn says<'a>(lines: &'a [Value], words: &str) -> &'a Value {
    let said = lines
        .iter()
        .find(|line| line["message"].as_str().is_some_and(|text| text.contains(words)));
    said.unwrap_or_else(|| panic!("nobody said {words:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_is_an_object_with_the_ids_of_its_request_and_its_job() {
    let log = Log::new();
    let fleet = Fleet {
        program: env!("CARGO_BIN_EXE_drop-node"),
        apis: 1,
        workers: 1,
    };
    let app = TestApp::start_fleet_with(fleet, &log.variables()).await;
    app.signed_in("anna").await;
    let webhook = drop_tests::person::browser().post(format!("{}/v1/webhooks/sumsub", app.url));
    let id = "019a8c5e-7d1f-7c3a-9b52-0f6d3e8a4c11";
    let refused = webhook
        .header("x-request-id", id)
        .json(&serde_json::json!({}))
        .send()
        .await;
    assert_eq!(refused.unwrap().status(), 401);
    app.finish().await;

    let lines = log.lines();
    let refused = says(&lines, "a webhook's digest is wrong");
    assert_eq!(
        (&refused["level"], &refused["target"]),
        (&"ERROR".into(), &"alert".into())
    );
    assert_eq!(around(refused, "request", "request.id"), id);

    let proved = says(&lines, "proved to be user");
    assert!(around(proved, "job", "job.id").is_i64(), "{proved}");
    assert_eq!(around(proved, "job", "job.kind"), "check-login");
    assert!(around(proved, "job", "request.id").is_string(), "{proved}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_such_a_line_too_however_little_is_shown() {
    let log = Log::new();
    let mut variables = log.variables();
    variables[2].1 = "error";
    let (database, mut worker, job) = misbehaving(Way::PanicAloud, &variables).await;
    let is_done = "SELECT count(*) = 1 FROM effects";
    let done = async || sqlx::query_scalar(is_done).fetch_one(&database.pool).await.unwrap();
    assert!(drop_tests::app::eventually(done).await);
    worker.signal("TERM");
    assert!(worker.ended().await.success());
    database.remove().await;

    let lines = log.lines();
    let panic = says(&lines, "a panic at ");
    assert_eq!(around(panic, "job", "job.id"), job);
    assert!(!lines.iter().any(|line| line.to_string().contains(&ALOUD[..11])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_cannot_start_says_why_in_such_a_line() {
    let log = Log::new();
    let mut worker = drop_tests::processes::Node::start(env!("CARGO_BIN_EXE_drop-node"), "worker", &log.variables());
    assert_eq!(worker.ended().await.code(), Some(1));
    let lines = log.lines();
    let why = says(&lines, "the configuration has");
    assert!(
        why["message"].as_str().unwrap().contains("DATABASE_URL is required"),
        "{why}"
    );
    assert_eq!(lines.len(), 1);
}
