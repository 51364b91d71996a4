//! A program that asks the operators' API, and the commands, which do the same.

use drop_tests::{app::TestApp, person::browser};
use reqwest::header::HeaderMap;
use serde_json::Value;

/// Who does it, and why, as a command is told.
pub(super) const BY: [&str; 4] = ["--operator", "kari", "--reason", "ticket 12"];

/// An answer of the API.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

/// Whoever asks the API, with or without a token.
pub(super) struct Program {
    pub(super) url: String,
    token: Option<&'static str>,
    pub(super) headers: Vec<(&'static str, String)>,
}

impl Program {
    pub(super) async fn of(app: &TestApp, token: Option<&'static str>) -> Self {
        Self {
            url: format!("{}/operator/api", app.worker_internal().await),
            token,
            headers: Vec::new(),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(browser().get(format!("{}{path}", self.url))).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(browser().post(format!("{}{path}", self.url)).json(body))
            .await
    }

    pub(super) async fn send(&self, mut request: reqwest::RequestBuilder) -> Answer {
        if let Some(token) = self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("a body");
        let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}"));
        Answer { status, headers, body }
    }
}

/// What the command prints, and whether it succeeded.
pub(super) async fn runs(app: &TestApp, command: &str, more: &[&str]) -> (bool, String) {
    let arguments: Vec<&str> = command.split(' ').chain(more.iter().copied()).collect();
    app.operator(env!("CARGO_BIN_EXE_drop-node"), &arguments).await
}

pub(super) async fn says(app: &TestApp, command: &str, id: Option<&str>) -> Value {
    let arguments: Vec<&str> = id.into_iter().chain(["--json"]).collect();
    let (succeeded, said) = runs(app, command, &arguments).await;
    assert!(succeeded, "{command}: {said}");
    serde_json::from_str(&said).unwrap()
}
