//! Every call to Neonomics, once: held against our own description always, and against the Berlin Group's document
//! (`NextGenPSD2`, OpenAPI 1.3) where `PSD2_API_YAML` names it. That document is not ours to copy.

mod deviations;

use std::{collections::BTreeSet, io::Write as _};

use drop_sandbox::{Decision, Entry, Operation};
use drop_tests::{
    app::TestApp,
    person::{Answer, SignedIn, browser},
    referee::{Finding, Referee},
};
use serde_json::Value;

use self::deviations::{DEVIATIONS, Deviation};
use crate::{
    balances::sync,
    paying::{approved, becomes, order, pays},
};

const BEHIND_A_PROXY: (&str, &str) = ("DROP_TRUSTED_PROXIES", "127.0.0.1");
/// A person on a line that has no other address.
const IPV6: &str = "2001:db8::7";

/// The standard's own document, or a plain word that there is none.
fn standard() -> Option<Referee> {
    let Some(path) = std::env::var_os("PSD2_API_YAML") else {
        // Past the test runner, which swallows what a passing test prints.
        let _ = writeln!(
            std::io::stderr(),
            "not run: the check against the Berlin Group's document needs PSD2_API_YAML, which names it"
        );
        return None;
    };
    let text = std::fs::read_to_string(path).expect("PSD2_API_YAML names a document that can be read");
    Some(Referee::read(&text))
}

/// Every call that our client makes, and of the bank's refusals those that belong to reading.
async fn walk(app: &TestApp) {
    // A bank that wants the approval started, and that changes the order.
    app.sandbox.neonomics().configure(|bank| {
        bank.explicit_authorisation = true;
        bank.progression = ["ACWC", "ACSC"].map(str::to_owned).into();
    });
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let refresh = format!("/v1/bank-accounts/{account}/balance/refresh");
    app.sandbox.neonomics().expire_tokens();
    let from_afar = anna.request(&refresh).header("X-Forwarded-For", IPV6);
    assert_eq!(Answer::of(from_afar.send().await.unwrap()).await.status, 200);
    sync(app, 1).await;
    app.sandbox.neonomics().configure(|bank| bank.unattended_reads = 0);
    sync(app, 2).await;

    let paid = pays(&anna, &account, "first").await;
    let back = approved(app, paid.body["scaRedirect"].as_str().unwrap());
    assert_eq!(browser().get(back).send().await.unwrap().status(), 200);
    becomes(&anna, paid.body["id"].as_str().unwrap(), "completed").await;
    let wish = order(&account, "11.00");
    let other = anna.post_keyed("/v1/transactions", "other", &wish).await;
    let cancel = format!("/v1/transactions/{}/cancel", other.body["id"].as_str().unwrap());
    assert_eq!(anna.post(&cancel, &Value::Null).await.body["status"], "cancelled");

    let consent = app.sandbox.neonomics().consents()[0].id.clone();
    app.sandbox.neonomics().set_consent_status(&consent, "expired").unwrap();
    assert_eq!(anna.post(&refresh, &Value::Null).await.problem(), (404, "not_found"));
    unlinks(&anna).await;
    app.until_idle().await;
}

/// Links the bank again, and takes its access back.
async fn unlinks(person: &SignedIn<'_>) {
    let linking = person.post_once("/v1/bank-consents", "again").await;
    person
        .decides(linking.body["scaRedirect"].as_str().unwrap(), Decision::Approve)
        .await;
    let path = format!("/v1/bank-consents/{}", linking.body["id"].as_str().unwrap());
    assert_eq!(person.delete(&path).await.status, 204);
}

/// What the document finds in everything but the access token, which it leaves to OAuth.
fn found_by(referee: &Referee, calls: &[Entry]) -> Vec<Finding> {
    let judged = calls
        .iter()
        .filter(|call| call.operation != Some(Operation::NeonomicsToken.name()));
    judged.flat_map(|call| referee.judge(call)).collect()
}

#[tokio::test]
async fn every_call_that_we_described_is_made_and_is_as_described() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    walk(&app).await;
    let ours = Referee::ours();
    let calls = app.sandbox.neonomics().journal();
    let made: BTreeSet<String> = calls.iter().filter_map(|call| ours.call_of(call)).collect();
    assert_eq!(made, ours.described().into_iter().collect());
    let statuses: BTreeSet<u16> = calls.iter().filter_map(|call| call.status).collect();
    assert_eq!(statuses, [200, 201, 204, 401, 403, 429].into());
    app.finish().await; // which judges
}

#[tokio::test]
async fn the_contract_differs_from_the_standard_in_exactly_what_is_listed() {
    let Some(standard) = standard() else { return };
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    walk(&app).await;
    let found = found_by(&standard, &app.sandbox.neonomics().journal());
    let places: BTreeSet<(&str, &str)> = found.iter().map(|one| (one.operation, &*one.place)).collect();
    let listed: BTreeSet<(&str, &str)> = DEVIATIONS.iter().flat_map(|one| one.seen).copied().collect();
    assert_eq!(places, listed, "{found:#?}");
    app.finish().await;
}

#[tokio::test]
async fn in_standard_mode_no_call_and_no_answer_differs_from_the_standard() {
    let Some(standard) = standard() else { return };
    let settings = DEVIATIONS.iter().filter(|one| !one.seen.is_empty());
    let changes: Vec<_> = settings.map(|one| one.setting).chain([BEHIND_A_PROXY]).collect();
    let app = TestApp::start_with(&changes).await;
    app.sandbox
        .neonomics()
        .configure(|bank| bank.consent_expired_status = 401);
    walk(&app).await;
    let calls = app.sandbox.neonomics().journal();
    assert_eq!(found_by(&standard, &calls), []);
    let made: BTreeSet<String> = calls.iter().filter_map(|call| standard.call_of(call)).collect();
    assert_eq!(made.len(), 11, "{made:?}");
    app.off_contract().finish().await;
}

#[test]
fn every_listed_deviation_is_a_setting_whose_default_is_the_contracts() {
    let example = include_str!("../../../.env.example");
    for Deviation {
        topic,
        setting: (name, standards),
        reason,
        ..
    } in &DEVIATIONS
    {
        let default = example.lines().find_map(|line| line.strip_prefix(&format!("#{name}=")));
        let default = default.unwrap_or_else(|| panic!("{topic}: {name} has no default"));
        assert_ne!(default, *standards, "{topic}: {reason}");
    }
}
