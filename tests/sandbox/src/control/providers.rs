//! The control requests of each provider.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Answer, Wrong, done, read, shown};
use crate::{
    App,
    bank::Decision,
    bankid::{Algorithm, Mutation, Parameter, Person},
    call::{Call, Reply},
    neonomics::{Account, BankSettings},
    sumsub::webhook::ReviewRequest,
};

pub(super) async fn handle(app: &App, method: &str, path: &[&str], call: &Call) -> Answer {
    match path.split_first() {
        Some((&"bankid", rest)) => bankid(app, method, rest, call),
        Some((&"neonomics", rest)) => neonomics(app, method, rest, call),
        Some((&"bank", rest)) => bank(app, method, rest, call),
        Some((&"sumsub", rest)) => sumsub(app, method, rest, call).await,
        _ => Err(no_such_route()),
    }
}

fn no_such_route() -> Wrong {
    Wrong(404, "no such control route; GET /control lists them".to_owned())
}

fn failed(error: &anyhow::Error) -> Wrong {
    Wrong(409, format!("{error:#}"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SignIn {
    authorization_url: String,
    person: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RedirectUri {
    uri: String,
}

#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Keys {
    Rotate {
        #[serde(default)]
        keep_old: bool,
    },
    PublishNext,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Tokens {
    algorithm: Option<Algorithm>,
    next: Option<Vec<Mutation>>,
    always: Option<Vec<Mutation>>,
    keys_max_age: Option<u64>,
    ignore_pkce: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Returns {
    next: Vec<Parameter>,
}

fn bankid(app: &App, method: &str, path: &[&str], call: &Call) -> Answer {
    let bankid = &app.bankid;
    match (method, path) {
        ("GET", ["people"]) => shown(&bankid.people()),
        ("POST", ["people"]) => {
            bankid.add_person(read::<Person>(call)?);
            Ok(Reply::empty(204))
        }
        ("POST", ["redirect-uris"]) => {
            bankid.register_redirect_uri(&read::<RedirectUri>(call)?.uri);
            Ok(Reply::empty(204))
        }
        ("POST", ["sign-in"]) => {
            let request: SignIn = read(call)?;
            let redirect = bankid.sign_in(&request.authorization_url, &request.person);
            shown(&json!({ "redirect": redirect.map_err(|error| failed(&error))? }))
        }
        ("POST", ["keys"]) => done(match read(call)? {
            Keys::Rotate { keep_old } => bankid.rotate_keys(keep_old),
            Keys::PublishNext => bankid.publish_next_key(),
        }),
        ("POST", ["tokens"]) => {
            let request: Tokens = read(call)?;
            request
                .algorithm
                .into_iter()
                .for_each(|algorithm| bankid.sign_with(algorithm));
            request
                .next
                .into_iter()
                .for_each(|mutations| bankid.spoil_next(mutations));
            request
                .always
                .into_iter()
                .for_each(|mutations| bankid.spoil_always(mutations));
            request
                .keys_max_age
                .into_iter()
                .for_each(|seconds| bankid.set_keys_max_age(Some(seconds)));
            request
                .ignore_pkce
                .into_iter()
                .for_each(|ignores| bankid.ignore_pkce(ignores));
            Ok(Reply::empty(204))
        }
        ("POST", ["returns"]) => {
            bankid.spoil_next_return(read::<Returns>(call)?.next);
            Ok(Reply::empty(204))
        }
        _ => Err(no_such_route()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewStatus {
    status: String,
}

fn neonomics(app: &App, method: &str, path: &[&str], call: &Call) -> Answer {
    let neonomics = &app.neonomics;
    match (method, path) {
        ("GET", ["settings"]) => shown(&neonomics.settings()),
        ("PATCH", ["settings"]) => {
            let changed = merged(&neonomics.settings(), read(call)?)?;
            neonomics.configure(|settings| *settings = changed);
            shown(&neonomics.settings())
        }
        ("GET", ["consents"]) => shown(&neonomics.consents()),
        ("POST", ["consents", id]) => done(neonomics.set_consent_status(id, &read::<NewStatus>(call)?.status)),
        ("GET", ["payments"]) => shown(&neonomics.payments()),
        ("POST", ["payments", id]) => done(neonomics.set_payment_status(id, &read::<NewStatus>(call)?.status)),
        ("GET", ["accounts"]) => shown(&neonomics.accounts()),
        ("PUT", ["accounts"]) => {
            neonomics.set_accounts(read::<Vec<Account>>(call)?);
            Ok(Reply::empty(204))
        }
        ("POST", ["tokens", "expire"]) => {
            neonomics.expire_tokens();
            Ok(Reply::empty(204))
        }
        _ => Err(no_such_route()),
    }
}

fn merged(settings: &BankSettings, changes: Map<String, Value>) -> Result<BankSettings, Wrong> {
    let mut members = serde_json::to_value(settings).map_err(|error| Wrong(500, error.to_string()))?;
    if let Some(members) = members.as_object_mut() {
        members.extend(changes);
    }
    serde_json::from_value(members).map_err(|error| Wrong(400, error.to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonDecides {
    at: String,
    decision: Decision,
}

fn bank(app: &App, method: &str, path: &[&str], call: &Call) -> Answer {
    match (method, path) {
        ("POST", ["decisions"]) => {
            let request: PersonDecides = read(call)?;
            let redirect = app.bank.decide_at(&request.at, request.decision);
            shown(&json!({ "redirect": redirect.map_err(|error| failed(&error))? }))
        }
        _ => Err(no_such_route()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SumsubSettings {
    webhook_url: Option<String>,
    refuse_bearer: Option<bool>,
}

async fn sumsub(app: &App, method: &str, path: &[&str], call: &Call) -> Answer {
    let sumsub = &app.sumsub;
    match (method, path) {
        ("GET", ["applicants"]) => shown(&sumsub.applicants()),
        ("POST", ["reviews"]) => {
            let request: ReviewRequest = read(call)?;
            let webhooks = sumsub.review_all(request.reviews, &request.delivery).await;
            shown(&webhooks.map_err(|error| failed(&error))?)
        }
        ("GET", ["webhooks"]) => shown(&sumsub.webhooks()),
        ("POST", ["webhooks", number, "resend"]) => {
            let number = number.parse().map_err(|_| no_such_route())?;
            shown(&sumsub.resend(number).await.map_err(|error| failed(&error))?)
        }
        ("POST", ["settings"]) => {
            let request: SumsubSettings = read(call)?;
            request.webhook_url.iter().for_each(|url| sumsub.send_webhooks_to(url));
            request
                .refuse_bearer
                .into_iter()
                .for_each(|refuse| sumsub.refuse_bearer(refuse));
            Ok(Reply::empty(204))
        }
        _ => Err(no_such_route()),
    }
}
