//! Somebody who may pay: logged in, identified, with a linked account.

use anyhow::{Context, ensure};
use drop_sandbox::{Decision, Delivery, Person, Review};
use reqwest::{
    Client, RequestBuilder, Response,
    header::{ACCEPT, COOKIE, LOCATION, SET_COOKIE},
};
use serde_json::{Value, json};

use super::Service;

/// Their access token and account.
pub(crate) struct Payer {
    token: String,
    account: String,
}

impl Payer {
    /// Takes a person through everything that comes before a payment.
    pub(crate) async fn prepare(service: &Service, client: &Client, person: &Person) -> anyhow::Result<Self> {
        let at = |path: &str| format!("{}{path}", service.url);
        let address = service.fresh_address();
        let start = client
            .get(at("/api/auth/bankid/login"))
            .header("x-forwarded-for", &address);
        let started = start.send().await?;
        let cookie = header(&started, SET_COOKIE.as_str())?
            .split(';')
            .next()
            .unwrap_or_default();
        let back = service
            .sandbox
            .bankid()
            .sign_in(header(&started, LOCATION.as_str())?, &person.key)?;
        let callback = client
            .get(back)
            .header("x-forwarded-for", &address)
            .header(COOKIE, cookie)
            .header(ACCEPT, "application/json");
        let login = read(callback, 200).await?;
        let token = text(&login, "/accessToken")?;
        let asks = |request: RequestBuilder| request.bearer_auth(&token);

        let email = json!({ "email": "kari@example.com" });
        read(asks(client.post(at("/v1/kyc/applicant"))).json(&email), 201).await?;
        let review = Review::of(&text(&login, "/user/id")?, "GREEN");
        service.sandbox.sumsub().review(review, &Delivery::default()).await?;
        until(|| asks(client.get(at("/v1/kyc"))), "/status", "approved").await?;

        let link = asks(client.post(at("/v1/bank-consents"))).header("Idempotency-Key", "link");
        let consent = read(link, 201).await?;
        let decided = service
            .sandbox
            .bank()
            .decide_at(&text(&consent, "/scaRedirect")?, Decision::Approve)?;
        read(
            client
                .get(decided.context("a way back from the bank")?)
                .header("x-forwarded-for", &address)
                .header(ACCEPT, "application/json"),
            200,
        )
        .await?;
        let path = format!("/v1/bank-consents/{}", text(&consent, "/id")?);
        until(|| asks(client.get(at(&path))), "/status", "valid").await?;
        let accounts = read(asks(client.get(at("/v1/bank-accounts"))), 200).await?;
        let account = text(&accounts, "/accounts/0/id")?;
        Ok(Self { token, account })
    }

    /// The request for a payment; no two of the same person and amount, for they would be look-alikes.
    pub(crate) fn order(&self, service: &Service, client: &Client, number: usize) -> RequestBuilder {
        let order = json!({
            "accountId": self.account,
            "instructedAmount": { "amount": format!("{}.{:02}", 1 + number / 100, number % 100), "currency": "NOK" },
            "creditorName": "Marko Petrovic",
            "creditorAccount": { "bban": "265-1234567-89" },
        });
        client
            .post(format!("{}/v1/transactions", service.url))
            .bearer_auth(&self.token)
            .header("Idempotency-Key", uuid::Uuid::new_v4().to_string())
            .json(&order)
    }
}

fn header<'a>(response: &'a Response, name: &str) -> anyhow::Result<&'a str> {
    let value = response.headers().get(name).and_then(|value| value.to_str().ok());
    value.with_context(|| format!("no {name}"))
}

fn text(body: &Value, pointer: &str) -> anyhow::Result<String> {
    let text = body.pointer(pointer).and_then(Value::as_str);
    Ok(text.with_context(|| format!("no {pointer}"))?.to_owned())
}

async fn read(request: RequestBuilder, status: u16) -> anyhow::Result<Value> {
    let response = request.send().await?;
    let (got, path) = (response.status(), response.url().path().to_owned());
    ensure!(got == status, "{path} answered {got}");
    Ok(response.json().await?)
}

async fn until(request: impl Fn() -> RequestBuilder, pointer: &str, word: &str) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
    for _ in 0..500 {
        ticks.tick().await;
        if read(request(), 200).await?.pointer(pointer).and_then(Value::as_str) == Some(word) {
            return Ok(());
        }
    }
    anyhow::bail!("{pointer} never becomes {word}")
}
