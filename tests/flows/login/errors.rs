//! What a login that fails is answered with, where it is counted, and for which reasons somebody is told.

use std::collections::BTreeMap;

use drop_sandbox::{Fault, Mutation, Operation, Parameter};
use drop_tests::{
    alerts,
    app::{TestApp, eventually},
};
use serde_json::json;

use crate::login::scene::{Browser, FAILS_A_CHECK, NO_TOKEN, THEIR_WORDS, leaves_nothing, service, service_with};

/// What stands in the way of a login.
#[derive(Debug)]
enum Obstacle {
    /// The person themselves: their key in the sandbox.
    Person(&'static str),
    /// What the way back says.
    Return(Vec<Parameter>),
    /// The token endpoint.
    Tokens(Fault),
    /// The token.
    Token(Mutation),
    /// The key set.
    Keys(Fault),
}

use Obstacle::{Keys, Person, Return, Token, Tokens};

fn error(error: &str) -> Obstacle {
    let description = Parameter::set("error_description", THEIR_WORDS);
    Return(vec![
        Parameter::set("error", error),
        description,
        Parameter::absent("code"),
    ])
}

fn refuses(code: u16, error: &str) -> Obstacle {
    let body = Some(json!({ "error": error, "error_description": THEIR_WORDS }));
    Tokens(Fault::Status { code, body })
}

impl Obstacle {
    fn stands_in_the_way_of(self, app: &TestApp) -> &'static str {
        let bankid = app.sandbox.bankid();
        match self {
            Person(person) => return person,
            Return(parameters) => bankid.spoil_next_return(parameters),
            Tokens(fault) => app.sandbox.fault(Operation::BankidToken, fault, 1),
            Token(mutation) => bankid.spoil_next(vec![mutation]),
            Keys(fault) => app.sandbox.fault(Operation::BankidCerts, fault, 1),
        }
        "anna"
    }

    fn token_requests(&self) -> usize {
        match self {
            Return(_) | Person("cancel") => 0,
            Person(_) | Tokens(_) | Token(_) | Keys(_) => 1,
        }
    }
}

const LOGIN_REFUSED: Option<&str> = Some("bankid_login_refused");
const UNREACHABLE: Option<&str> = Some("bankid_unreachable");
const REQUEST_REFUSED: Option<&str> = Some("bankid_request_refused");

#[expect(clippy::too_many_lines, reason = "a table: one row a case")]
fn table() -> Vec<(Obstacle, u16, &'static str, &'static str, Option<&'static str>)> {
    let without = |name| Mutation::claim(name, json!(null));
    let number = |value| Token(Mutation::claim("pid", value));
    vec![
        // The keys first: those of a login that worked would serve the others.
        (Keys(Fault::status(500)), 502, FAILS_A_CHECK, "keys", LOGIN_REFUSED),
        (Keys(Fault::Garbage), 502, FAILS_A_CHECK, "keys", LOGIN_REFUSED),
        (
            Token(Mutation::claim("nonce", "x")),
            502,
            FAILS_A_CHECK,
            "nonce",
            LOGIN_REFUSED,
        ),
        (Person("cancel"), 400, "bankid_cancelled", "", None),
        (error("access_denied"), 400, "bankid_cancelled", "", None),
        (refuses(400, "invalid_grant"), 502, NO_TOKEN, "code_refused", None),
        (
            refuses(401, "unauthorized_client"),
            502,
            NO_TOKEN,
            "client_refused",
            LOGIN_REFUSED,
        ),
        (
            refuses(400, "unauthorized_client"),
            502,
            NO_TOKEN,
            "client_refused",
            LOGIN_REFUSED,
        ),
        (
            refuses(401, "invalid_client"),
            502,
            NO_TOKEN,
            "client_refused",
            LOGIN_REFUSED,
        ),
        (
            refuses(400, "invalid_client"),
            502,
            NO_TOKEN,
            "client_refused",
            LOGIN_REFUSED,
        ),
        (Tokens(Fault::status(500)), 502, NO_TOKEN, "exchange", UNREACHABLE),
        (Tokens(Fault::Drop), 502, NO_TOKEN, "exchange", UNREACHABLE),
        (Tokens(Fault::Garbage), 502, NO_TOKEN, "exchange", UNREACHABLE),
        (
            Tokens(Fault::Oversize { bytes: 1024 * 1024 }),
            502,
            NO_TOKEN,
            "exchange",
            UNREACHABLE,
        ),
        (
            Token(Mutation::answer("id_token", json!(null))),
            502,
            NO_TOKEN,
            "unusable_answer",
            None,
        ),
        (Token(without("exp")), 502, NO_TOKEN, "unusable_answer", None),
        (Person("minor"), 403, "underage", "", None),
        (Person("no_claims"), 403, "age_unverified", "age_unverified", None),
        (Person("of_2032"), 403, "age_unverified", "age_unverified", None),
        (
            number("12345678901"),
            502,
            "invalid_identity_claim",
            "national_id",
            LOGIN_REFUSED,
        ),
        (
            Token(Mutation::claim("nnin_altsub", "17829049236")),
            502,
            "invalid_identity_claim",
            "identity_claim",
            LOGIN_REFUSED,
        ),
        (
            Person("syntpop"),
            502,
            "invalid_identity_claim",
            "national_id",
            LOGIN_REFUSED,
        ),
        (
            Return(vec![Parameter::absent("code")]),
            400,
            "invalid_callback",
            "invalid_callback",
            None,
        ),
        (
            Return(vec![Parameter::set("iss", "https://other.example")]),
            400,
            "invalid_callback",
            "invalid_callback",
            None,
        ),
        (error("server_error"), 502, "bankid_error", "bankid_error", None),
        (
            error("temporarily_unavailable"),
            502,
            "bankid_error",
            "bankid_error",
            None,
        ),
        (error("login_required"), 502, "bankid_error", "bankid_error", None),
        (error(THEIR_WORDS), 502, "bankid_error", "bankid_error", None),
        (
            error("invalid_request"),
            502,
            "bankid_error",
            "bankid_error",
            REQUEST_REFUSED,
        ),
        (
            error("invalid_scope"),
            502,
            "bankid_error",
            "bankid_error",
            REQUEST_REFUSED,
        ),
        (
            error("unauthorized_client"),
            502,
            "bankid_error",
            "bankid_error",
            REQUEST_REFUSED,
        ),
        (
            error("unsupported_response_type"),
            502,
            "bankid_error",
            "bankid_error",
            REQUEST_REFUSED,
        ),
    ]
}

#[tokio::test]
async fn a_refused_login_is_audited_counted_and_told_where_the_person_is_not_the_reason() {
    alerts::listen();
    let app = service_with(&[("BANKID_RELAXED_2032", "true")]).await;
    let bankid = app.sandbox.bankid();
    bankid.add_person(drop_sandbox::Person {
        key: "of_2032".into(),
        birthdate: None,
        ..bankid.person("rule_2032").unwrap()
    });
    let mut expected = BTreeMap::new();
    for (obstacle, status, code, reason, alert) in table() {
        let way = format!("{obstacle:?}");
        let asked = obstacle.token_requests();
        let person = obstacle.stands_in_the_way_of(&app);
        leaves_nothing(&app, &way, (status, code), asked, async || {
            Browser::of(&app).logs_in(person).await
        })
        .await;
        let audited =
            sqlx::query_as("SELECT action, object, detail ->> 'failure' FROM audit_log ORDER BY id DESC LIMIT 1");
        let (action, login, failure): (String, String, String) = audited.fetch_one(&app.db).await.unwrap();
        assert_eq!((action.as_str(), failure.as_str()), ("login.refused", code), "{way}");
        assert_eq!(alerts::about(&login), Vec::from_iter(alert), "{way}");
        let counter = match code {
            "bankid_cancelled" => continue, // is no error
            "underage" => "bankid_underage_rejections_total".to_owned(),
            _ => errors(reason),
        };
        *expected.entry(counter).or_default() += 1;
        is_counted(&app, &expected).await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_callback_that_belongs_to_no_login_is_counted() {
    let app = service().await;
    let mut expected = BTreeMap::new();
    for (query, code) in [
        ("code=c&state=forged", "invalid_state"),
        ("code=c", "invalid_state"),
        ("code=c&code=c&state=forged", "invalid_callback"),
    ] {
        let callback = format!("{}/api/auth/bankid/callback?{query}", app.url);
        leaves_nothing(&app, query, (400, code), 0, async || {
            Browser::of(&app).returns(&callback, "bankid_state=mine").await
        })
        .await;
        *expected.entry(errors(code)).or_default() += 1;
        is_counted(&app, &expected).await;
    }
    app.finish().await;
}

#[tokio::test]
async fn the_eleventh_login_of_a_minute_is_429_with_a_time_to_come_back_and_is_counted() {
    let app = service().await;
    let callback = format!("{}/api/auth/bankid/callback?code=c&state=forged", app.url);
    let browser = Browser::of(&app);
    for _ in 0..10 {
        let answer = browser.returns(&callback, "").await;
        assert_eq!(answer.problem(), (400, "invalid_state"));
    }
    let answer = browser.returns(&callback, "").await;
    assert_eq!(answer.problem(), (429, "rate_limited"));
    assert!((1..=60).contains(&answer.retry_after.unwrap()), "{answer:?}");
    let expected = [(errors("invalid_state"), 10), (errors("rate_limited"), 1)];
    is_counted(&app, &BTreeMap::from(expected)).await;
    app.finish().await;
}

/// The counter of the logins that failed for this reason.
fn errors(reason: &str) -> String {
    format!("bankid_login_errors_total{{reason=\"{reason}\"}}")
}

/// The worker counts right after its commit, which the answer need not wait for.
async fn is_counted(app: &TestApp, expected: &BTreeMap<String, u64>) {
    let is_so = eventually(async || counted(app).await == *expected).await;
    assert!(is_so, "{:?} instead of {expected:?}", counted(app).await);
}

/// What both processes have counted of logins, without what is zero.
async fn counted(app: &TestApp) -> BTreeMap<String, u64> {
    let scrapes = [app.scrape_api().await, app.scrape_worker().await];
    let lines = scrapes.iter().flat_map(|scrape| scrape.lines());
    let mut counted = BTreeMap::new();
    for line in lines.filter(|line| line.starts_with("bankid_")) {
        let (series, count) = line.rsplit_once(' ').expect("a series and its value");
        let count: u64 = count.parse().expect("a count");
        if count > 0 {
            *counted.entry(series.to_owned()).or_default() += count;
        }
    }
    counted
}
