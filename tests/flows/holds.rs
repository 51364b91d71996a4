//! What is held for payments, and when it goes (contract 5: the cached balance less what is under way).

use chrono::{DateTime, Utc};
use drop_common::{
    domain::ids::AccountId,
    storage::accounts::{self, Balance},
};
use drop_sandbox::Decision;
use drop_tests::{
    app::{TestApp, eventually},
    person::SignedIn,
};
use serde_json::{Value, json};

use crate::{balances::count, consents::asks, paying::rewrite};

/// Pays 2,010 kroner; the link where it is approved.
async fn pays(person: &SignedIn<'_>, account: &str) -> String {
    pays_so_much(person, account, "2010.00").await
}

async fn pays_so_much(person: &SignedIn<'_>, account: &str, amount: &str) -> String {
    let order = json!({
        "accountId": account,
        "instructedAmount": { "amount": amount, "currency": "NOK" },
        "creditorName": "Marko Petrovic",
        "creditorAccount": { "bban": "265-1234567-89" },
    });
    let paid = person.post_keyed("/v1/transactions", amount, &order).await;
    assert_eq!(paid.status, 201, "{:?}", paid.problem());
    paid.body["scaRedirect"].as_str().unwrap().to_owned()
}

async fn shown(person: &SignedIn<'_>, account: &str) -> Value {
    person.get(&format!("/v1/bank-accounts/{account}/balance")).await.body["amount"].clone()
}

async fn refreshed(person: &SignedIn<'_>, account: &str) -> Value {
    let path = format!("/v1/bank-accounts/{account}/balance/refresh");
    let answer = person.post(&path, &Value::Null).await;
    assert_eq!((answer.status.as_u16(), &answer.body["stale"]), (200, &false.into()));
    answer.body["amount"].clone()
}

async fn is_final(app: &TestApp) {
    let settled = async || count(app, "SELECT count(*) FROM transactions WHERE bank_final").await == 1;
    assert!(eventually(settled).await, "the payment does not become final");
}

async fn held(app: &TestApp) -> i64 {
    count(app, "SELECT held FROM bank_accounts").await
}

#[tokio::test]
async fn a_payment_is_taken_off_the_balance_once_before_and_after_the_bank_has_settled_it() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let link = pays(&anna, &account).await;
    assert_eq!(shown(&anna, &account).await, "43220.00");
    assert_eq!(
        refreshed(&anna, &account).await,
        "43220.00",
        "the bank has not moved it yet"
    );

    anna.decides(&link, Decision::Approve).await;
    is_final(&app).await;
    assert_eq!(
        shown(&anna, &account).await,
        "43220.00",
        "completed, and not read again yet"
    );
    for _ in 0..2 {
        assert_eq!(
            refreshed(&anna, &account).await,
            "43220.00",
            "now the bank's balance has it"
        );
    }
    assert_eq!(held(&app).await, 0);
    assert_eq!(count(&app, "SELECT hold FROM transactions").await, 0);
    app.finish().await;
}

#[tokio::test]
async fn a_balance_that_was_asked_for_before_the_payment_was_final_takes_no_hold_over() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let link = pays(&anna, &account).await;
    let asked_at: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(&app.db)
        .await
        .unwrap();
    anna.decides(&link, Decision::Approve).await;
    is_final(&app).await;

    let id: AccountId = account.parse().unwrap();
    let mut tx = app.db.begin().await.unwrap();
    let late = Balance {
        amount: 4_523_000,
        balance_type: "expected",
        at: None,
    };
    accounts::store_balance(&mut tx, id, late, asked_at).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(shown(&anna, &account).await, "43220.00");
    assert_eq!(held(&app).await, 201_000);
    assert_eq!(refreshed(&anna, &account).await, "43220.00");
    assert_eq!(held(&app).await, 0);

    // An answer that comes too late to be stored releases nothing either.
    rewrite(
        &app,
        "UPDATE transactions SET hold = amount, updated_at = updated_at - interval '1 hour'",
    )
    .await;
    sqlx::query("UPDATE bank_accounts SET held = 201000")
        .execute(&app.db)
        .await
        .unwrap();
    let mut tx = app.db.begin().await.unwrap();
    let older = Balance {
        amount: 1,
        balance_type: "expected",
        at: None,
    };
    accounts::store_balance(&mut tx, id, older, asked_at).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        (held(&app).await, shown(&anna, &account).await),
        (201_000, json!("41210.00"))
    );
    app.finish().await;
}

#[tokio::test]
async fn a_hold_goes_after_seven_days_where_the_bank_only_ever_accepts() {
    let app = TestApp::start().await;
    app.sandbox
        .neonomics()
        .configure(|bank| bank.progression = vec!["ACCP".into()]);
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let link = pays(&anna, &account).await;
    anna.decides(&link, Decision::Approve).await;
    let completed = async || count(&app, "SELECT count(*) FROM transactions WHERE status = 'completed'").await == 1;
    assert!(eventually(completed).await);
    assert_eq!(refreshed(&anna, &account).await, "43220.00", "accepted is not settled");
    app.sandbox
        .neonomics()
        .set_balance("NO9386011117947", 4_322_000)
        .unwrap();
    rewrite(
        &app,
        "UPDATE transactions SET created_at = created_at - interval '7 days'",
    )
    .await;
    assert_eq!(
        refreshed(&anna, &account).await,
        "41210.00",
        "it was sent a moment ago, whenever it was asked for"
    );
    let older = "UPDATE transactions SET created_at = created_at - interval '7 days', expires_at = expires_at - interval '7 days'";
    sqlx::query(older).execute(&app.db).await.unwrap();
    assert_eq!(refreshed(&anna, &account).await, "43220.00");
    app.abandon().await;
}

/// What the bank lists under the account's number is in euros from here on; the person links the bank again.
async fn is_linked_in_euros(app: &TestApp, person: &SignedIn<'_>, key: &str) {
    let mut euros = app.sandbox.neonomics().accounts();
    euros[0].currency = "EUR".into();
    euros[0].minor = 700;
    app.sandbox.neonomics().set_accounts(euros);
    let (_, link) = asks(person, key).await;
    person.decides(&link, Decision::Approve).await;
}

async fn currency(person: &SignedIn<'_>, account: &str) -> Value {
    person.get(&format!("/v1/bank-accounts/{account}")).await.body["currency"].clone()
}

#[tokio::test]
async fn an_account_stays_in_the_currency_of_what_is_held_until_the_payment_has_ended() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let link = pays(&anna, &account).await;
    is_linked_in_euros(&app, &anna, "again").await;
    assert_eq!(currency(&anna, &account).await, "NOK");
    assert_eq!(shown(&anna, &account).await, "43220.00", "kroner less kroner");
    anna.decides(&link, Decision::Reject).await;
    is_final(&app).await;
    assert_eq!(held(&app).await, 0);
    is_linked_in_euros(&app, &anna, "once-more").await;
    assert_eq!(currency(&anna, &account).await, "EUR");
    assert_eq!(shown(&anna, &account).await, "7.00");
    app.finish().await;
}

#[tokio::test]
async fn what_a_completed_payment_still_holds_stays_while_another_one_keeps_the_balance_that_may_not_contain_it() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let link = pays(&anna, &account).await;
    anna.decides(&link, Decision::Approve).await;
    is_final(&app).await;
    let link = pays_so_much(&anna, &account, "100.00").await;
    assert_eq!(shown(&anna, &account).await, "43120.00");
    is_linked_in_euros(&app, &anna, "again").await;
    assert_eq!(currency(&anna, &account).await, "NOK");
    assert_eq!(shown(&anna, &account).await, "43120.00");
    // With the last of them the kroner are gone, and so is what they hold.
    anna.decides(&link, Decision::Reject).await;
    let settled = async || count(&app, "SELECT count(*) FROM transactions WHERE bank_final").await == 2;
    assert!(eventually(settled).await);
    is_linked_in_euros(&app, &anna, "once-more").await;
    assert_eq!((held(&app).await, shown(&anna, &account).await), (0, json!("7.00")));
    app.finish().await;
}

#[tokio::test]
async fn what_a_completed_payment_still_holds_goes_with_the_currency() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let link = pays(&anna, &account).await;
    anna.decides(&link, Decision::Approve).await;
    is_final(&app).await;
    assert_eq!(held(&app).await, 201_000, "no balance was read since");
    is_linked_in_euros(&app, &anna, "again").await;
    assert_eq!(held(&app).await, 0);
    assert_eq!(shown(&anna, &account).await, "7.00");
    app.finish().await;
}
