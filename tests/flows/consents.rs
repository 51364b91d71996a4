//! A consent's way: who is there when the bank is asked, what replaces it, and its last days.

use chrono::TimeDelta;
use drop_common::{
    domain::{
        account_number::AccountNumber,
        ids::{ConsentId, UserId},
    },
    keyring::Keyring,
    storage::accounts::{self, Found},
};
use drop_sandbox::{Decision, Fault, Operation};
use drop_tests::{
    app::{TestApp, eventually},
    person::{Answer, SignedIn, browser},
};
use serde_json::{Value, json};

use crate::balances::{calls, count, plan_reads};

pub(crate) const OTHER_IBAN: &str = "NO7112345678903";

/// Asks for a consent: its id and the link where the person approves it.
pub(crate) async fn asks(person: &SignedIn<'_>, key: &str) -> (String, String) {
    let linking = person.post_once("/v1/bank-consents", key).await;
    assert_eq!(linking.status, 201, "{:?}", linking.problem());
    let text = |name: &str| linking.body[name].as_str().unwrap().to_owned();
    (text("id"), text("scaRedirect"))
}

/// The person approves at the bank; where the bank sends them then.
pub(crate) fn approves(app: &TestApp, link: &str) -> String {
    app.sandbox.bank().decide_at(link, Decision::Approve).unwrap().unwrap()
}

pub(crate) async fn comes_back(address: &str) {
    let answer = Answer::of(browser().get(address).send().await.unwrap()).await;
    assert_eq!(answer.status, 200, "{:?}", answer.problem());
}

pub(crate) async fn status(app: &TestApp) -> String {
    sqlx::query_scalar("SELECT status FROM bank_consents ORDER BY created_at DESC LIMIT 1")
        .fetch_one(&app.db)
        .await
        .unwrap()
}

/// How many of the calls claimed that the person is there, and how many did not.
fn claimed(app: &TestApp, operation: Operation) -> (usize, usize) {
    let entries = app.sandbox.journal().entries_of(operation);
    let attended = entries.iter().filter(|entry| entry.header("psu-ip-address").is_some());
    let attended = attended.count();
    (attended, entries.len() - attended)
}

async fn audited(app: &TestApp) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT concat_ws(' ', action, detail ->> 'from', detail ->> 'to', detail ->> 'why') FROM audit_log
          WHERE object LIKE 'con\\_%' ORDER BY id",
    )
    .fetch_all(&app.db)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_late_approval_that_only_the_timer_sees_is_read_without_claiming_that_anybody_is_there() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let (_, link) = asks(&anna, "first").await;
    app.stop_worker().await;
    app.advance(TimeDelta::seconds(15)).await;
    app.run_jobs().await; // still within the minute of the wish
    approves(&app, &link);
    app.advance(TimeDelta::hours(20)).await;
    app.run_jobs().await;
    assert_eq!(status(&app).await, "valid");
    assert_eq!(claimed(&app, Operation::ConsentCreate), (1, 0), "the wish itself");
    assert_eq!(claimed(&app, Operation::ConsentStatus).0, 0);
    assert_eq!(claimed(&app, Operation::Accounts), (0, 1));
    assert_eq!(claimed(&app, Operation::Balances), (0, 1));
    assert_eq!(
        count(&app, "SELECT count(*) FROM balance_reads WHERE NOT attended").await,
        1
    );
    assert_eq!(
        count(&app, "SELECT count(*) FROM bank_consents WHERE psu_ip IS NOT NULL").await,
        0
    );
    app.finish().await;
}

#[tokio::test]
async fn whoever_has_just_come_back_from_the_bank_is_there_however_late_and_not_for_long() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let (_, link) = asks(&anna, "first").await;
    app.stop_worker().await;
    app.advance(TimeDelta::hours(20)).await;
    comes_back(&approves(&app, &link)).await;
    app.sandbox.fault(Operation::Accounts, Fault::status(404), 1);
    app.run_jobs().await;
    assert_eq!(claimed(&app, Operation::Accounts), (1, 0));
    app.advance(TimeDelta::minutes(8)).await;
    app.run_jobs().await;
    assert_eq!(status(&app).await, "valid");
    assert_eq!(claimed(&app, Operation::Accounts), (1, 1));
    assert_eq!(claimed(&app, Operation::Balances), (0, 1));
    app.finish().await;
}

#[tokio::test]
async fn a_return_from_the_bank_during_a_look_is_followed_by_another_look_soon_and_not_in_a_row() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let (_, link) = asks(&anna, "first").await;
    app.stop_worker().await;
    app.advance(TimeDelta::seconds(16)).await;
    app.sandbox
        .fault(Operation::ConsentStatus, Fault::Delay { ms: 1_000 }, 1);
    let returns = async {
        let under_way = async || {
            count(
                &app,
                "SELECT count(*) FROM jobs WHERE kind = 'fetch-accounts' AND state = 'running'",
            )
            .await
                == 1
        };
        assert!(eventually(under_way).await);
        let answered = async || claimed(&app, Operation::ConsentStatus) != (0, 0);
        assert!(eventually(answered).await, "the bank was asked before the approval");
        comes_back(&approves(&app, &link)).await;
    };
    tokio::join!(app.run_jobs(), returns);
    assert_eq!(status(&app).await, "received");
    assert_eq!(
        claimed(&app, Operation::ConsentStatus).0 + claimed(&app, Operation::ConsentStatus).1,
        1
    );
    app.advance(TimeDelta::seconds(5)).await;
    app.run_jobs().await;
    assert_eq!(status(&app).await, "valid");
    app.finish().await;
}

#[tokio::test]
async fn scattered_errors_do_not_end_a_consent_that_the_person_is_still_approving() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let (_, link) = asks(&anna, "first").await;
    app.stop_worker().await;
    sqlx::query("UPDATE jobs SET attempt = max_attempts - 1 WHERE kind = 'fetch-accounts'")
        .execute(&app.db)
        .await
        .unwrap();
    app.advance(TimeDelta::seconds(16)).await;
    let mut elsewhere = app.db.begin().await.unwrap();
    sqlx::query("LOCK TABLE bank_consents IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *elsewhere)
        .await
        .unwrap();
    app.run_jobs().await;
    assert_eq!(
        count(
            &app,
            "SELECT count(*) FROM jobs WHERE kind = 'fetch-accounts' AND state = 'ready' AND attempt >= max_attempts"
        )
        .await,
        1,
        "it looked, could not write, and will look again"
    );
    elsewhere.rollback().await.unwrap();
    assert_eq!(status(&app).await, "received");
    approves(&app, &link);
    app.advance(TimeDelta::seconds(16)).await;
    app.run_jobs().await;
    assert_eq!(status(&app).await, "valid");
    app.finish().await;
}

#[tokio::test]
async fn a_new_consent_ends_the_old_one_and_unlinks_the_accounts_that_it_does_not_hold() {
    let app = TestApp::start().await;
    let first = app.sandbox.neonomics().accounts()[0].clone();
    let mut second = first.clone();
    (second.iban, second.bban) = (OTHER_IBAN.into(), None);
    app.sandbox.neonomics().set_accounts(vec![first, second.clone()]);
    let anna = app.signed_in("anna").await;
    anna.has_an_account().await;
    let listed = async || {
        anna.get("/v1/bank-accounts").await.body["accounts"]
            .as_array()
            .unwrap()
            .clone()
    };
    let before = listed().await;
    assert_eq!(before.len(), 2);
    app.sandbox.neonomics().set_accounts(vec![second]);
    let (id, link) = asks(&anna, "again").await;
    comes_back(&approves(&app, &link)).await;
    app.until_idle().await;

    let after = listed().await;
    assert_eq!(after.len(), 1);
    let kept = &after[0]["id"];
    let gone = before
        .iter()
        .map(|account| &account["id"])
        .find(|id| *id != kept)
        .unwrap();
    assert_eq!(
        after[0]["iban"],
        before.iter().find(|account| account["id"] == *kept).unwrap()["iban"]
    );
    let gone = gone.as_str().unwrap();
    let refresh = format!("/v1/bank-accounts/{gone}/balance/refresh");
    assert_eq!(anna.post(&refresh, &Value::Null).await.problem(), (404, "not_found"));
    assert_eq!(pays(&anna, gone).await.problem(), (404, "not_found"));
    let by: Vec<String> =
        sqlx::query_scalar("SELECT detail ->> 'by' FROM audit_log WHERE detail ->> 'to' = 'replaced'")
            .fetch_all(&app.db)
            .await
            .unwrap();
    assert_eq!(by, [id]);
    app.finish().await;
}

async fn pays(person: &SignedIn<'_>, account: &str) -> Answer {
    let order = json!({
        "accountId": account,
        "instructedAmount": { "amount": "10.00", "currency": "NOK" },
        "creditorName": "Marko Petrovic",
        "creditorAccount": { "bban": "265-1234567-89" },
    });
    person.post_keyed("/v1/transactions", account, &order).await
}

#[tokio::test]
async fn nobody_pays_from_an_account_whose_consent_has_ended() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    sqlx::query("UPDATE bank_consents SET status = 'revoked'")
        .execute(&app.db)
        .await
        .unwrap();
    assert_eq!(pays(&anna, &account).await.problem(), (404, "not_found"));
    assert!(app.sandbox.neonomics().payments().is_empty());
    app.finish().await;
}

#[tokio::test]
async fn the_day_that_the_bank_gives_counts_and_the_owner_is_asked_once_to_renew_before_it() {
    let app = TestApp::start().await;
    // The bank counts in UTC; in the last hours of its day the date in Oslo is the next one.
    app.sandbox.neonomics().configure(|bank| bank.consent_days = 16);
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    let (id, link) = asks(&anna, "first").await;
    comes_back(&approves(&app, &link)).await;
    app.until_idle().await;
    let shown = anna.get(&format!("/v1/bank-consents/{id}")).await;
    let at_bank = app.sandbox.neonomics().consents()[0].valid_until.to_string();
    assert_eq!(shown.body["validUntil"], at_bank);

    app.stop_worker().await;
    let told = async || {
        let titles: Vec<String> =
            sqlx::query_scalar("SELECT title FROM notifications WHERE kind = 'consent' ORDER BY id")
                .fetch_all(&app.db)
                .await
                .unwrap();
        titles
    };
    plan_reads(&app, 1).await;
    app.run_jobs().await;
    assert!(told().await.is_empty());
    app.advance(TimeDelta::days(2)).await;
    for plan in 2..=3 {
        plan_reads(&app, plan).await;
        app.run_jobs().await;
    }
    assert_eq!(told().await, ["Forny tilgangen til banken"]);

    app.advance(TimeDelta::days(15)).await;
    let before = calls(&app);
    plan_reads(&app, 4).await;
    app.run_jobs().await;
    assert_eq!(told().await, ["Forny tilgangen til banken", "Koble til banken på nytt"]);
    assert_eq!(status(&app).await, "deleted");
    assert_eq!(
        count(&app, "SELECT count(*) FROM bank_accounts WHERE status = 'linked'").await,
        0
    );
    assert_eq!(
        count(
            &app,
            "SELECT count(*) FROM jobs WHERE kind = 'sync-balance' AND created_at > now() - interval '1 day'"
        )
        .await,
        0
    );
    assert_eq!(calls(&app), before);
    app.abandon().await;
}

#[tokio::test]
async fn every_step_of_a_consent_has_its_audit_row() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.has_an_account().await;
    app.sandbox.fault(Operation::ConsentCreate, Fault::status(400), 1);
    let refused = anna.post_once("/v1/bank-consents", "refused").await;
    assert_eq!(refused.problem(), (502, "provider_error"));
    assert_eq!(
        audited(&app).await,
        [
            "consent.requested",
            "consent.moved requested received",
            "consent.moved received valid",
            "consent.requested",
            "consent.moved requested failed refused",
        ]
    );
    app.finish().await;
}

#[tokio::test]
async fn an_account_is_found_again_while_keys_rotate_and_filed_under_the_new_key() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.has_an_account().await;
    let user: UserId = anna.user.parse().unwrap();
    let consent: ConsentId = sqlx::query_scalar("SELECT id FROM bank_consents")
        .fetch_one(&app.db)
        .await
        .map(uuid::Uuid::into)
        .unwrap();
    let before = Keyring::new(1, &[1; 32], &[]).unwrap();
    let rotating = Keyring::new(2, &[2; 32], &[(1, &[1; 32])]).unwrap();
    let after = Keyring::new(2, &[2; 32], &[]).unwrap();
    let number = AccountNumber::iban(OTHER_IBAN).unwrap();
    let mut ids = Vec::new();
    for keys in [&before, &rotating, &after] {
        let mut tx = app.db.begin().await.unwrap();
        let found = Found {
            resource_id: "resource",
            number: &number,
            currency: "NOK",
        };
        let linked = accounts::link(&mut tx, keys, user, consent, "neonomics", found).await;
        ids.push(linked.unwrap().id);
        tx.commit().await.unwrap();
    }
    assert_eq!((ids[0], ids[0]), (ids[1], ids[2]));
    let sealed: Vec<u8> = sqlx::query_scalar("SELECT account_sealed FROM bank_accounts WHERE id = $1")
        .bind(ids[0].uuid())
        .fetch_one(&app.db)
        .await
        .unwrap();
    let opened = after.open_text("bank_accounts.account_sealed", ids[0].uuid(), &sealed);
    assert!(opened.is_ok(), "it is sealed with the new key too");
    app.finish().await;
}
