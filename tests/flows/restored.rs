//! A restore to a point in time, as `ops/restore.md` has it: what was paid after that moment is forgotten here and not at the
//! bank, and nothing is paid twice for that.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use drop_sandbox::Decision;
use drop_tests::{
    app::{TestApp, eventually},
    ledger::{Broken, Rule},
    person::{Answer, SignedIn},
};

use crate::paying::{becomes, order, shown, value};

const PROGRAM: &str = env!("CARGO_BIN_EXE_drop-node");
const BY: [&str; 4] = ["--operator", "ops@getdrop.no", "--reason", "OPS-1"];

async fn pays(person: &SignedIn<'_>, account: &str, key: &str, amount: &str) -> Answer {
    person
        .post_keyed("/v1/transactions", key, &order(account, amount))
        .await
}

fn text<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.body[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name}: {:?}", answer.problem()))
}

async fn restored(app: &TestApp, verb: &[&str], list: &str) -> (bool, String) {
    let arguments = [&["restored"], verb, &BY].concat();
    app.operator_reading(PROGRAM, &arguments, list).await
}

/// What the bank tells who asks for all that it has.
fn list_of_the_bank(app: &TestApp) -> String {
    let orders = app.sandbox.neonomics().payments().into_iter();
    let lines: Vec<String> = orders
        .map(|order| format!("{} {}", order.request_id, order.id))
        .collect();
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_after_a_restore_what_the_bank_has_is_found_again_and_nothing_is_paid_twice() {
    let app = TestApp::start_archived().await;
    // Nothing but our own care keeps it from paying twice.
    app.sandbox.neonomics().configure(|bank| {
        bank.deduplicate = false;
        bank.progression = vec!["ACSC".to_owned()];
    });
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;

    let settled = pays(&anna, &account, "settled", "10.00").await;
    anna.decides(text(&settled, "scaRedirect"), Decision::Approve).await;
    becomes(&anna, text(&settled, "id"), "completed").await;
    let waiting = pays(&anna, &account, "waiting", "20.00").await;
    app.stop_worker().await;
    let unsent = anna
        .post_later("/v1/transactions", "unsent", &order(&account, "30.00"))
        .await;
    let moment: DateTime<Utc> = value(&app, "SELECT clock_timestamp()").await;

    // Forgotten: that this one was sent and approved, and all of the others, of which one goes by its client's UUID.
    app.start_worker().await;
    app.until_idle().await;
    let link = shown(&anna, text(&unsent, "id")).await["scaRedirect"]
        .as_str()
        .unwrap()
        .to_owned();
    anna.decides(&link, Decision::Approve).await;
    let uuid = uuid::Uuid::new_v4().to_string();
    let approved = pays(&anna, &account, &uuid, "40.00").await;
    anna.decides(text(&approved, "scaRedirect"), Decision::Approve).await;
    let unapproved = pays(&anna, &account, "unapproved", "50.00").await;
    assert_eq!(unapproved.status, 201, "{:?}", unapproved.problem());
    app.stop_worker().await;
    app.restore_database(moment).await;

    let (closed, said) = restored(&app, &["close", "--to", &moment.to_rfc3339()], "").await;
    assert!(closed && said.contains("payment.needs_review: 1"), "{said}");
    assert_eq!(anna.get("/v1/me").await.status, 401, "every session is over");
    app.start_worker().await;
    let anna = app.signed_in("anna").await;
    app.until_idle().await;
    // Logins work; payments are not taken on, neither anew nor again, and none is sent.
    for key in ["new", &uuid] {
        let refused = pays(&anna, &account, key, "40.00").await;
        assert_eq!(
            (refused.problem(), refused.retry_after),
            ((503, "overloaded"), Some(60)),
            "{key}"
        );
    }
    let resume = ["lanes", "resume", "payment.send"];
    let (resumed, said) = app.operator(PROGRAM, &[&resume[..], &BY].concat()).await;
    assert!(!resumed && said.contains("closed since a restore"), "{said}");
    let (opened, said) = restored(&app, &["open"], &list_of_the_bank(&app)).await;
    assert!(!opened && said.contains("may still be at what was sent last"), "{said}");
    app.advance(TimeDelta::minutes(5)).await;
    let (opened, said) = restored(&app, &["open"], "\n").await;
    assert!(
        !opened && said.contains("--no-orders"),
        "an empty list got lost: {said}"
    );
    let (opened, said) = restored(&app, &["open"], "one two three\n").await;
    assert!(!opened && said.contains("line 1 is not"), "{said}");
    let (opened, said) = restored(&app, &["open"], &list_of_the_bank(&app)).await;
    assert!(opened && said.contains("order.forgotten: 2"), "{said}");
    app.until_idle().await;

    // Whoever asks again under their key is given what there is. Five minutes have passed, and nobody waits for a link.
    for (key, amount) in [(uuid.as_str(), "40.00"), ("unapproved", "50.00")] {
        let again = pays(&anna, &account, key, amount).await;
        assert_eq!(again.status, 201, "{:?}", again.problem());
        let (id, bank) = (text(&again, "id"), if key == "unapproved" { "RCVD" } else { "ACSC" });
        assert!(
            eventually(async || shown(&anna, id).await["bankStatus"] == bank).await,
            "{key}"
        );
    }
    // What may have left, its person cannot take back here, for the bank has it, and nobody may send it again. A person looks at it;
    // they know from the bank that it did.
    let unsent = text(&unsent, "id");
    let retry = ["payments", "retry", unsent];
    let (sent, said) = app.operator(PROGRAM, &[&retry[..], &BY].concat()).await;
    assert!(!sent && said.contains("is with the bank, may be"), "{said}");
    anna.post(&format!("/v1/transactions/{unsent}/cancel"), &serde_json::json!({}))
        .await;
    assert_eq!(shown(&anna, unsent).await["status"], "processing");
    let known: BTreeMap<_, _> = app
        .sandbox
        .neonomics()
        .payments()
        .into_iter()
        .map(|order| (order.minor, order.id))
        .collect();
    let track = ["payments", "track", unsent, "--payment-id", &known[&3_000]];
    let (tracked, said) = app.operator(PROGRAM, &[&track[..], &BY].concat()).await;
    assert!(tracked, "{said}");
    becomes(&anna, unsent, "completed").await;
    let new = pays(&anna, &account, "new", "60.00").await;
    anna.decides(text(&new, "scaRedirect"), Decision::Approve).await;
    becomes(&anna, text(&new, "id"), "completed").await;
    // Its time was over meanwhile.
    becomes(&anna, text(&waiting, "id"), "failed").await;
    assert_eq!(shown(&anna, text(&waiting, "id")).await["reason"], "sca_timeout");

    one_order_of_each(&app).await;
    app.finish_without_books().await;
}

/// What people heard of what was forgotten is true no more; what is said of the money is.
async fn one_order_of_each(app: &TestApp) {
    let orders = app.sandbox.neonomics().payments();
    let mut amounts: Vec<i64> = orders.iter().map(|order| order.minor).collect();
    amounts.sort_unstable();
    assert_eq!(
        amounts,
        [1_000, 2_000, 3_000, 4_000, 5_000, 6_000],
        "one order of each payment"
    );
    let broken = app.books().await.broken();
    let of_money = |rule| {
        matches!(
            rule,
            Rule::OnePayment | Rule::Truth | Rule::SentAgain | Rule::SentAsAsked | Rule::Future | Rule::Holds
        )
    };
    // The link of an order that operations have found is known no more.
    let is_true = |broken: &&Broken| of_money(broken.rule) && !broken.what.contains("links handed out");
    let wrong: Vec<_> = broken.iter().filter(is_true).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
