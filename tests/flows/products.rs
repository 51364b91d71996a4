//! Which product a payment is ordered as, in which currencies people pay, and how much of each (by configuration).

use drop_sandbox::{Account, Decision};
use drop_tests::{app::TestApp, person::SignedIn};
use rstest::rstest;
use serde_json::{Value, json};

use crate::paying::{becomes, order, value};

const NORWAYS: &str = "NOK/NO=norwegian-domestic-credit-transfers,NOK/*=norwegian-cross-border-credit-transfers,\
                       EUR/*=instant-sepa-credit-transfers";

fn to(payee: Value, account: &str) -> Value {
    let mut order = order(account, "2010.00");
    order["creditorAccount"] = payee;
    order
}

#[rstest]
#[case::iban_in_norway(json!({ "iban": "NO7112345678903" }), "norwegian-domestic-credit-transfers")]
#[case::number_in_norway(json!({ "bban": "1234 56 78903" }), "norwegian-domestic-credit-transfers")]
#[case::iban_abroad(json!({ "iban": "DE89370400440532013000" }), "norwegian-cross-border-credit-transfers")]
#[case::number_abroad(json!({ "bban": "265-1234567-89" }), "norwegian-cross-border-credit-transfers")]
#[tokio::test]
async fn a_payment_is_ordered_and_followed_as_the_product_of_its_currency_and_country(
    #[case] payee: Value,
    #[case] product: &str,
) {
    let standard = "/v1/payments/{product}/{paymentId}/status";
    let app = TestApp::start_with(&[("PISP_PRODUCTS", NORWAYS), ("PISP_STATUS_PATH", standard)]).await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let paid = anna.post_keyed("/v1/transactions", "first", &to(payee, &account)).await;
    assert_eq!(paid.status, 201, "{:?}", paid.problem());
    assert_eq!(app.sandbox.neonomics().payments()[0].product, product);
    assert_eq!(value::<String>(&app, "SELECT product FROM transactions").await, product);
    anna.decides(paid.body["scaRedirect"].as_str().unwrap(), Decision::Approve)
        .await;
    becomes(&anna, paid.body["id"].as_str().unwrap(), "completed").await;
    app.off_contract().finish().await;
}

#[tokio::test]
async fn what_no_rule_names_is_ordered_as_the_one_product_for_all() {
    let app = TestApp::start_with(&[
        ("PISP_PRODUCT", "cross-border-credit-transfers"),
        ("PISP_PRODUCTS", "NOK/NO=norwegian-domestic-credit-transfers"),
    ])
    .await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let abroad = to(json!({ "iban": "DE89370400440532013000" }), &account);
    assert_eq!(anna.post_keyed("/v1/transactions", "first", &abroad).await.status, 201);
    assert_eq!(
        app.sandbox.neonomics().payments()[0].product,
        "cross-border-credit-transfers"
    );
    app.finish().await;
}

/// A person with an account in kroner and one in euro.
async fn two_accounts(app: &TestApp, person: &SignedIn<'_>) -> [String; 2] {
    person.has_an_account().await;
    let accounts = person.get("/v1/bank-accounts").await.body["accounts"].clone();
    ["NOK", "EUR"].map(|currency| {
        let mut accounts = accounts.as_array().unwrap().iter();
        let account = accounts.find(|account| account["currency"] == currency);
        account.unwrap_or_else(|| panic!("no {currency}: {}", app.url))["id"]
            .as_str()
            .unwrap()
            .to_owned()
    })
}

#[tokio::test]
async fn a_further_currency_has_limits_of_its_own_and_only_its_own_payments_count() {
    let app = TestApp::start_with(&[
        ("PAYMENT_OTHER_LIMITS", "EUR=1000/5000/8000"),
        ("PISP_PRODUCTS", NORWAYS),
    ])
    .await;
    let euro = Account {
        iban: "NO7112345678903".to_owned(),
        bban: None,
        currency: "EUR".to_owned(),
        name: "Valutakonto".to_owned(),
        product: "Valutakonto".to_owned(),
        minor: 10_000_000,
    };
    let both = [app.sandbox.neonomics().accounts(), vec![euro]].concat();
    app.sandbox.neonomics().set_accounts(both);
    let anna = app.signed_in("anna").await;
    let [kroner, euro] = two_accounts(&app, &anna).await;
    let pays = async |account: &str, amount: &str, currency: &str, key: &str| {
        let mut order = order(account, amount);
        order["instructedAmount"]["currency"] = json!(currency);
        anna.post_keyed("/v1/transactions", key, &order).await
    };
    for amount in ["9.99", "50.01"] {
        assert_eq!(
            pays(&euro, amount, "EUR", "over").await.problem(),
            (422, "limit_exceeded")
        );
    }
    assert_eq!(pays(&euro, "50.00", "EUR", "euro").await.status, 201);
    // As many øre to the same payee are another payment, and not one of euro.
    assert_eq!(pays(&kroner, "50.00", "NOK", "kroner").await.status, 201);
    assert_eq!(
        pays(&euro, "30.01", "EUR", "more").await.problem(),
        (422, "limit_exceeded")
    );
    assert_eq!(pays(&euro, "30.00", "EUR", "more").await.status, 201);
    assert_eq!(pays(&kroner, "30.00", "NOK", "more-kroner").await.status, 201);

    let dollars = pays(&kroner, "50.00", "USD", "dollars").await;
    assert_eq!(dollars.problem(), (422, "validation_failed"));
    assert_eq!(dollars.body["errors"][0]["field"], "instructedAmount.currency");
    let products: Vec<_> = app
        .sandbox
        .neonomics()
        .payments()
        .into_iter()
        .map(|payment| {
            (
                payment.order["instructedAmount"]["currency"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
                payment.product,
            )
        })
        .collect();
    for (currency, product) in products {
        let wanted = if currency == "EUR" {
            "instant-sepa-credit-transfers"
        } else {
            "norwegian-cross-border-credit-transfers"
        };
        assert_eq!(product, wanted);
    }
    app.finish().await;
}
