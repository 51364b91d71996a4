//! A person in front of a browser.

use reqwest::{
    Client, RequestBuilder, Response, StatusCode,
    header::{ACCEPT, COOKIE, LOCATION, SET_COOKIE},
    redirect::Policy,
};
use serde_json::Value;

use crate::{app::TestApp, handed_out, said};

/// A client that follows no redirect: the tests look at each.
#[expect(
    clippy::missing_panics_doc,
    reason = "a client without special settings can always be built"
)]
pub fn browser() -> Client {
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        // They speak to this machine, without TLS, and the machine's certificates take long to read.
        .tls_certs_only([])
        .build()
        .expect("a plain client")
}

/// A login under way: what the browser holds between leaving for `BankID` and coming back.
pub struct LoginUnderWay {
    /// `BankID`'s page for this login.
    pub authorization_url: String,
    /// The cookie `bankid_state`, `name=value`.
    pub cookie: String,
}

/// An answer of the API, read whole.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// Where to look next.
    pub location: Option<String>,
    /// `Idempotent-Replayed`: the key was used before.
    pub replayed: bool,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// The JSON body; null without one.
    pub body: Value,
}

impl Answer {
    /// Reads the answer.
    pub async fn of(response: Response) -> Self {
        let status = response.status();
        let header = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        let (location, replayed) = (header("location"), header("idempotent-replayed"));
        let retry_after = header("retry-after").and_then(|seconds| seconds.parse().ok());
        handed_out::note_cookies(&response);
        let from = response.url().clone();
        let text = response.text().await.expect("a body");
        if status.as_u16() >= 400 {
            said::note(&format!("answered {status}: {text}\n"));
        }
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        handed_out::note_body(&from, &body);
        Self {
            status,
            location,
            replayed: replayed.as_deref() == Some("true"),
            retry_after,
            body,
        }
    }

    /// The status and the problem's code, to compare at once.
    pub fn problem(&self) -> (u16, &str) {
        (self.status.as_u16(), self.body["code"].as_str().unwrap_or_default())
    }
}

impl TestApp {
    /// Starts a login, as a click on "log in" does.
    pub async fn start_login(&self) -> LoginUnderWay {
        let response = browser()
            .get(format!("{}/api/auth/bankid/login", self.url))
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), 303);
        handed_out::note_cookies(&response);
        let header = |name| response.headers()[name].to_str().expect("text").to_owned();
        let cookie = header(SET_COOKIE).split(';').next().expect("a cookie").to_owned();
        LoginUnderWay {
            authorization_url: header(LOCATION),
            cookie,
        }
    }

    /// Comes back from `BankID` as an API caller does.
    pub async fn come_back(&self, callback: &str, cookie: &str) -> Answer {
        Answer::of(coming_back(callback, cookie).send().await.expect("an answer")).await
    }

    /// The same without waiting for the outcome.
    pub async fn come_back_later(&self, callback: &str, cookie: &str) -> Answer {
        let request = coming_back(callback, cookie).header("Prefer", "respond-async");
        Answer::of(request.send().await.expect("an answer")).await
    }

    /// Logs the sandbox's person in, from the click to the answer.
    pub async fn log_in(&self, person: &str) -> Answer {
        let login = self.start_login().await;
        let callback = self
            .sandbox
            .bankid()
            .sign_in(&login.authorization_url, person)
            .expect("BankID's redirect");
        self.come_back(&callback, &login.cookie).await
    }
}

fn coming_back(callback: &str, cookie: &str) -> RequestBuilder {
    browser()
        .get(callback)
        .header(COOKIE, cookie)
        .header(ACCEPT, "application/json")
}

/// A person who is signed in.
pub struct SignedIn<'a> {
    app: &'a TestApp,
    /// The user's id, `usr_…`.
    pub user: String,
    token: String,
    /// Where they reach the API.
    url: String,
}

impl TestApp {
    /// Logs the sandbox's person in; fails unless that works.
    pub async fn signed_in(&self, person: &str) -> SignedIn<'_> {
        let answer = self.log_in(person).await;
        assert_eq!(answer.status, 200, "{:?}", answer.problem());
        self.person(&answer)
    }

    /// A person who was signed in before, by what they hold.
    pub fn signed_in_before(&self, user: &str, token: &str) -> SignedIn<'_> {
        SignedIn {
            app: self,
            user: user.to_owned(),
            token: token.to_owned(),
            url: self.url.clone(),
        }
    }

    /// The person whom a login's answer is about.
    pub fn person(&self, login: &Answer) -> SignedIn<'_> {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        SignedIn {
            app: self,
            user: text(&login.body["user"]["id"]),
            token: text(&login.body["accessToken"]),
            url: self.url.clone(),
        }
    }
}

impl SignedIn<'_> {
    /// What they show with each request.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The same person at another API.
    #[must_use]
    pub fn at(mut self, url: &str) -> Self {
        url.clone_into(&mut self.url);
        self
    }

    /// `GET` as this person.
    pub async fn get(&self, path: &str) -> Answer {
        let request = browser().get(format!("{}{path}", self.url)).bearer_auth(&self.token);
        let answer = Answer::of(request.send().await.expect("an answer")).await;
        if path.starts_with("/v1/transactions") {
            self.app.ledger.hear(&self.user, None, &answer);
            for listed in answer.body["transactions"].as_array().into_iter().flatten() {
                self.app.ledger.see(&self.user, listed);
            }
        }
        answer
    }

    /// `POST` under an `Idempotency-Key`, without a body.
    pub async fn post_once(&self, path: &str, key: &str) -> Answer {
        let request = browser().post(format!("{}{path}", self.url)).bearer_auth(&self.token);
        Answer::of(request.header("Idempotency-Key", key).send().await.expect("an answer")).await
    }

    /// `POST` of a body under an `Idempotency-Key`.
    pub async fn post_keyed(&self, path: &str, key: &str, body: &Value) -> Answer {
        let request = browser()
            .post(format!("{}{path}", self.url))
            .bearer_auth(&self.token)
            .json(body);
        let answer = Answer::of(request.header("Idempotency-Key", key).send().await.expect("an answer")).await;
        self.hear(path, key, body, &answer);
        answer
    }

    /// `POST` of a body under an `Idempotency-Key`, without waiting for the outcome.
    pub async fn post_later(&self, path: &str, key: &str, body: &Value) -> Answer {
        let request = browser()
            .post(format!("{}{path}", self.url))
            .bearer_auth(&self.token)
            .header("Prefer", "respond-async")
            .json(body);
        let answer = Answer::of(request.header("Idempotency-Key", key).send().await.expect("an answer")).await;
        self.hear(path, key, body, &answer);
        answer
    }

    fn hear(&self, path: &str, key: &str, body: &Value, answer: &Answer) {
        if path == "/v1/transactions" {
            self.app.ledger.hear(&self.user, Some((key, body)), answer);
        }
    }

    /// Has their bank linked; the account's id.
    pub async fn has_an_account(&self) -> String {
        self.is_approved().await;
        let linking = self.post_once("/v1/bank-consents", "link").await;
        self.decides(
            linking.body["scaRedirect"].as_str().expect("a link"),
            drop_sandbox::Decision::Approve,
        )
        .await;
        let listed = self.get("/v1/bank-accounts").await;
        listed.body["accounts"][0]["id"]
            .as_str()
            .expect("a linked account")
            .to_owned()
    }

    /// Decides at the bank and comes back; the work that follows is done.
    pub async fn decides(&self, sca_redirect: &str, decision: drop_sandbox::Decision) {
        let back = self
            .app
            .sandbox
            .bank()
            .decide_at(sca_redirect, decision)
            .expect("a decision")
            .expect("a way back");
        let answer = Answer::of(browser().get(back).send().await.expect("an answer")).await;
        assert_eq!(answer.status, 200, "{:?}", answer.problem());
        self.app.until_idle().await;
    }

    /// Has the identity check done, with a green answer.
    pub async fn is_approved(&self) {
        let asked = self
            .post("/v1/kyc/applicant", &serde_json::json!({ "email": "anna@example.com" }))
            .await;
        assert_eq!(asked.status, 201, "{:?}", asked.problem());
        let review = drop_sandbox::Review::of(&self.user, "GREEN");
        let sent = self
            .app
            .sandbox
            .sumsub()
            .review(review, &drop_sandbox::Delivery::default())
            .await;
        assert_eq!(sent.expect("a webhook").statuses, [Some(200)]);
        self.app.until_idle().await;
    }

    /// `DELETE` as this person.
    pub async fn delete(&self, path: &str) -> Answer {
        let request = browser().delete(format!("{}{path}", self.url)).bearer_auth(&self.token);
        Answer::of(request.send().await.expect("an answer")).await
    }

    /// A `GET` as this person, for the test to complete.
    pub fn getting(&self, path: &str) -> RequestBuilder {
        browser().get(format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    /// A `POST` as this person, for the test to complete.
    pub fn request(&self, path: &str) -> RequestBuilder {
        browser().post(format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    /// `POST` as this person.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = browser()
            .post(format!("{}{path}", self.url))
            .bearer_auth(&self.token)
            .json(body);
        Answer::of(request.send().await.expect("an answer")).await
    }
}
