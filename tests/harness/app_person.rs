//! A person with the app on their device: the app keeps a verifier, the device's browser goes to `BankID` and back.

use std::collections::BTreeMap;

use reqwest::{RequestBuilder, Url, header::SET_COOKIE};
use serde_json::json;

use crate::{
    app::TestApp,
    person::{Answer, browser},
    settings::APP_LINK,
};

/// What the app keeps to itself, and what it sends at the start: the pair of RFC 7636, appendix B.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// The challenge of [`VERIFIER`].
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A login under way in the app.
pub struct AppLogin {
    /// The login's id.
    pub id: String,
    /// `BankID`'s page for this login.
    pub authorization_url: String,
    /// Where the answer said that it goes on.
    pub place: String,
}

impl TestApp {
    /// Starts a login in the app.
    pub async fn start_app_login(&self) -> AppLogin {
        let answer = self.asks_to_start_in_app(&json!({ "appChallenge": CHALLENGE })).await;
        assert_eq!(answer.status, 201, "{:?}", answer.problem());
        let text = |name: &str| answer.body[name].as_str().expect("text").to_owned();
        AppLogin {
            id: text("id"),
            authorization_url: text("authorizationUrl"),
            place: answer.location.clone().expect("a place"),
        }
    }

    /// The answer to what an app sends to start a login.
    pub async fn asks_to_start_in_app(&self, body: &serde_json::Value) -> Answer {
        let request = browser().post(format!("{}/v1/auth/bankid/logins", self.url)).json(body);
        Answer::of(request.send().await.expect("an answer")).await
    }

    /// Signs the sandbox's person in on the device's browser; the address that `BankID` sends it back to.
    pub fn signs_in_for(&self, login: &AppLogin, person: &str) -> String {
        self.sandbox
            .bankid()
            .sign_in(&login.authorization_url, person)
            .expect("BankID's redirect")
    }

    /// Comes back from `BankID` in the device's browser, which holds no cookie and is given none; what the app is opened
    /// with.
    pub async fn opens_app(&self, callback: &str) -> BTreeMap<String, String> {
        let request = browser().get(callback).header("Accept", "text/html");
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 303);
        assert!(!response.headers().contains_key(SET_COOKIE));
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["referrer-policy"], "no-referrer");
        let link = response.headers()["location"].to_str().expect("text");
        let (page, _) = link.split_once('?').expect("a query");
        assert_eq!(page, APP_LINK);
        let link = Url::parse(link).expect("an address");
        link.query_pairs().into_owned().collect()
    }

    /// Logs the sandbox's person in as far as the code in the app's link.
    pub async fn comes_back_into_app(&self, login: &AppLogin, person: &str) -> String {
        let mut opened = self.opens_app(&self.signs_in_for(login, person)).await;
        assert_eq!(opened.remove("login").as_ref(), Some(&login.id));
        let code = opened.remove("login_code").expect("a code");
        assert!(opened.is_empty(), "{opened:?}");
        code
    }

    /// What an app sends to redeem a code.
    pub fn redemption(&self, login: &str, code: &str, verifier: &str) -> RequestBuilder {
        browser()
            .post(format!("{}/v1/auth/bankid/logins/{login}/redeem", self.url))
            .json(&json!({ "loginCode": code, "appVerifier": verifier }))
    }

    /// The answer to it.
    pub async fn redeem(&self, login: &str, code: &str, verifier: &str) -> Answer {
        let request = self.redemption(login, code, verifier);
        Answer::of(request.send().await.expect("an answer")).await
    }

    /// The same without waiting for the outcome.
    pub async fn redeem_later(&self, login: &str, code: &str, verifier: &str) -> Answer {
        let request = self.redemption(login, code, verifier).header("Prefer", "respond-async");
        Answer::of(request.send().await.expect("an answer")).await
    }
}
