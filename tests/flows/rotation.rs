//! Secrets that are replaced as `ops/README.md` has it, and have no test elsewhere. The session key: `tokens.rs`; the pepper:
//! `login/identity.rs`; Sumsub's: `kyc/secrets.rs`; the certificate: `client_certificate.rs`; the encryption key: `resealing.rs`.

use drop_sandbox::Decision;
use drop_tests::{
    app::TestApp,
    settings::{BANKID_SECRET, NEONOMICS_SECRET, SUMSUB_TOKEN},
};
use serde_json::json;

use crate::{
    ops::{ops, read},
    paying::{becomes, execute, order, pays, value},
};

const NEXT: &str = "the-secret-after-this-one";

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
    let tokens = [SUMSUB_TOKEN, NEXT];
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
        execute(&app, &format!("CREATE ROLE {role}_2 LOGIN IN ROLE {role}")).await;
    }
    // Settings belong to a login, and this gives the second one those of its role.
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
        let ended = format!(
            "ALTER ROLE {role} NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"
        );
        execute(&app, &ended).await;
    }
    let link = under_way.body["scaRedirect"].as_str().unwrap();
    app.sandbox.bank().decide_at(link, Decision::Approve).unwrap();
    becomes(&anna, under_way.body["id"].as_str().unwrap(), "completed").await;
    assert_eq!(anna.get("/v1/bank-accounts").await.status, 200);
    app.finish().await;
}
