//! A person in front of a browser.

use reqwest::{
    Client, Response, StatusCode,
    header::{ACCEPT, COOKIE, LOCATION, SET_COOKIE},
    redirect::Policy,
};
use serde_json::Value;

use crate::app::TestApp;

/// A client that follows no redirect: the tests look at each.
#[expect(
    clippy::missing_panics_doc,
    reason = "a client without special settings can always be built"
)]
pub fn browser() -> Client {
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
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
    /// The JSON body; null without one.
    pub body: Value,
}

impl Answer {
    /// Reads the answer.
    pub async fn of(response: Response) -> Self {
        let status = response.status();
        let text = response.text().await.expect("a body");
        Self {
            status,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
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
        let header = |name| response.headers()[name].to_str().expect("text").to_owned();
        let cookie = header(SET_COOKIE).split(';').next().expect("a cookie").to_owned();
        LoginUnderWay {
            authorization_url: header(LOCATION),
            cookie,
        }
    }

    /// Comes back from `BankID` as an API caller does.
    pub async fn come_back(&self, callback: &str, cookie: &str) -> Answer {
        let request = browser()
            .get(callback)
            .header(COOKIE, cookie)
            .header(ACCEPT, "application/json");
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

impl TestApp {
    /// Puts the applicant row there that the identity check of this user is tied to.
    pub async fn has_asked_for_kyc(&self, user: &str) {
        let user = user.parse().expect("a user's id");
        let mut tx = self.db.begin().await.expect("a transaction");
        drop_common::storage::kyc::request_applicant(&mut tx, user, "basic-kyc-level")
            .await
            .expect("an applicant row");
        tx.commit().await.expect("a commit");
    }
}
