//! The rotation of the encryption key, as `ops/README.md` has it: with its end, at which the old key is gone.

use chrono::TimeDelta;
use drop_common::storage::reseal::{Column, SHORT_LIVED};
use drop_sandbox::Decision;
use drop_tests::{app::TestApp, cluster::Role};

use crate::paying::{becomes, pays, value};

const PROGRAM: &str = env!("CARGO_BIN_EXE_drop-node");
const OLD: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW: &str = "HxwdHhsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
/// Step 2: the new key seals, the old one opens.
const BOTH: [(&str, &str); 4] = [
    ("DROP_ENCRYPTION_KEY", NEW),
    ("DROP_ENCRYPTION_KEY_ID", "2"),
    ("DROP_ENCRYPTION_KEY_PREVIOUS", OLD),
    ("DROP_ENCRYPTION_KEY_PREVIOUS_ID", "1"),
];
/// Step 3: the old key is gone. What was set once stays set here, so another one stands in its place.
const WITHOUT_OLD: [(&str, &str); 4] = [
    BOTH[0],
    BOTH[1],
    (
        "DROP_ENCRYPTION_KEY_PREVIOUS",
        "//////////////////////////////////////////8=",
    ),
    ("DROP_ENCRYPTION_KEY_PREVIOUS_ID", "3"),
];

async fn reseal(app: &TestApp, role: Role, more: &[&str]) -> (bool, String) {
    let variables = [&BOTH[..], &[("DROP_SESSION_KEY", drop_tests::settings::SESSION_KEY)]].concat();
    let arguments = [&["reseal"], more].concat();
    app.operator_with(role, PROGRAM, &arguments, &variables).await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_everything_is_sealed_anew_and_the_old_key_can_go() {
    let mut app = TestApp::start().await;
    app.sandbox
        .neonomics()
        .configure(|bank| bank.progression = vec!["ACSC".to_owned()]);
    // Of somebody who is gone, numbers are kept apart.
    let marko = app.signed_in("marko").await;
    let account = marko.has_an_account().await;
    let paid = pays(&marko, &account, "paid").await;
    marko
        .decides(paid.body["scaRedirect"].as_str().unwrap(), Decision::Approve)
        .await;
    becomes(&marko, paid.body["id"].as_str().unwrap(), "completed").await;
    let erase = ["users", "erase", &marko.user, "--operator", "kari", "--reason", "OPS-1"];
    assert!(app.operator(PROGRAM, &erase).await.0);
    app.until_idle().await;
    app.advance(TimeDelta::minutes(6)).await;
    app.retain().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    // One is under way across the whole rotation.
    let under_way = pays(&anna, &account, "under-way").await;
    let link = under_way.body["scaRedirect"].as_str().unwrap().to_owned();
    let (user, token) = (anna.user.clone(), anna.token().to_owned());

    app.stop_worker().await;
    app.reconfigure_worker(&BOTH);
    app.start_worker().await;
    let (clean, said) = reseal(&app, Role::Worker, &["--count"]).await;
    assert!(
        !clean && said.contains("some values are still sealed with another key"),
        "{said}"
    );
    let (clean, said) = reseal(&app, Role::Worker, &[]).await;
    assert!(clean, "{said}");
    let (clean, again) = reseal(&app, Role::Worker, &[]).await;
    assert!(clean, "{again}");
    for column in Column::ALL {
        let line = again
            .lines()
            .find(|line| line.starts_with(&column.place()))
            .expect("a line");
        let counts: Vec<&str> = line.split_whitespace().skip(1).collect();
        assert_eq!(counts, ["0", "0"], "there is nothing left to do: {line}");
    }
    let (clean, said) = reseal(&app, Role::Retention, &["--kept"]).await;
    assert!(clean, "{said}");
    let kept: Vec<String> = sqlx::query_scalar(
        "SELECT left(coalesce(record ->> 'creditor_account_sealed', record ->> 'account_sealed'), 4) FROM restricted.records
          WHERE class IN ('transactions', 'bank_accounts')",
    )
    .fetch_all(&app.db)
    .await
    .unwrap();
    assert_eq!(kept, ["\\x02", "\\x02"], "each begins with the id of its key");

    // Without the old key, what was under way goes on, and numbers are found.
    app.stop_worker().await;
    app.reconfigure_worker(&WITHOUT_OLD);
    app.start_worker().await;
    let replica = app.start_replica(&WITHOUT_OLD).await;
    let anna = app.signed_in_before(&user, &token).at(&replica);
    let repeated = pays(&anna, &account, "repeated").await;
    assert_eq!(
        repeated.problem(),
        (409, "possible_duplicate"),
        "its payee is found under the new key"
    );
    anna.decides(&link, Decision::Approve).await;
    becomes(&anna, under_way.body["id"].as_str().unwrap(), "completed").await;
    let linking = anna.post_once("/v1/bank-consents", "again").await;
    anna.decides(linking.body["scaRedirect"].as_str().unwrap(), Decision::Approve)
        .await;
    let accounts: i64 = value(&app, "SELECT count(*) FROM bank_accounts").await;
    assert_eq!(accounts, 1, "the same account, not another one");
    app.finish_without_books().await;
}

#[tokio::test]
async fn every_sealed_column_is_sealed_anew_or_lives_for_minutes() {
    let app = TestApp::start().await;
    let columns: Vec<String> = sqlx::query_scalar(
        "SELECT table_name || '.' || column_name FROM information_schema.columns
          WHERE table_schema = 'public' AND data_type = 'bytea' AND column_name LIKE '%\\_sealed' ORDER BY 1",
    )
    .fetch_all(&app.db)
    .await
    .unwrap();
    let mut known: Vec<String> = Column::ALL
        .map(Column::place)
        .into_iter()
        .chain(SHORT_LIVED.map(str::to_owned))
        .collect();
    known.sort();
    assert_eq!(columns, known);
    app.finish().await;
}
