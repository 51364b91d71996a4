//! A simulated person: a browser, an app and a bank customer in one, over HTTP only.
use anyhow::Context;
use reqwest::header::{ACCEPT, COOKIE};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::exchange::{Seen, complaint, cookies, expect, expect_success, location, redirected, send, until};

/// Somebody the sandbox knows by name, and what they hold: after the login, an access token.
pub(crate) struct Person {
    name: &'static str,
    http: Client,
    api: String,
    sandbox: String,
    token: Option<String>,
}

impl Person {
    /// A person who has done nothing yet. `http` must not follow redirects.
    pub(crate) fn new(name: &'static str, http: Client, api: &str, sandbox: &str) -> Self {
        Self {
            name,
            http,
            api: api.to_owned(),
            sandbox: sandbox.to_owned(),
            token: None,
        }
    }

    /// Logs in with BankID: our redirect, BankID's page, the callback. 200 with the user and a token.
    pub(crate) async fn logs_in(&mut self) -> anyhow::Result<Seen> {
        let start = self
            .http
            .get(format!("{}/api/auth/bankid/login", self.api))
            .query(&[("return_to", "/")]);
        let start = redirected(start, "our login").await?;
        let cookies = cookies(&start);
        let mut page = location(&start)?;
        page.query_pairs_mut().append_pair("person", self.name);
        let back = location(&redirected(self.http.get(page), "BankID's login page").await?)?;
        let callback = self
            .http
            .get(back)
            .header(ACCEPT, "application/json")
            .header(COOKIE, &cookies);
        let mut seen = expect(callback, &[StatusCode::OK, StatusCode::ACCEPTED]).await?;
        if seen.0.status == StatusCode::ACCEPTED {
            let waiting = seen.1.context("expected a Location beside status 202")?;
            let url = self.at(&waiting);
            let poll = || {
                self.http
                    .get(&url)
                    .header(ACCEPT, "application/json")
                    .header(COOKIE, &cookies)
            };
            seen.0 = until("the login to be done", poll, |seen| {
                seen.body["accessToken"].is_string()
            })
            .await?;
        }
        self.token = Some(seen.0.text("/accessToken")?.to_owned());
        Ok(seen.0)
    }

    /// Asks for identity verification. 201, or 202 while the provider is being asked.
    pub(crate) async fn starts_kyc(&self, email: &str) -> anyhow::Result<Seen> {
        let request = self.post("/v1/kyc/applicant").json(&json!({ "email": email }));
        Ok(expect(request, &[StatusCode::CREATED, StatusCode::ACCEPTED]).await?.0)
    }

    /// The provider approves; ends when our API says so.
    pub(crate) async fn is_approved(&self, user: &str) -> anyhow::Result<Seen> {
        // Sumsub reviews only whom it knows: the applicant may still be on its way there.
        until(
            "the applicant to be created",
            || self.get("/v1/kyc"),
            |seen| seen.body["applicant"] == "created",
        )
        .await?;
        let review = json!({ "reviews": [{ "externalUserId": user, "answer": "GREEN" }] });
        let review = self
            .http
            .post(format!("{}/control/sumsub/reviews", self.sandbox))
            .json(&review);
        expect_success(review, "the sandbox's review").await?;
        until(
            "KYC to be approved",
            || self.get("/v1/kyc"),
            |seen| seen.body["status"] == "approved",
        )
        .await
    }

    /// Asks for access to their bank accounts. The answer has the id and the bank's page.
    pub(crate) async fn asks_for_consent(&self) -> anyhow::Result<Seen> {
        let request = self.keyed("/v1/bank-consents").json(&json!({}));
        self.with_bank_page("/v1/bank-consents", request).await
    }

    /// Approves on the bank's page and follows it back to us.
    pub(crate) async fn approves(&self, bank_page: &str) -> anyhow::Result<()> {
        let decision = self.http.post(bank_page).form(&[("decision", "approve")]);
        let back = location(&redirected(decision, "the bank's page").await?)?;
        let callback = self
            .http
            .get(back)
            .header(ACCEPT, "application/json")
            .bearer_auth(self.token());
        let answer = send(callback).await?;
        // The callback may send a browser on; what the bank did is read from the bank, not from here.
        if answer.status().is_success() || answer.status().is_redirection() {
            Ok(())
        } else {
            Err(complaint(answer).await)
        }
    }

    /// The list of accounts, once there is one.
    pub(crate) async fn sees_an_account(&self) -> anyhow::Result<Seen> {
        let listed = |seen: &Seen| seen.body.pointer("/accounts/0/id").is_some();
        until("an account to appear", || self.get("/v1/bank-accounts"), listed).await
    }

    /// The balance of an account, once it was read from the bank.
    pub(crate) async fn sees_the_balance(&self, account: &str) -> anyhow::Result<Seen> {
        let path = format!("/v1/bank-accounts/{account}/balance");
        until("a balance", || self.get(&path), |seen| seen.body["amount"].is_string()).await
    }

    /// Orders a payment. The answer has the id and the bank's page.
    pub(crate) async fn pays(&self, order: &Value) -> anyhow::Result<Seen> {
        self.with_bank_page("/v1/transactions", self.keyed("/v1/transactions").json(order))
            .await
    }

    /// The payment, once it is completed.
    pub(crate) async fn sees_the_payment_completed(&self, payment: &str) -> anyhow::Result<Seen> {
        let path = format!("/v1/transactions/{payment}");
        until(
            "the payment to be completed",
            || self.get(&path),
            |seen| seen.body["status"] == "completed",
        )
        .await
    }

    /// 201 has the bank's page; after 202 it appears at the Location.
    async fn with_bank_page(&self, path: &str, request: RequestBuilder) -> anyhow::Result<Seen> {
        let (seen, place) = expect(request, &[StatusCode::CREATED, StatusCode::ACCEPTED]).await?;
        if seen.body["scaRedirect"].is_string() {
            return Ok(seen);
        }
        let place = match place {
            Some(place) => place,
            None => format!("{path}/{}", seen.text("/id")?),
        };
        until(
            "the bank's page",
            || self.get(&place),
            |seen| seen.body["scaRedirect"].is_string(),
        )
        .await
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(self.at(path)).bearer_auth(self.token())
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(self.at(path)).bearer_auth(self.token())
    }

    /// A request that may be repeated: the key says that it is the same one.
    fn keyed(&self, path: &str) -> RequestBuilder {
        self.post(path)
            .header("Idempotency-Key", uuid::Uuid::new_v4().to_string())
    }

    fn at(&self, path: &str) -> String {
        if path.starts_with('/') {
            format!("{}{path}", self.api)
        } else {
            path.to_owned()
        }
    }

    fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }
}
