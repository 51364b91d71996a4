//! A new person's way through the product, one printed line for each step.
use std::time::Instant;

use anyhow::Context;
use reqwest::Url;
use serde_json::{Value, json};

use crate::console;
use crate::exchange::{Seen, Unexpected};
use crate::person::Person;

const STEPS: usize = 8;

/// Plays all steps. The first one that is not as expected ends the play with an error that says what was expected
/// and what came.
pub(crate) async fn play(mut person: Person) -> anyhow::Result<()> {
    let mut steps = Steps::default();

    let login = steps.take("logged in with BankID", person.logs_in()).await?;
    let user = login.text("/user/id")?.to_owned();
    steps.done(&login, &user);

    let applicant = steps
        .take("KYC requested", person.starts_kyc("anna@example.com"))
        .await?;
    steps.done(&applicant, text(&applicant, "/status"));

    let kyc = steps.take("KYC reviewed", person.is_approved(&user)).await?;
    steps.done(&kyc, text(&kyc, "/status"));

    let consent = steps.take("bank access requested", person.asks_for_consent()).await?;
    steps.done(&consent, text(&consent, "/status"));

    let accounts = steps.take("account linked", links(&person, &consent)).await?;
    let account = accounts.text("/accounts/0/id")?.to_owned();
    steps.done(&accounts, text(&accounts, "/accounts/0/iban"));

    let balance = steps.take("balance shown", person.sees_the_balance(&account)).await?;
    steps.done(
        &balance,
        &format!("{} {}", text(&balance, "/amount"), text(&balance, "/currency")),
    );

    let order = order(&account);
    let payment = steps.take("payment ordered", person.pays(&order)).await?;
    let id = payment.text("/id")?.to_owned();
    let place = without_secrets(payment.text("/scaRedirect")?)?;
    let amount = text(&payment, "/instructedAmount/amount");
    steps.done(&payment, &format!("{amount} NOK, scaRedirect {place}"));

    let completed = steps.take("payment approved", approves(&person, &payment, &id)).await?;
    steps.done(&completed, text(&completed, "/status"));
    console::say("every step was as expected");
    Ok(())
}

async fn links(person: &Person, consent: &Seen) -> anyhow::Result<Seen> {
    person.approves(consent.text("/scaRedirect")?).await?;
    person.sees_an_account().await
}

async fn approves(person: &Person, payment: &Seen, id: &str) -> anyhow::Result<Seen> {
    person.approves(payment.text("/scaRedirect")?).await?;
    person.sees_the_payment_completed(id).await
}

fn order(account: &str) -> Value {
    json!({
        "accountId": account,
        "instructedAmount": { "amount": "2010.00", "currency": "NOK" },
        "creditorName": "Marko Horvat",
        "creditorAccount": { "iban": "HR1210010051863000160" },
        "remittanceInformation": "Walk-through",
    })
}

/// Where the bank's page is, without what makes it this payment's: that may open it to whoever reads it here.
fn without_secrets(redirect: &str) -> anyhow::Result<String> {
    let url = Url::parse(redirect).context("expected an address as scaRedirect")?;
    let host = url.host_str().context("expected a host in scaRedirect")?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let first = url
        .path_segments()
        .and_then(|mut segments| segments.next())
        .unwrap_or_default();
    Ok(format!("{host}{port}/{first}/…"))
}

fn text<'a>(seen: &'a Seen, pointer: &str) -> &'a str {
    seen.body.pointer(pointer).and_then(Value::as_str).unwrap_or("?")
}

/// Counts the steps and takes their time.
#[derive(Default)]
struct Steps {
    number: usize,
    what: &'static str,
    milliseconds: u128,
}

impl Steps {
    async fn take(
        &mut self,
        what: &'static str,
        step: impl Future<Output = anyhow::Result<Seen>>,
    ) -> anyhow::Result<Seen> {
        self.number += 1;
        self.what = what;
        let started = Instant::now();
        let seen = step.await;
        self.milliseconds = started.elapsed().as_millis();
        if let Err(error) = &seen {
            let came = error
                .downcast_ref::<Unexpected>()
                .map(|unexpected| unexpected.status.as_u16());
            console::step_failed(self.number, STEPS, what, came, self.milliseconds);
        }
        seen.with_context(|| format!("step {} ({what}) failed", self.number))
    }

    fn done(&self, seen: &Seen, detail: &str) {
        let what = format!("{}: {detail}", self.what);
        console::step_done(self.number, STEPS, &what, seen.status.as_u16(), self.milliseconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_banks_page_only_the_place_is_shown() {
        let shown = without_secrets("https://bank.example:8443/sca/payments/7?token=hush#hush").unwrap();
        assert_eq!(shown, "bank.example:8443/sca/…");
        assert!(without_secrets("not an address").is_err());
    }
}
