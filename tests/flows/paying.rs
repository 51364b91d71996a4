//! What every test about payments does.

use drop_sandbox::Decision;
use drop_tests::{
    app::{TestApp, eventually},
    person::{Answer, SignedIn},
};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

/// An order to the contract's payee.
pub(crate) fn order(account: &str, amount: &str) -> Value {
    json!({
        "accountId": account,
        "instructedAmount": { "amount": amount, "currency": "NOK" },
        "creditorName": "Marko Petrovic",
        "creditorAccount": { "bban": "265-1234567-89" },
        "remittanceInformation": "Drop remittance"
    })
}

pub(crate) async fn pays(person: &SignedIn<'_>, account: &str, key: &str) -> Answer {
    person
        .post_keyed("/v1/transactions", key, &order(account, "2010.00"))
        .await
}

pub(crate) async fn pays_later(person: &SignedIn<'_>, account: &str, key: &str) -> Answer {
    person
        .post_later("/v1/transactions", key, &order(account, "2010.00"))
        .await
}

/// Orders a payment with nobody to send it; its id. From here on jobs run by hand.
pub(crate) async fn ordered(app: &TestApp, person: &SignedIn<'_>, account: &str) -> String {
    app.stop_worker().await;
    let accepted = pays_later(person, account, "first").await;
    assert_eq!(accepted.status, 202, "{:?}", accepted.problem());
    accepted.body["id"].as_str().unwrap().to_owned()
}

/// A payment that waits for its approval at the bank.
pub(crate) struct AtBank {
    pub(crate) id: String,
    pub(crate) link: String,
}

/// Has a payment at the bank, not looked at yet. From here on jobs run by hand.
pub(crate) async fn at_the_bank(app: &TestApp, person: &SignedIn<'_>, account: &str) -> AtBank {
    let id = ordered(app, person, account).await;
    app.run_jobs().await;
    let link = shown(person, &id).await["scaRedirect"].as_str().unwrap().to_owned();
    AtBank { id, link }
}

/// The same of Anna's, for tests that need no more of her account.
pub(crate) async fn anna_at_the_bank(app: &TestApp) -> (SignedIn<'_>, AtBank) {
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let payment = at_the_bank(app, &anna, &account).await;
    (anna, payment)
}

/// Approves at the bank; the address that the person is sent back to.
pub(crate) fn approved(app: &TestApp, link: &str) -> String {
    let decided = app.sandbox.bank().decide_at(link, Decision::Approve);
    decided.expect("a decision").expect("a way back")
}

pub(crate) async fn shown(person: &SignedIn<'_>, id: &str) -> Value {
    person.get(&format!("/v1/transactions/{id}")).await.body
}

/// Waits, for a bounded time, until the payment has the status.
pub(crate) async fn becomes(person: &SignedIn<'_>, id: &str, status: &str) {
    let is_so = async || shown(person, id).await["status"] == status;
    assert!(eventually(is_so).await, "the payment does not become {status}");
}

/// The one value of a query.
pub(crate) async fn value<T>(app: &TestApp, sql: &str) -> T
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
        .fetch_one(&app.db)
        .await
        .unwrap()
}

pub(crate) async fn execute(app: &TestApp, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&app.db)
        .await
        .unwrap();
}

/// Writes into payments and their attempts what the rules of the database forbid.
pub(crate) async fn rewrite(app: &TestApp, sql: &str) {
    let triggers = |are: &str| {
        ["transactions", "payment_attempts"].map(|table| format!("ALTER TABLE {table} {are} TRIGGER USER;"))
    };
    let (without, with) = (triggers("DISABLE").concat(), triggers("ENABLE").concat());
    execute(app, &format!("{without} {sql}; {with}")).await;
}

pub(crate) async fn audited(app: &TestApp, action: &str) -> i64 {
    value(
        app,
        &format!("SELECT count(*) FROM audit_log WHERE action = '{action}'"),
    )
    .await
}

/// The database refuses what fires the trigger `times` times, as it does when it is busy; a rollback does not forget them.
pub(crate) async fn busy(app: &TestApp, trigger: &str, times: u32) {
    execute(
        app,
        &format!(
            "CREATE SEQUENCE refused;
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
               'BEGIN IF nextval(''refused'') <= {times} THEN RAISE EXCEPTION ''busy'' USING ERRCODE = ''40001''; END IF;
                RETURN NEW; END';
             CREATE {trigger} EXECUTE FUNCTION refuse()"
        ),
    )
    .await;
}
