//! Nothing that is secret or personal is in what a run prints, however talkative it is told to be.
use std::collections::BTreeMap;

use drop_tests::{canaries::Canaries, cluster::Cluster};
use reqwest::Url;
use serde_json::json;

use crate::canaries::{add_secrets_of, add_what_the_sandbox_saw};
use crate::launched::{Launched, Place};
use crate::visitor::Visitor;

/// What of a provider's answer or a client's body must not be quoted either.
const WORDS: &str = "words of a stranger";
const EMAIL: &str = "marko@example.org";
const IBAN: &str = "DE89370400440532013000";

#[tokio::test]
async fn a_run_at_the_most_talkative_setting_prints_nothing_secret_or_personal() {
    let place = Place::new();
    let cluster = Cluster::obtain(&|_| {}).await.unwrap();
    let mut database = Url::parse(cluster.admin_url()).unwrap();
    if cluster.is_private() {
        database.set_password(Some("a-password-it-does-not-ask-for")).unwrap();
    }
    let mut command = place.launcher();
    let command = command
        .env("RUST_LOG", "trace")
        .env("DROP_DATABASE_URL", database.as_str());
    let mut launcher = Launched::start(command);
    launcher.wait_for("everything is up");
    let said = launcher.said();
    let address = |of: &str| {
        said.lines()
            .find_map(|line| line.trim().strip_prefix(of))
            .unwrap()
            .trim()
            .to_owned()
    };
    let api = address("API documentation").trim_end_matches("/docs").to_owned();
    let marko = Visitor::new(&api, &address("sandbox control"));

    let mut canaries = Canaries::default();
    what_goes_wrong(&marko, &mut canaries).await;
    add_secrets_of(&place, &mut canaries);
    if let Some(password) = database.password() {
        canaries.add("database password", password);
    }
    let user = add_what_the_sandbox_saw(&marko, &mut canaries).await;
    launcher.signal("INT");
    let (status, said) = launcher.ended();

    assert_eq!(status.code(), Some(130), "{said}");
    assert_eq!(canaries.found_in(&said), BTreeMap::new());
    // It was talkative indeed, about these very people, and a canary would have been found.
    for talk in [
        user.as_str(),
        "job.id=",
        "TRACE",
        "INSERT INTO logins",
        "drop_sandbox::serve: neonomics payment",
    ] {
        assert!(said.contains(talk), "{talk}");
    }
    canaries.assert_each_would_be_found();
}

/// Errors quote what they are about more readily than successes do: the second person's way is full of them.
async fn what_goes_wrong(marko: &Visitor, canaries: &mut Canaries) {
    canaries.add("somebody's words", WORDS);
    let refusal = json!({ "error": "invalid_grant", "error_description": WORDS });
    marko.fault("bankid", "token", 400, &refusal).await;
    let (status, _) = marko.logs_in(canaries).await;
    assert!(status >= 400, "{status}");

    let (status, session) = marko.logs_in(canaries).await;
    assert_eq!(status, 200);
    let token = session["accessToken"].as_str().unwrap();
    canaries.add("session token", token);

    canaries.add("e-mail", EMAIL);
    marko
        .fault(
            "sumsub",
            "applicant_create",
            400,
            &json!({ "description": format!("{WORDS} {EMAIL}") }),
        )
        .await;
    let applicant = json!({ "email": EMAIL });
    let status = marko.posts("/v1/kyc/applicant", token, &applicant).await;
    assert!(status >= 400, "{status}");
    marko.sees_the_fault_used("sumsub").await;

    canaries.add("IBAN", IBAN);
    let order = json!({
        "accountId": WORDS,
        "instructedAmount": { "amount": WORDS, "currency": "NOK" },
        "creditorName": WORDS,
        "creditorAccount": { "iban": IBAN },
    });
    assert!((400..500).contains(&marko.posts("/v1/transactions", token, &order).await));
    assert_eq!(
        marko.posts("/v1/webhooks/sumsub", "", &json!({ "type": WORDS })).await,
        401
    );
    canaries.add("code", "forged-code");
    canaries.add("state", "forged-state");
    let status = marko
        .gets("/api/auth/bankid/callback?code=forged-code&state=forged-state")
        .await;
    assert!((400..500).contains(&status), "{status}");
    assert_eq!(marko.gets("/v1/transactions/tx_0").await, 401);
}
