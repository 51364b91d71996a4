//! Secrets that are replaced as `ops/README.md` has it, and have no test elsewhere ([`TESTED`]).

use std::path::Path;

use drop_sandbox::Decision;
use drop_tests::{
    app::{TestApp, eventually},
    canaries::SECRETS,
    cluster::Role,
    settings::{BANKID_SECRET, NEONOMICS_SECRET, SUMSUB_TOKEN},
};
use serde_json::json;
use sqlx::AssertSqlSafe;

use crate::{
    ops::{ops, read},
    paying::{becomes, execute, order, pays, value},
};

const NEXT: &str = "the-secret-after-this-one";

/// Where each secret is replaced.
const TESTED: [(&str, &str, &str); 11] = [
    (
        "BANKID_CLIENT_SECRET",
        "rotation.rs",
        "bankids_client_secret_is_replaced_while_two_are_valid_and_nobody_is_kept_out",
    ),
    (
        "DATABASE_URL",
        "rotation.rs",
        "a_database_login_is_replaced_by_a_second_one_of_its_role_and_payments_go_on",
    ),
    (
        "DROP_ENCRYPTION_KEY",
        "resealing.rs",
        "after_a_rotation_everything_is_sealed_anew_and_the_old_key_can_go",
    ),
    (
        "DROP_OPERATOR_TOKENS",
        "operator/refused.rs",
        "a_token_that_is_replaced_ends_what_was_begun_with_it",
    ),
    (
        "DROP_SESSION_KEY",
        "tokens.rs",
        "a_change_of_the_signing_key_logs_nobody_out_while_replicas_restart_one_by_one",
    ),
    (
        "NATIONAL_ID_PEPPER",
        "login/identity.rs",
        "a_person_is_the_same_user_whichever_pepper_their_row_was_hashed_with",
    ),
    (
        "NEONOMICS_CLIENT_KEY",
        "client_certificate.rs",
        "a_worker_shows_when_its_certificate_ends_and_takes_the_next_one_but_no_broken_one",
    ),
    (
        "NEONOMICS_CLIENT_SECRET",
        "rotation.rs",
        "neonomics_client_secret_is_replaced_while_two_are_valid_and_payments_go_on",
    ),
    (
        "SUMSUB_APP_SECRET",
        "rotation.rs",
        "sumsubs_app_token_is_replaced_with_its_secret_while_two_are_valid_and_nobody_waits_for_their_check",
    ),
    (
        "SUMSUB_APP_TOKEN",
        "rotation.rs",
        "sumsubs_app_token_is_replaced_while_two_are_valid_and_nobody_waits_for_their_check",
    ),
    (
        "SUMSUB_SECRET_KEY",
        "kyc/secrets.rs",
        "a_rotation_step_by_step_refuses_no_event_and_the_old_secret_at_its_end",
    ),
];

/// Nothing of ours has to agree with another process about these: a worker or a Sentry that knows the new one is all there is to
/// it. Of BankID's key `login/` shows that whichever key is configured signs.
const READ_AT_START_ALONE: [&str; 3] = ["BANKID_CLIENT_KEY", "PISP_CONSENT_ID", "SENTRY_DSN"];

/// The guide's statements with this word. `\password` is psql's own.
fn statements(word: &str) -> String {
    let guide = guide();
    let blocks = guide
        .split("```sql\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let about: Vec<&str> = blocks.filter(|block| block.contains(word)).collect();
    assert_eq!(about.len(), 1, "blocks with {word}");
    let lines: Vec<&str> = about[0].lines().filter(|line| !line.starts_with('\\')).collect();
    lines.join("\n")
}

/// The guide's section.
fn guide() -> String {
    let text = read(&ops("README.md"));
    let (_, section) = text.split_once("## Rotating keys and secrets").expect("the section");
    section.split("\n## ").next().unwrap_or_default().to_owned()
}

#[test]
fn each_secret_has_its_words_in_the_guide_and_a_test_that_replaces_it_or_a_reason_why_not() {
    let guide = guide();
    let known = |name: &str| TESTED.iter().any(|(secret, ..)| *secret == name) || READ_AT_START_ALONE.contains(&name);
    for name in SECRETS {
        let name = name.trim_end_matches("_PREVIOUS");
        assert!(known(name), "{name}: no test, and no reason");
        let named = [format!("`{name}`"), format!("`{name}_FILE`")];
        assert!(
            named.iter().any(|word| guide.contains(word)),
            "{name} is not in the guide"
        );
    }
    for (secret, file, test) in TESTED {
        assert!(SECRETS.contains(&secret), "{secret}: nothing reads it");
        let text = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("flows").join(file));
        let runs = |begin: &str| text.contains(&format!("#[tokio::test{begin}]\nasync fn {test}("));
        assert!(
            runs("") || runs("(flavor = \"multi_thread\")"),
            "{file}: no test {test}"
        );
    }
    for secret in READ_AT_START_ALONE {
        assert!(SECRETS.contains(&secret), "{secret}: nothing reads it");
    }
}

/// The peppers of a rotation: the one before it, and the one after.
const PEPPERS: [&str; 2] = ["the-pepper-before-the-rotation-00", "the-pepper-after-the-rotation-000"];

#[tokio::test]
async fn the_guide_counts_whose_hash_has_the_former_pepper() {
    let [old, new] = PEPPERS;
    let steps = [
        [("NATIONAL_ID_PEPPER", old), ("NATIONAL_ID_PEPPER_PREVIOUS", new)],
        [("NATIONAL_ID_PEPPER", new), ("NATIONAL_ID_PEPPER_PREVIOUS", old)],
    ];
    let mut app = TestApp::start_with(&steps[0]).await;
    for name in ["anna", "marko"] {
        app.signed_in(name).await;
    }
    let erased = app.signed_in("d_number").await.user;
    let erase = format!(
        "UPDATE users SET erased_at = clock_timestamp() WHERE id = '{}'",
        erased.trim_start_matches("usr_")
    );
    execute(&app, "CREATE TABLE before AS SELECT id, national_id_hash FROM users").await;
    app.stop_worker().await;
    // Nobody with the first step's variables is left from here on.
    let changed: String = value(&app, "SELECT clock_timestamp()::text").await;
    app.reconfigure_worker(&steps[1]);
    app.start_worker().await;
    let worker = app.pool_as(Role::Worker).await;
    let counted = async |word: &str| {
        let statement = statements(word).replace("<step 2>", &changed);
        let count = sqlx::query_scalar::<_, i64>(AssertSqlSafe(statement))
            .fetch_one(&worker)
            .await;
        count.expect("as the guide says, as this role")
    };
    let have_the_old = async || {
        let same = "SELECT count(*) FROM users JOIN before USING (id, national_id_hash)";
        value::<i64>(&app, same).await
    };
    // Who is new since has the new one.
    for (name, left) in [("leap_day", 3), ("anna", 2), ("marko", 1)] {
        app.signed_in(name).await;
        assert_eq!(
            (counted("login.succeeded").await, have_the_old().await),
            (left, left),
            "{name}"
        );
    }
    // Nobody but the one whose account goes now, and who has the old one until they are forgotten.
    execute(&app, &erase).await;
    assert_eq!(
        (counted("login.succeeded").await, counted("erased_at IS NOT NULL").await),
        (0, 1)
    );
    worker.close().await;
    app.finish().await;
}

#[tokio::test]
async fn bankids_client_secret_is_replaced_while_two_are_valid_and_nobody_is_kept_out() {
    let mut app = TestApp::start().await;
    let secrets = [BANKID_SECRET, NEXT];
    app.sandbox.bankid().accept_client_secrets(&secrets);
    assert_eq!(app.log_in("anna").await.status, 200, "before the rollout");
    app.stop_worker().await;
    app.reconfigure_worker(&[("BANKID_CLIENT_SECRET", NEXT)]);
    app.start_worker().await;
    assert_eq!(app.log_in("anna").await.status, 200, "after it");
    app.sandbox.bankid().accept_client_secrets(&secrets[1..]);
    assert_eq!(app.log_in("anna").await.status, 200, "without the old one");
    // What a worker would have met that was forgotten.
    app.sandbox.bankid().accept_client_secrets(&secrets[..1]);
    assert_eq!(app.log_in("anna").await.problem(), (502, "token_exchange_failed"));
    app.finish().await;
}

#[tokio::test]
async fn neonomics_client_secret_is_replaced_while_two_are_valid_and_payments_go_on() {
    let mut app = TestApp::start().await;
    let secrets = [NEONOMICS_SECRET, NEXT];
    app.sandbox.neonomics().accept_client_secrets(&secrets);
    let anna = app.signed_in("anna").await;
    let (user, token) = (anna.user.clone(), anna.token().to_owned());
    let account = anna.has_an_account().await;
    is_ordered(&app, &user, &token, &account, 1).await;
    app.stop_worker().await;
    app.reconfigure_worker(&[("NEONOMICS_CLIENT_SECRET", NEXT)]);
    app.start_worker().await;
    is_ordered(&app, &user, &token, &account, 2).await;
    // Without the old one, and without what was given out for it.
    app.sandbox.neonomics().accept_client_secrets(&secrets[1..]);
    app.sandbox.neonomics().expire_tokens();
    is_ordered(&app, &user, &token, &account, 3).await;
    app.finish().await;
}

/// The worker calls the bank, and the person ends the payment there.
async fn is_ordered(app: &TestApp, user: &str, token: &str, account: &str, number: usize) {
    let person = app.signed_in_before(user, token);
    let order = order(account, &format!("{number}.00"));
    let asked = person
        .post_keyed("/v1/transactions", &format!("key-{number}"), &order)
        .await;
    assert_eq!(asked.status, 201, "{:?}", asked.problem());
    let link = asked.body["scaRedirect"].as_str().unwrap();
    app.sandbox.bank().decide_at(link, Decision::Reject).unwrap();
    becomes(&person, asked.body["id"].as_str().unwrap(), "failed").await;
}

#[tokio::test]
async fn sumsubs_app_token_is_replaced_while_two_are_valid_and_nobody_waits_for_their_check() {
    let mut app = TestApp::start().await;
    let tokens = [(SUMSUB_TOKEN, ""), (NEXT, "")];
    app.sandbox.sumsub().accept_app_tokens(&tokens);
    gets_an_applicant(&app, "anna").await;
    app.stop_worker().await;
    app.reconfigure_worker(&[("SUMSUB_APP_TOKEN", NEXT)]);
    app.start_worker().await;
    gets_an_applicant(&app, "marko").await;
    app.sandbox.sumsub().accept_app_tokens(&tokens[1..]);
    gets_an_applicant(&app, "leap_day").await;
    app.finish().await;
}

#[tokio::test]
async fn sumsubs_app_token_is_replaced_with_its_secret_while_two_are_valid_and_nobody_waits_for_their_check() {
    const SECRET: &str = "the-secret-of-the-first-token";
    let signed = [("SUMSUB_AUTH", "signed"), ("SUMSUB_APP_SECRET", SECRET)];
    let mut app = TestApp::start_with(&signed).await;
    let tokens = [(SUMSUB_TOKEN, SECRET), ("the-token-after-this-one", NEXT)];
    app.sandbox.sumsub().refuse_bearer(true);
    app.sandbox.sumsub().accept_app_tokens(&tokens);
    gets_an_applicant(&app, "anna").await;
    // Both in one rollout: a token signs with its own secret alone.
    app.stop_worker().await;
    app.reconfigure_worker(&[("SUMSUB_APP_TOKEN", tokens[1].0), ("SUMSUB_APP_SECRET", tokens[1].1)]);
    app.start_worker().await;
    gets_an_applicant(&app, "marko").await;
    app.sandbox.sumsub().accept_app_tokens(&tokens[1..]);
    gets_an_applicant(&app, "leap_day").await;
    // What a worker would have met that was forgotten.
    app.sandbox.sumsub().accept_app_tokens(&tokens[..1]);
    let person = app.signed_in("d_number").await;
    let asked = person
        .post("/v1/kyc/applicant", &json!({ "email": "late@example.com" }))
        .await;
    assert_eq!(asked.problem(), (502, "provider_error"));
    app.finish().await;
}

async fn gets_an_applicant(app: &TestApp, name: &str) {
    let person = app.signed_in(name).await;
    let asked = person
        .post("/v1/kyc/applicant", &json!({ "email": format!("{name}@example.com") }))
        .await;
    assert_eq!(asked.status, 201, "{:?}", asked.problem());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_login_is_replaced_by_a_second_one_of_its_role_and_payments_go_on() {
    let mut app = TestApp::start_on_its_own_server().await;
    app.sandbox
        .neonomics()
        .configure(|bank| bank.progression = vec!["ACSC".to_owned()]);
    let anna = app.signed_in("anna").await;
    let (user, token) = (anna.user.clone(), anna.token().to_owned());
    let account = anna.has_an_account().await;
    let under_way = pays(&anna, &account, "under-way").await;
    for role in ["drop_api", "drop_worker"] {
        execute(&app, &statements("CREATE ROLE").replace("drop_api", role)).await;
    }
    // Settings belong to a login, and this gives the second one those of its role, as the guide has it.
    execute(&app, &read(&ops("postgres/roles.sql"))).await;
    let settings = "SELECT count(*) FROM pg_db_role_setting JOIN pg_roles ON pg_roles.oid = setrole
                     WHERE rolname IN ('drop_api_2', 'drop_worker_2') AND 'search_path=public, pg_temp' = ANY (setconfig)";
    assert_eq!(value::<i64>(&app, settings).await, 2);
    app.log_in_as("_2");
    app.stop_worker().await;
    app.start_worker().await;
    let second = app.start_replica(&[]).await;
    let anna = app.signed_in_before(&user, &token).at(&second);
    for role in ["drop_api", "drop_worker"] {
        // Where a password is asked for, whoever has none is let in no more; this server asks nobody.
        execute(&app, &format!("ALTER ROLE {role} NOLOGIN")).await;
        execute(&app, &statements("pg_terminate_backend").replace("drop_api", role)).await;
        let is_over = format!("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE usename = '{role}')");
        assert!(eventually(async || value(&app, &is_over).await).await, "{role}");
    }
    let link = under_way.body["scaRedirect"].as_str().unwrap();
    app.sandbox.bank().decide_at(link, Decision::Approve).unwrap();
    becomes(&anna, under_way.body["id"].as_str().unwrap(), "completed").await;
    assert_eq!(anna.get("/v1/bank-accounts").await.status, 200);
    app.finish().await;
}
