//! A restore to a point in time, as `ops/restore.md` has it: what was paid after that moment is forgotten here and not at the
//! bank, and nothing is paid twice for that.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use drop_common::domain::ids::UserId;
use drop_sandbox::{Decision, Fault, Operation, Payment};
use drop_tests::{
    alerts,
    app::{TestApp, eventually},
    ledger::{Broken, Rule},
    person::{Answer, SignedIn},
};
use uuid::Uuid;

use crate::paying::{becomes, execute, order, shown, value};

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
        .map(
            |Payment {
                 id, request_id, order, ..
             }| {
                let (amount, account) = (&order["instructedAmount"], &order["creditorAccount"]["bban"]);
                let [amount, currency, account] =
                    [&amount["amount"], &amount["currency"], account].map(|value| value.as_str().unwrap());
                format!("{request_id} {id} {amount} {currency} {account}")
            },
        )
        .collect();
    lines.join("\n")
}

/// An open circuit, which may have been restored, is no reason to come back sooner.
async fn takes_none(app: &TestApp, person: &SignedIn<'_>, account: &str, keys: [&str; 2]) {
    for circuit_is_open in [true, false] {
        sqlx::query("SELECT breaker_set('neonomics/pisp', $1)")
            .bind(circuit_is_open)
            .execute(&app.db)
            .await
            .unwrap();
        for key in keys {
            let refused = pays(person, account, key, "40.00").await;
            assert_eq!(
                (refused.problem(), refused.retry_after),
                ((503, "overloaded"), Some(60)),
                "{key}, {circuit_is_open}"
            );
        }
    }
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
    let uuid = Uuid::new_v4().to_string();
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
    takes_none(&app, &anna, &account, ["new", &uuid]).await;
    // What may have left, its person cannot take back here, for the bank has it, and nobody may send it again.
    let unsent = text(&unsent, "id");
    let retry = ["payments", "retry", unsent];
    let (sent, said) = app.operator(PROGRAM, &[&retry[..], &BY].concat()).await;
    assert!(!sent && said.contains("is with the bank, may be"), "{said}");
    anna.post(&format!("/v1/transactions/{unsent}/cancel"), &serde_json::json!({}))
        .await;
    assert_eq!(shown(&anna, unsent).await["status"], "processing");
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
    assert!(
        said.contains(&format!("tracked {unsent}")) && said.contains("order.conflict: 0"),
        "the one of which nobody knew: {said}"
    );
    app.until_idle().await;

    nothing_else_is_given(&app, &anna, &account, &uuid).await;
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
    becomes(&anna, unsent, "completed").await;
    let new = pays(&anna, &account, "new", "60.00").await;
    anna.decides(text(&new, "scaRedirect"), Decision::Approve).await;
    becomes(&anna, text(&new, "id"), "completed").await;
    // Its time was over meanwhile.
    becomes(&anna, text(&waiting, "id"), "failed").await;
    assert_eq!(shown(&anna, text(&waiting, "id")).await["reason"], "sca_timeout");
    // That of the one which came back has begun with that, and ends as any other's.
    app.advance(TimeDelta::minutes(6)).await;
    let anna = app.signed_in("anna").await;
    let unapproved = pays(&anna, &account, "unapproved", "50.00").await;
    becomes(&anna, text(&unapproved, "id"), "failed").await;
    assert_eq!(shown(&anna, text(&unapproved, "id")).await["reason"], "sca_timeout");

    one_order_of_each(&app).await;
    app.finish_without_books().await;
}

/// Under the keys of what is forgotten.
async fn nothing_else_is_given(app: &TestApp, anna: &SignedIn<'_>, account: &str, uuid: &str) {
    // Another amount is another payment, as under every key. A UUID may be somebody else's key.
    alerts::listen();
    let other = pays(anna, account, "unapproved", "51.00").await;
    assert_eq!(other.problem(), (422, "idempotency_key_reused"));
    let marko = app.signed_in("marko").await;
    let his = marko.has_an_account().await;
    for (person, account) in [(anna, account), (&marko, &his)] {
        let other = pays(person, account, uuid, "41.00").await;
        assert_eq!(other.problem(), (409, "conflict"));
    }
    assert_eq!(alerts::about("another amount or payee").len(), 1);
    // A key that is no UUID leads to nothing of anybody else's.
    let own = pays(&marko, &his, "unapproved", "70.00").await;
    marko.decides(text(&own, "scaRedirect"), Decision::Approve).await;
    becomes(&marko, text(&own, "id"), "completed").await;
}

/// What people heard of what was forgotten is true no more; what is said of the money is.
async fn one_order_of_each(app: &TestApp) {
    let orders = app.sandbox.neonomics().payments();
    let mut amounts: Vec<i64> = orders.iter().map(|order| order.minor).collect();
    amounts.sort_unstable();
    assert_eq!(
        amounts,
        [1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000],
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

#[tokio::test]
async fn what_the_bank_has_is_compared_with_what_is_written_here_and_what_contradicts_it_is_told() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.stop_worker().await;
    let mut ids = Vec::new();
    for (key, amount) in [
        ("had", "10.00"),
        ("changed", "20.00"),
        ("ended", "30.00"),
        ("missing", "40.00"),
        ("crossed", "60.00"),
    ] {
        let asked = anna.post_later("/v1/transactions", key, &order(&account, amount)).await;
        ids.push(text(&asked, "id").to_owned());
    }
    let [had, changed, ended, missing, crossed] = ids.try_into().unwrap();
    let (closed, said) = restored(&app, &["close", "--to", "2026-03-01T12:00:00Z"], "").await;
    assert!(
        closed && said.contains("every order since 2026-03-01T11:50:00Z"),
        "{said}"
    );
    let settle = ["payments", "settle", &ended, "--never-arrived"];
    let (settled, said) = app.operator(PROGRAM, &[&settle[..], &BY].concat()).await;
    assert!(settled, "{said}");
    app.advance(TimeDelta::minutes(5)).await;

    let mut under = Vec::new();
    for id in [&had, &changed, &ended, &crossed] {
        let of = format!("FROM transactions WHERE 'tx_' || replace(id::text, '-', '') = '{id}'");
        under.push(value::<String>(&app, &format!("SELECT idempotency_key::text {of}")).await);
    }
    let (payee, forgotten) = ("NOK 265-1234567-89", Uuid::new_v4());
    let list = [
        format!("{} pay_had 10.00 {payee}", under[0]),
        format!("{} pay_twice 10.00 {payee}", under[0]),
        format!("{} pay_changed 20.00 NOK 265-1234567-88", under[1]),
        format!("{} pay_ended 30.00 {payee}", under[2]),
        format!("{forgotten} pay_forgotten 50.00 {payee}"),
        format!("{forgotten} pay_again 50.00 {payee}"),
        format!("{} pay_had 60.00 {payee}", under[3]),
    ];
    let (opened, said) = restored(&app, &["open"], &list.join("\n")).await;
    assert!(opened, "{said}");
    for line in [
        format!("tracked {had} pay_had"),
        format!(
            "conflict {} pay_twice, {had}: the bank has two orders of its X-Request-ID",
            under[0]
        ),
        format!(
            "conflict {} pay_changed, {changed}: the bank's order is of another amount or payee",
            under[1]
        ),
        format!(
            "conflict {} pay_ended, {ended}: it ended here as one that the bank does not have",
            under[2]
        ),
        format!("forgotten {forgotten} pay_forgotten"),
        format!("conflict {forgotten} pay_again: the bank has two orders of one X-Request-ID"),
        format!(
            "conflict {} pay_had, {had}: the bank has it under another X-Request-ID",
            under[3]
        ),
        format!("not tracked {missing}"),
        "order.conflict: 5".to_owned(),
    ] {
        assert!(said.contains(&line), "{line}: {said}");
    }
    let alerted = said.matches("contradicts what is written here: ").count();
    assert_eq!(alerted, 5, "somebody is called for each: {said}");
    let audited: Vec<String> = value(
        &app,
        "SELECT array_agg(line) FROM audit_log, jsonb_array_elements_text(detail #> '{found,said}') line
          WHERE action = 'restored.opened'",
    )
    .await;
    assert_eq!(audited.len(), 8, "{audited:?}");
    assert!(audited.iter().all(|line| said.contains(line)), "{audited:?}");
    assert_eq!(
        said.matches("not tracked").count(),
        1,
        "the list has the others: {said}"
    );
    let tracked = "SELECT string_agg(payment_id, ' ') FROM transactions WHERE sca_deadline > clock_timestamp() AND NOT needs_review";
    assert_eq!(value::<String>(&app, tracked).await, "pay_had");
    let waiting: i64 = value(
        &app,
        "SELECT count(*) FROM transactions WHERE needs_review AND NOT bank_final",
    )
    .await;
    assert_eq!(waiting, 3, "a person looks at these");
    app.abandon().await;
}

#[tokio::test]
async fn the_list_begins_before_a_payment_that_was_in_doubt_before_the_moment_that_is_restored() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.sandbox.fault(Operation::Payment, Fault::ExecuteThenDrop, 1);
    let asked = anna
        .post_later("/v1/transactions", "doubt", &order(&account, "10.00"))
        .await;
    assert!(eventually(async || value(&app, "SELECT bool_and(needs_review) FROM transactions").await).await);
    app.stop_worker().await;
    app.advance(TimeDelta::hours(1)).await;

    let moment: DateTime<Utc> = value(&app, "SELECT clock_timestamp()").await;
    let began: DateTime<Utc> = value(&app, "SELECT created_at FROM transactions").await;
    let since = (began - TimeDelta::minutes(10)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let (closed, said) = restored(&app, &["close", "--to", &moment.to_rfc3339()], "").await;
    assert!(closed && said.contains(&format!("every order since {since}")), "{said}");
    app.advance(TimeDelta::minutes(5)).await;
    let (opened, said) = restored(&app, &["open"], &list_of_the_bank(&app)).await;
    assert!(
        opened && said.contains(&format!("tracked {}", text(&asked, "id"))) && !said.contains("not tracked"),
        "{said}"
    );
    app.abandon().await;
}

#[tokio::test]
async fn an_order_of_which_only_the_ids_were_noted_is_given_to_nobody_and_calls_nobody() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let user = anna.user.parse::<UserId>().unwrap().uuid();
    let (uuid, own) = (Uuid::new_v4(), Uuid::new_v5(&user, b"own"));
    execute(
        &app,
        &format!(
            "INSERT INTO forgotten_orders (request_id, payment_id) VALUES ('{uuid}', 'pay_1'), ('{own}', 'pay_2')"
        ),
    )
    .await;
    alerts::listen();
    for key in [&uuid.to_string(), "own"] {
        let refused = pays(&anna, &account, key, "10.00").await;
        assert_eq!(refused.problem(), (409, "conflict"), "{key}");
    }
    for request_id in [uuid, own] {
        assert_eq!(alerts::about(&request_id.to_string()), [""; 0]);
    }
    assert_eq!(app.sandbox.neonomics().payments().len(), 0);
    app.finish().await;
}

#[tokio::test]
async fn what_was_restored_into_a_closed_time_is_closed_anew_and_awaits_the_list_of_the_restore_before() {
    let app = TestApp::start().await;
    let closes = async |to: &str| restored(&app, &["close", "--to", to], "").await;
    let opens = async || restored(&app, &["open", "--no-orders"], "").await;
    assert!(closes("2026-03-01T12:00:00Z").await.0);
    app.advance(TimeDelta::minutes(10)).await;
    // The backup is of a time after that: what has been opened, and sent, since then is forgotten.
    let (closed, said) = closes("2026-03-01T15:00:00Z").await;
    assert!(
        closed && said.contains("every order since 2026-03-01T11:50:00Z"),
        "{said}"
    );
    let (opened, said) = opens().await;
    assert!(!opened && said.contains("may still be at what was sent last"), "{said}");
    app.advance(TimeDelta::minutes(5)).await;
    assert!(opens().await.0);
    let (closed, said) = closes("2026-03-01T15:00:00Z").await;
    assert!(
        closed && said.contains("every order since 2026-03-01T14:50:00Z"),
        "{said}"
    );
    app.abandon().await;
}
