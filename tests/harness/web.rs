//! A browser on our own page: it keeps cookies, and sends them with every request as browsers do.

use std::collections::BTreeMap;

use reqwest::{
    Method, RequestBuilder,
    header::{COOKIE, ORIGIN, SET_COOKIE},
};
use serde_json::Value;

use crate::{
    app::TestApp,
    person::{Answer, browser},
};

/// A browser with its cookies.
pub struct Browser {
    /// The service it is at.
    pub url: String,
    /// The page it shows, as the header `Origin` has it.
    pub origin: String,
    /// Its cookies, by name.
    pub cookies: BTreeMap<String, String>,
    /// The attributes with which each cookie was last set.
    pub attributes: BTreeMap<String, String>,
}

impl TestApp {
    /// A browser without cookies.
    pub fn browser(&self) -> Browser {
        Browser {
            url: self.url.clone(),
            origin: self.url.clone(),
            cookies: BTreeMap::new(),
            attributes: BTreeMap::new(),
        }
    }

    /// A browser in which the sandbox's person has logged in, and the answer to that.
    pub async fn logged_in_browser(&self, person: &str) -> (Browser, Answer) {
        let mut browser = self.browser();
        let answer = self.logs_in_with(&mut browser, person).await;
        (browser, answer)
    }

    /// Logs the sandbox's person in with this browser; the answer to that.
    pub async fn logs_in_with(&self, browser: &mut Browser, person: &str) -> Answer {
        let started = browser.get("/api/auth/bankid/login").await;
        let callback = self
            .sandbox
            .bankid()
            .sign_in(started.location.as_deref().expect("a way to BankID"), person)
            .expect("BankID's redirect");
        let path = callback.strip_prefix(&self.url).expect("back to the service");
        let answer = browser.get(path).await;
        assert_eq!(answer.status, 200, "{:?}", answer.problem());
        answer
    }
}

impl Browser {
    /// `GET` with the cookies.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    /// `POST` of JSON with the cookies.
    pub async fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    /// `DELETE` with the cookies.
    pub async fn delete(&mut self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    /// Sends a request and keeps the cookies that come back.
    pub async fn send(&mut self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let response = self.request(method, path, body).send().await.expect("an answer");
        for line in response.headers().get_all(SET_COOKIE) {
            self.keep(line.to_str().expect("text"));
        }
        Answer::of(response).await
    }

    /// The request as the browser would send it, for a test that sends it itself.
    pub fn request(&self, method: Method, path: &str, body: Option<&Value>) -> RequestBuilder {
        let held: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = browser()
            .request(method, format!("{}{path}", self.url))
            .header(ORIGIN, &self.origin)
            .header(COOKIE, held.join("; "));
        match body {
            Some(body) => request.json(body),
            None => request,
        }
    }

    fn keep(&mut self, line: &str) {
        let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
        let (name, value) = pair.split_once('=').expect("a cookie");
        self.attributes.insert(name.to_owned(), attributes.trim().to_owned());
        if attributes.contains("Max-Age=0") {
            self.cookies.remove(name);
        } else {
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }
}
