//! Which accounts a consent opens: whatever else a bank lists beside them, and whatever was linked before.

use drop_sandbox::{Account, Decision, Fault, Operation};
use drop_tests::{app::TestApp, person::SignedIn};
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    balances::{IBAN, count},
    consents::{OTHER_IBAN, approves, asks, comes_back, status},
    paying::{execute, value},
};

/// The contract's account, and one with another number.
fn two_accounts(app: &TestApp) -> [Account; 2] {
    let first = app.sandbox.neonomics().accounts()[0].clone();
    let second = Account {
        iban: OTHER_IBAN.into(),
        bban: None,
        ..first.clone()
    };
    [first, second]
}

/// The bank's list shows an account otherwise; null leaves a member out.
fn describes(app: &TestApp, iban: &str, members: &Value) {
    let members = members.as_object().unwrap().clone();
    app.sandbox.neonomics().configure(|bank| {
        bank.described_otherwise.insert(iban.to_owned(), members);
    });
}

async fn links(person: &SignedIn<'_>, key: &str) {
    let linking = person.post_once("/v1/bank-consents", key).await;
    assert_eq!(linking.status, 201, "{:?}", linking.problem());
    person
        .decides(linking.body["scaRedirect"].as_str().unwrap(), Decision::Approve)
        .await;
}

async fn listed(person: &SignedIn<'_>) -> Vec<Value> {
    let listed = person.get("/v1/bank-accounts").await;
    assert_eq!(listed.status, 200, "{:?}", listed.problem());
    listed.body["accounts"].as_array().unwrap().clone()
}

#[rstest]
#[case::a_currency_that_we_do_not_list(json!({ "currency": "CHF" }))]
#[case::several_currencies(json!({ "currency": "XXX" }))]
#[case::a_currency_in_small_letters(json!({ "currency": "nok" }))]
#[case::an_empty_currency(json!({ "currency": "" }))]
#[case::no_currency(json!({ "currency": null }))]
#[case::no_id(json!({ "resourceId": null }))]
#[case::an_empty_id(json!({ "resourceId": "" }))]
#[case::an_id_that_is_a_way_up(json!({ "resourceId": ".." }))]
#[case::an_id_with_a_nul(json!({ "resourceId": "a\u{0}b" }))]
#[case::no_number(json!({ "iban": null }))]
#[tokio::test]
async fn an_account_that_is_of_no_use_to_us_keeps_none_of_the_others_out(#[case] members: Value) {
    let app = TestApp::start().await;
    app.sandbox.neonomics().set_accounts(two_accounts(&app).into());
    describes(&app, OTHER_IBAN, &members);
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    links(&anna, "first").await;
    assert_eq!(status(&app).await, "valid");
    let shown = listed(&anna).await;
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert_eq!(shown[0]["balance"]["amount"], "45230.00");
    assert_eq!(count(&app, "SELECT count(*) FROM bank_accounts").await, 1);
    app.off_contract().finish().await;
}

#[tokio::test]
async fn a_row_in_a_currency_that_we_do_not_list_is_left_out_and_the_others_are_shown() {
    let app = TestApp::start().await;
    app.sandbox.neonomics().set_accounts(two_accounts(&app).into());
    let anna = app.signed_in("anna").await;
    anna.has_an_account().await;
    let other = listed(&anna).await[1]["id"].as_str().unwrap().to_owned();
    let id: uuid::Uuid = other.parse::<drop_common::domain::ids::AccountId>().unwrap().uuid();
    execute(
        &app,
        &format!("UPDATE bank_accounts SET currency = 'CHF' WHERE id = '{id}'"),
    )
    .await;
    assert_eq!(listed(&anna).await.len(), 1);
    for path in [
        format!("/v1/bank-accounts/{other}"),
        format!("/v1/bank-accounts/{other}/balance"),
    ] {
        assert_eq!(anna.get(&path).await.problem(), (404, "not_found"), "{path}");
    }
    app.finish().await;
}

#[tokio::test]
async fn an_account_that_has_only_a_national_number_is_linked_by_it() {
    let app = TestApp::start().await;
    describes(&app, IBAN, &json!({ "iban": null }));
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    links(&anna, "first").await;
    let shown = listed(&anna).await;
    assert_eq!(shown[0]["iban"], "NO93********947");
    assert_eq!(shown[0]["balance"]["amount"], "45230.00");
    app.sandbox
        .neonomics()
        .configure(|bank| bank.described_otherwise.clear());
    links(&anna, "again").await;
    let again = listed(&anna).await;
    assert_eq!(
        (again.len(), &again[0]["id"]),
        (1, &shown[0]["id"]),
        "by its IBAN it is the same"
    );
    app.off_contract().finish().await;
}

#[tokio::test]
async fn an_account_whose_iban_is_wrong_is_linked_by_its_national_number() {
    let app = TestApp::start().await;
    describes(&app, IBAN, &json!({ "iban": "NO0086011117947" }));
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    links(&anna, "first").await;
    assert_eq!(listed(&anna).await[0]["iban"], "NO93********947");
    app.off_contract().finish().await;
}

#[tokio::test]
async fn of_two_currencies_under_one_number_the_same_one_is_linked_each_time() {
    let app = TestApp::start().await;
    let [kroner, _] = two_accounts(&app);
    let euro = Account {
        currency: "EUR".into(),
        minor: 700,
        ..kroner.clone()
    };
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    for (key, list) in [("first", [&euro, &kroner]), ("again", [&kroner, &euro])] {
        app.sandbox.neonomics().set_accounts(list.map(Clone::clone).into());
        links(&anna, key).await;
        let shown = listed(&anna).await;
        assert_eq!(shown.len(), 1);
        assert_eq!(shown[0]["currency"], "NOK", "{key}");
        assert_eq!(shown[0]["balance"]["amount"], "45230.00", "{key}");
    }
    // What is left of the number is in another currency: nothing of the old one's is shown for it.
    app.sandbox.neonomics().set_accounts(vec![euro]);
    links(&anna, "once-more").await;
    let shown = listed(&anna).await;
    assert_eq!(
        (&shown[0]["currency"], &shown[0]["balance"]["amount"]),
        (&json!("EUR"), &json!("7.00"))
    );
    app.finish().await;
}

/// A Norwegian account number (mod 11) and the IBAN around it (mod 97).
fn iban(number: u64) -> Option<String> {
    let digits = format!("{number:010}");
    let weights = [5, 4, 3, 2, 7, 6, 5, 4, 3, 2];
    let sum: u64 = digits
        .bytes()
        .zip(weights)
        .map(|(digit, weight)| u64::from(digit - b'0') * weight)
        .sum();
    let check = match 11 - sum % 11 {
        11 => 0,
        10 => return None,
        check => check,
    };
    let bban = format!("{digits}{check}");
    let rest = format!("{bban}232400").parse::<u128>().unwrap() % 97;
    Some(format!("NO{:02}{bban}", 98 - rest))
}

#[tokio::test]
async fn of_a_bank_that_lists_very_many_accounts_a_hundred_are_linked() {
    let app = TestApp::start().await;
    let [first, _] = two_accounts(&app);
    let very_many = (8_601_110_000..).filter_map(iban).take(3_000).map(|iban| Account {
        iban,
        bban: None,
        ..first.clone()
    });
    app.sandbox.neonomics().set_accounts(very_many.collect());
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    links(&anna, "first").await;
    assert_eq!(status(&app).await, "valid");
    assert_eq!(listed(&anna).await.len(), 100);
    assert_eq!(count(&app, "SELECT count(*) FROM bank_accounts").await, 100);
    app.finish().await;
}

#[tokio::test]
async fn a_second_bank_is_linked_beside_the_first() {
    let app = TestApp::start().await;
    let [first, second] = two_accounts(&app);
    let anna = app.signed_in("anna").await;
    app.sandbox.neonomics().set_accounts(vec![first]);
    anna.has_an_account().await;
    app.sandbox.neonomics().set_accounts(vec![second]);
    links(&anna, "second").await;
    assert_eq!(listed(&anna).await.len(), 2);
    let valid = "SELECT count(*) FROM bank_consents WHERE status = 'valid'";
    assert_eq!(count(&app, valid).await, 2);
    app.finish().await;
}

#[tokio::test]
async fn a_consent_that_opens_nothing_takes_nothing_away() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.sandbox.neonomics().set_accounts(vec![]);
    links(&anna, "nothing").await;
    let shown = listed(&anna).await;
    assert_eq!((shown.len(), &shown[0]["id"]), (1, &json!(account)));
    assert_eq!(shown[0]["balance"]["amount"], "45230.00");
    app.finish().await;
}

#[tokio::test]
async fn a_list_that_cannot_be_read_is_not_asked_for_again_within_the_time_that_opens_a_circuit() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let (_, link) = asks(&anna, "first").await;
    app.stop_worker().await;
    app.sandbox.fault(Operation::Accounts, Fault::Garbage, 1);
    comes_back(&approves(&app, &link)).await;
    app.run_jobs().await;
    assert_eq!(status(&app).await, "received");
    let away: f64 = value(
        &app,
        "SELECT extract(epoch FROM run_at - clock_timestamp())::float8 FROM jobs WHERE kind = 'fetch-accounts'",
    )
    .await;
    assert!((55.0..91.0).contains(&away), "{away}");
    app.finish().await;
}

#[rstest]
#[case::no_day(json!("in half a year"))]
#[case::no_text(json!(20_270_524))]
#[tokio::test]
async fn a_last_day_that_is_none_leaves_the_one_that_was_asked_for(#[case] day: Value) {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let (id, link) = asks(&anna, "first").await;
    let path = format!("/v1/bank-consents/{id}");
    let asked = anna.get(&path).await.body["validUntil"].clone();
    answers(&app, &day);
    comes_back(&approves(&app, &link)).await;
    app.until_idle().await;
    let shown = anna.get(&path).await.body;
    assert_eq!((&shown["status"], &shown["validUntil"]), (&json!("valid"), &asked));
    assert_eq!(listed(&anna).await.len(), 1);
    app.off_contract().finish().await;
}

#[tokio::test]
async fn a_bank_that_names_a_later_day_than_was_asked_for_is_not_believed() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let (id, link) = asks(&anna, "first").await;
    let path = format!("/v1/bank-consents/{id}");
    let asked = anna.get(&path).await.body["validUntil"].clone();
    answers(&app, &json!("2999-12-31"));
    comes_back(&approves(&app, &link)).await;
    app.until_idle().await;
    let shown = anna.get(&path).await.body;
    assert_eq!((&shown["status"], &shown["validUntil"]), (&json!("valid"), &asked));
    app.off_contract().finish().await;
}

/// The bank's next words for a consent: it is valid, until then.
fn answers(app: &TestApp, day: &Value) {
    for body in [
        json!({ "consentStatus": "valid" }),
        json!({ "consentStatus": "valid", "validUntil": day }),
    ] {
        let body = Some(body);
        app.sandbox
            .fault(Operation::ConsentStatus, Fault::Status { code: 200, body }, 1);
    }
}
