//! Somebody is forgotten: what goes at once, what is kept apart for as long as the law wants it, and what a hold keeps.

mod cases;
mod reading;
mod restoring;
mod running;
mod watching;

use std::{collections::BTreeSet, path::Path};

use chrono::TimeDelta;
use drop_sandbox::{Fault, Operation, Review};
use drop_tests::{app::TestApp, cluster::Role, person::SignedIn};
use serde_json::Value;
use sqlx::AssertSqlSafe;

use crate::{
    ops::read,
    paying::{approved, at_the_bank, audited, execute, shown, value},
    payment_faults::scene::recovers,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_drop-node");
const BY: [&str; 4] = ["--operator", "kari", "--reason", "ticket 4711"];
/// Five years, with their leap days.
const FIVE_YEARS: i64 = 1_827;

async fn operates(app: &TestApp, verb: &str, user: &str) -> (bool, String) {
    app.operator(PROGRAM, &[&["users", verb, user], &BY[..]].concat()).await
}

async fn does(app: &TestApp, verb: &str, user: &str) {
    let (succeeded, said) = operates(app, verb, user).await;
    assert!(succeeded, "{verb}: {said}");
}

/// Everything of the tables that the service works with, or of the restricted schema, as it would stand in a dump.
async fn dump(app: &TestApp, schema: &str) -> String {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = $1 ORDER BY 1",
    )
    .bind(schema)
    .fetch_all(&app.db)
    .await
    .unwrap();
    let mut dumped = String::new();
    for table in tables {
        let rows = format!("SELECT coalesce(string_agg(to_jsonb(t)::text, E'\\n'), '') FROM {table} t");
        let rows: String = sqlx::query_scalar(AssertSqlSafe(rows))
            .fetch_one(&app.db)
            .await
            .unwrap();
        dumped.push_str(&rows);
    }
    dumped
}

async fn count(app: &TestApp, what: &str) -> i64 {
    value(app, &format!("SELECT count(*) FROM {what}")).await
}

/// What is said of a person in a row: their name, the payee's, what they wrote, their account's number, and each byte that
/// Sumsub said of them.
async fn canaries(app: &TestApp) -> Vec<String> {
    value(
        app,
        "SELECT ARRAY[(SELECT first_name FROM users), (SELECT last_name FROM users), 'Marko Petrovic', 'Drop remittance',
                      (SELECT account_masked FROM bank_accounts), (SELECT creditor_account_masked FROM transactions),
                      (SELECT encode(raw, 'hex') FROM webhook_events LIMIT 1), (SELECT encode(email_sealed, 'hex') FROM users)]",
    )
    .await
}

/// Anna, who is approved. From here on jobs run by hand.
async fn anna_is_approved(app: &TestApp) -> SignedIn<'_> {
    let anna = app.signed_in("anna").await;
    anna.is_approved().await;
    app.stop_worker().await;
    anna
}

/// Anna, with a payment at the bank that is not approved yet. From here on jobs run by hand.
async fn anna_pays(app: &TestApp) -> (SignedIn<'_>, String, String) {
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let payment = at_the_bank(app, &anna, &account).await;
    (anna, payment.id, payment.link)
}

async fn settles(app: &TestApp, link: &str) {
    approved(app, link);
    recovers(app).await;
}

#[tokio::test]
async fn whoever_is_erased_is_gone_at_once_and_what_the_law_wants_is_kept_apart_for_five_years() {
    let app = TestApp::start().await;
    let (anna, id, link) = anna_pays(&app).await;
    settles(&app, &link).await;
    assert_eq!(shown(&anna, &id).await["status"], "completed");
    app.check_the_books().await;
    let canaries = canaries(&app).await;
    let before = dump(&app, "public").await;
    assert!(canaries.iter().all(|canary| before.contains(canary)), "{canaries:?}");

    does(&app, "erase", &anna.user).await;
    assert_eq!(anna.get("/v1/me").await.problem(), (401, "unauthenticated"));
    for gone in [
        "sessions",
        "refresh_tokens",
        "logins",
        "notifications",
        "kyc_sdk_tokens",
    ] {
        assert_eq!(count(&app, gone).await, 0, "{gone}");
    }
    assert_eq!(count(&app, "users WHERE email_sealed IS NOT NULL").await, 0);
    assert_eq!(
        count(&app, "bank_accounts WHERE status = 'linked' OR balance IS NOT NULL").await,
        0
    );
    app.run_jobs().await;
    assert_eq!(app.sandbox.neonomics().consents()[0].status, "terminatedByTpp");

    app.advance(TimeDelta::minutes(6)).await;
    app.retain().await;
    let (public, restricted) = (dump(&app, "public").await, dump(&app, "restricted").await);
    let (address, kept) = canaries.split_last().unwrap();
    for canary in kept {
        assert!(!public.contains(canary), "{canary} is still there");
        assert!(restricted.contains(canary), "{canary} is not kept");
    }
    assert!(
        !public.contains(address) && !restricted.contains(address),
        "no law needs the address"
    );
    let classes: Vec<String> = value(
        &app,
        "SELECT array_agg(DISTINCT class ORDER BY class) FROM restricted.records",
    )
    .await;
    let wanted = [
        "bank_accounts",
        "kyc_applicants",
        "payment_attempts",
        "screening_results",
        "transactions",
        "users",
        "webhook_events",
    ];
    assert_eq!(classes, wanted);
    app.start_worker().await;
    assert_eq!(app.log_in("anna").await.problem(), (401, "unauthenticated"));
    assert_eq!(count(&app, "users").await, 1, "nobody is made of them anew");
    app.stop_worker().await;

    let audit = count(&app, "audit_log").await;
    does(&app, "erase", &anna.user).await;
    app.retain().await;
    assert_eq!(
        dump(&app, "restricted").await,
        restricted,
        "a second time changes nothing"
    );
    assert_eq!(count(&app, "audit_log").await, audit);

    app.advance(TimeDelta::days(FIVE_YEARS - 2)).await;
    app.retain().await;
    assert_eq!(count(&app, "restricted.records").await, 7);
    app.advance(TimeDelta::days(3)).await;
    app.retain().await;
    for gone in [
        "restricted.records",
        "users",
        "kyc_former_applicants",
        "webhook_events WHERE raw IS NOT NULL",
    ] {
        assert_eq!(count(&app, gone).await, 0, "{gone}");
    }
    assert_eq!(audited(&app, "user.forgotten").await, 1);
    app.run_jobs().await;
    app.finish_without_books().await;
}

#[tokio::test]
async fn a_payment_that_is_under_way_is_followed_to_its_end_and_moved_then() {
    let app = TestApp::start().await;
    let (anna, _, link) = anna_pays(&app).await;
    does(&app, "erase", &anna.user).await;
    app.run_jobs().await;
    app.advance(TimeDelta::minutes(6)).await;
    app.retain().await;
    assert_eq!(
        (
            count(&app, "transactions").await,
            count(&app, "restricted.records").await
        ),
        (1, 0)
    );
    settles(&app, &link).await;
    app.check_the_books().await;
    app.retain().await;
    assert_eq!(count(&app, "transactions").await, 0);
    let ended: Value = value(
        &app,
        "SELECT record FROM restricted.records WHERE class = 'transactions'",
    )
    .await;
    assert_eq!(
        (&ended["status"], &ended["bank_final"]),
        (&"completed".into(), &true.into())
    );
    assert_eq!(ended.get("psu_ip"), None, "only the bank was told");
    app.run_jobs().await;
    app.finish_without_books().await;
}

#[tokio::test]
async fn whose_a_payment_was_is_kept_as_long_as_the_payment() {
    let app = TestApp::start().await;
    let (anna, _, link) = anna_pays(&app).await;
    does(&app, "erase", &anna.user).await;
    execute(&app, "UPDATE users SET erased_at = erased_at - interval '3 days'").await;
    app.run_jobs().await;
    settles(&app, &link).await;
    app.check_the_books().await;
    app.advance(TimeDelta::minutes(6)).await;
    app.retain().await;
    let kept = count(&app, "restricted.records").await;
    assert_eq!(count(&app, "restricted.records WHERE class = 'transactions'").await, 1);

    app.advance(TimeDelta::days(FIVE_YEARS - 2)).await;
    app.retain().await;
    assert_eq!(count(&app, "restricted.records").await, kept);
    assert_eq!(count(&app, "restricted.records WHERE class = 'users'").await, 1);
    app.advance(TimeDelta::days(3)).await;
    app.retain().await;
    assert_eq!(
        (count(&app, "restricted.records").await, count(&app, "users").await),
        (0, 0)
    );
    app.run_jobs().await;
    app.finish_without_books().await;
}

#[tokio::test]
async fn what_is_held_is_not_moved_nor_deleted_until_the_hold_is_lifted() {
    let app = TestApp::start().await;
    let anna = anna_is_approved(&app).await;
    does(&app, "hold", &anna.user).await;
    let (erased, said) = operates(&app, "erase", &anna.user).await;
    assert!(!erased && said.contains("legal hold"), "{said}");
    assert_eq!(anna.get("/v1/me").await.status, 200);
    does(&app, "release", &anna.user).await;

    does(&app, "erase", &anna.user).await;
    does(&app, "hold", &anna.user).await;
    app.retain().await;
    assert_eq!(count(&app, "kyc_applicants").await, 1);
    does(&app, "release", &anna.user).await;
    app.retain().await;
    assert_eq!(count(&app, "kyc_applicants").await, 0);

    does(&app, "hold", &anna.user).await;
    let kept = count(&app, "restricted.records").await;
    assert!(kept > 0);
    app.advance(TimeDelta::days(FIVE_YEARS + 1)).await;
    app.retain().await;
    assert_eq!(count(&app, "restricted.records").await, kept);
    does(&app, "release", &anna.user).await;
    app.retain().await;
    assert_eq!(
        (count(&app, "restricted.records").await, count(&app, "users").await),
        (0, 0)
    );
    app.finish().await;
}

#[tokio::test]
async fn what_sumsub_still_tells_of_somebody_who_was_erased_changes_nobody_and_is_kept_apart() {
    let app = TestApp::start().await;
    let anna = anna_is_approved(&app).await;
    does(&app, "erase", &anna.user).await;
    app.retain().await;
    let kept = count(&app, "restricted.records WHERE class = 'webhook_events'").await;
    app.advance(TimeDelta::days(30)).await;
    let tries_again = Review {
        review_reject_type: Some("RETRY".to_owned()),
        ..Review::of(&anna.user, "RED")
    };
    reviewed(&app, tries_again).await;
    app.run_jobs().await;
    let state: String = value(
        &app,
        "SELECT state FROM webhook_events ORDER BY received_at DESC LIMIT 1",
    )
    .await;
    assert_eq!(state, "recorded");
    assert_eq!(
        (count(&app, "aml_cases").await, count(&app, "screening_results").await),
        (0, 0)
    );
    app.retain().await;
    assert_eq!(count(&app, "webhook_events WHERE raw IS NOT NULL").await, 0);
    assert_eq!(
        count(&app, "restricted.records WHERE class = 'webhook_events'").await,
        kept + 1
    );
    let in_five_years = "retention_until > now() + interval '5 years' - interval '1 hour'";
    let ended_with_it = format!("restricted.records WHERE {in_five_years}");
    assert_eq!(
        count(&app, &ended_with_it).await,
        count(&app, "restricted.records").await,
        "all of it is kept as long as the last"
    );
    app.finish().await;
}

#[tokio::test]
async fn nobody_is_moved_before_their_bank_knows_that_its_consent_is_over() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.has_an_account().await;
    app.stop_worker().await;
    app.sandbox.fault(Operation::ConsentDelete, Fault::status(500), 1);
    does(&app, "erase", &anna.user).await;
    app.run_jobs().await;
    app.advance(TimeDelta::minutes(6)).await;
    app.retain().await;
    let left = async || {
        (
            count(&app, "bank_consents").await,
            count(&app, "restricted.records").await,
        )
    };
    assert_eq!(left().await, (1, 0), "the bank has not answered");
    app.run_jobs().await;
    assert_eq!(app.sandbox.neonomics().consents()[0].status, "terminatedByTpp");
    app.retain().await;
    assert_eq!(left().await, (1, 0), "somebody may still be writing what the bank said");
    app.advance(TimeDelta::minutes(6)).await;
    app.retain().await;
    let (consents, records) = left().await;
    assert!(consents == 0 && records > 0, "{consents} {records}");
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn a_bank_that_never_answers_keeps_nobody_longer_than_its_consent_lasts() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.has_an_account().await;
    app.stop_worker().await;
    app.sandbox.fault(Operation::ConsentDelete, Fault::status(500), 1);
    does(&app, "erase", &anna.user).await;
    app.run_jobs().await;
    app.advance(TimeDelta::days(181)).await;
    assert_eq!(
        count(&app, "bank_consents WHERE consent_id_sealed IS NOT NULL").await,
        1
    );
    app.retain().await;
    assert_eq!(count(&app, "bank_consents").await, 0);
    app.run_jobs().await;
    app.finish().await;
}

/// Sumsub says so, and it is taken.
async fn reviewed(app: &TestApp, review: Review) {
    let told = app
        .sandbox
        .sumsub()
        .review(review, &drop_sandbox::Delivery::default())
        .await;
    assert_eq!(told.unwrap().statuses, [Some(200)]);
}

#[tokio::test]
async fn whoever_looks_at_what_is_kept_says_who_they_are_and_why_and_needs_another_role_than_the_workers() {
    let app = TestApp::start().await;
    let anna = anna_is_approved(&app).await;
    does(&app, "erase", &anna.user).await;
    app.retain().await;
    let (seen, _) = operates(&app, "kept", &anna.user).await;
    assert!(!seen);
    assert_eq!(audited(&app, "restricted.read").await, 0);
    let looks = [&["users", "kept", &anna.user], &BY[..]].concat();
    let (seen, said) = app.operator_as(Role::Retention, PROGRAM, &looks).await;
    assert!(seen, "{said}");
    let kept: Value = serde_json::from_str(&said).unwrap();
    let person = kept
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["class"] == "users")
        .unwrap();
    assert!(
        person["record"]["first_name"].as_str().unwrap().starts_with("Anna"),
        "{person}"
    );
    let noted: Value = value(&app, "SELECT detail FROM audit_log WHERE action = 'restricted.read'").await;
    assert_eq!(
        (&noted["operator"], &noted["reason"]),
        (&"kari".into(), &"ticket 4711".into())
    );
    app.finish().await;
}

/// The names in a cell of the table.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_table_of_what_is_kept_names_every_table_and_every_column_that_can_say_something_of_a_person() {
    let app = TestApp::start().await;
    let text = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../ops/retention.md"));
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let columns: Vec<(String, String, bool)> = sqlx::query_as(
        "SELECT c.oid::regclass::text, a.attname::text,
                a.atttypid IN ('text'::regtype, 'text[]'::regtype, 'bytea'::regtype, 'json'::regtype, 'jsonb'::regtype, 'inet'::regtype)
           FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
          WHERE c.relkind = 'r' AND c.relnamespace IN ('public'::regnamespace, 'restricted'::regnamespace)
            AND c.relname <> '_sqlx_migrations' AND a.attnum > 0 AND NOT a.attisdropped",
    )
    .fetch_all(&app.db)
    .await
    .unwrap();
    let tables: BTreeSet<String> = columns.iter().map(|(table, ..)| table.clone()).collect();
    let told: BTreeSet<String> = rows.iter().flat_map(|row| names(row[0])).collect();
    assert_eq!(told, tables);
    for row in &rows {
        let table = names(row[0]).pop_first().unwrap();
        let named: BTreeSet<String> = names(row[1]).union(&names(row[2])).cloned().collect();
        let of_table = |texts: bool| -> BTreeSet<String> {
            let own = columns.iter().filter(|(of, _, text)| *of == table && (*text || !texts));
            own.map(|(_, column, _)| column.clone()).collect()
        };
        let silent: Vec<String> = of_table(true).difference(&named).cloned().collect();
        assert!(silent.is_empty(), "{table}: is {silent:?} of a person?");
        let unknown: Vec<String> = named.difference(&of_table(false)).cloned().collect();
        assert!(unknown.is_empty(), "{table} has no {unknown:?}");
        assert!(names(row[1]).is_disjoint(&names(row[2])), "{table}");
        assert!(
            !row[3].is_empty() && !row[5].is_empty(),
            "{table}: how long, and who deletes it?"
        );
    }
    app.finish().await;
}
