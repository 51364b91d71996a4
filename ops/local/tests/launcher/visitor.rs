//! A second person at a running system, and a hand on the sandbox.
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::{Value, json};

use drop_tests::canaries::Canaries;

/// Marko, as the sandbox knows him.
pub(crate) struct Visitor {
    http: Client,
    api: String,
    control: String,
}

impl Visitor {
    pub(crate) fn new(api: &str, control: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
        Self {
            http,
            api: api.to_owned(),
            control: control.to_owned(),
        }
    }

    /// From our login over BankID to our callback. What the browser was given is added to the canaries.
    pub(crate) async fn logs_in(&self, canaries: &mut Canaries) -> (u16, Value) {
        let start = self
            .http
            .get(format!("{}/api/auth/bankid/login", self.api))
            .send()
            .await
            .unwrap();
        let cookies = cookies(&start, canaries);
        let there = format!("{}&person=marko", location(&start));
        let back = location(&self.http.get(there).send().await.unwrap());
        let callback = self
            .http
            .get(&back)
            .header(ACCEPT, "application/json")
            .header(COOKIE, &cookies);
        let answer = callback.send().await.unwrap();
        let status = answer.status().as_u16();
        self::cookies(&answer, canaries);
        (status, answer.json().await.unwrap())
    }

    pub(crate) async fn gets(&self, path: &str) -> u16 {
        self.http
            .get(format!("{}{path}", self.api))
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    }

    pub(crate) async fn posts(&self, path: &str, token: &str, body: &Value) -> u16 {
        let request = self.http.post(format!("{}{path}", self.api)).bearer_auth(token);
        let request = request.header("Idempotency-Key", "once").json(body);
        request.send().await.unwrap().status().as_u16()
    }

    /// Where the control interface is.
    pub(crate) fn control_address(&self) -> &str {
        &self.control
    }

    /// What the control interface shows there.
    pub(crate) async fn control(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}/{path}", self.control)).send().await.unwrap();
        answer.error_for_status().unwrap().json().await.unwrap()
    }

    /// The next request for an operation is refused with this answer.
    pub(crate) async fn fault(&self, provider: &str, operation: &str, code: u16, body: &Value) {
        let fault = json!({ "operation": operation, "kind": "status", "code": code, "body": body, "times": 1 });
        let queue = self
            .http
            .post(format!("{}/{provider}/faults", self.control))
            .json(&fault);
        queue.send().await.unwrap().error_for_status().unwrap();
    }

    /// Returns when a provider has refused a request by a fault.
    pub(crate) async fn sees_the_fault_used(&self, provider: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            let waiting = self.control(&format!("{provider}/faults")).await;
            if waiting.as_array().unwrap().is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "{waiting}");
        }
    }
}

fn location(answer: &Response) -> String {
    answer.headers()[LOCATION].to_str().unwrap().to_owned()
}

fn cookies(answer: &Response, canaries: &mut Canaries) -> String {
    let set = answer.headers().get_all(SET_COOKIE).iter();
    let pairs: Vec<_> = set
        .map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap())
        .collect();
    for (_, value) in pairs.iter().filter_map(|pair| pair.split_once('=')) {
        if !value.is_empty() {
            canaries.add("cookie", value);
        }
    }
    pairs.join("; ")
}
