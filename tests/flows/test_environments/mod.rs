//! The flows of the contract's section 6 against the test environments of `BankID`, Neonomics and Sumsub: off by default, and
//! played here against simulated providers that are reached by nothing but the same variables. `tests/README.md` says how.

mod bankid;
mod identity;
mod money;
mod rehearsal;

use std::time::Duration;

use drop_common::config::Environment;
use drop_sandbox::Sandbox;
use drop_tests::aimed::{self, Aimed, Person, Provider};
use reqwest::Method;
use rstest::rstest;
use tokio::net::TcpListener;

/// A new person's way, and on it what the contract says of each provider that is aimed at.
async fn walk(mut aimed: Aimed) {
    if aimed.is_aimed_at(Provider::BankId) {
        bankid::is_what_it_says(&aimed).await;
        bankid::refuses_a_code_that_it_never_gave(&aimed).await;
        bankid::tells_of_somebody_who_cancels(&aimed).await;
    }
    let person = bankid::logs_in(&aimed).await;
    money::is_closed_to_whoever_is_not_verified(&aimed, &person).await;
    if aimed.is_aimed_at(Provider::Sumsub) {
        identity::webhooks_are_taken_by_their_signature_alone(&aimed).await;
    }
    identity::is_verified(&mut aimed, &person).await;
    let account = money::is_seen_at_the_bank(&mut aimed, &person).await;
    money::is_paid(&mut aimed, &person, &account).await;
    aimed.end().await;
}

/// With what the environment of this program says.
async fn walk_at(providers: &[Provider]) {
    let given = Environment::from_process();
    let public = Aimed::listener(providers, &given).await;
    let program = env!("CARGO_BIN_EXE_drop-node");
    walk(Aimed::start(program, providers, &given, public, Person::AtTheKeyboard).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a client at BankID's test environment, and somebody at the keyboard: tests/README.md"]
async fn at_bankid_people_log_in_and_what_is_wrong_is_refused() {
    walk_at(&[Provider::BankId]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a client at Neonomics' sandbox, and somebody at the keyboard: tests/README.md"]
async fn at_neonomics_a_bank_is_linked_a_balance_read_and_a_payment_made() {
    walk_at(&[Provider::Neonomics]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a token of Sumsub's test environment, and somebody at the keyboard: tests/README.md"]
async fn at_sumsub_a_person_is_verified_by_a_webhook() {
    walk_at(&[Provider::Sumsub]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs all three test environments, and somebody at the keyboard: tests/README.md"]
async fn at_all_three_a_new_person_comes_from_login_to_a_payment() {
    walk_at(&Provider::ALL).await;
}

/// The simulated providers as somebody else's: nothing but addresses and credentials is known of them, as `tests/README.md` has
/// both.
async fn elsewhere(url: &str) -> (Sandbox, Vec<(String, String)>) {
    let api = url.trim_start_matches("http://");
    let sandbox = rehearsal::providers(api).await;
    let given = rehearsal::variables(api, sandbox.url().trim_start_matches("http://"));
    (sandbox, given)
}

/// So that the flows do not rot while nobody aims them.
#[rstest]
#[case::at_bankid(&[Provider::BankId])]
#[case::at_neonomics(&[Provider::Neonomics])]
#[case::at_sumsub(&[Provider::Sumsub])]
#[case::at_all_three(&Provider::ALL)]
#[tokio::test(flavor = "multi_thread")]
async fn the_flows_hold_against_providers_that_are_known_by_their_variables_alone(#[case] providers: &[Provider]) {
    let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (sandbox, given) = elsewhere(&format!("http://{}", public.local_addr().unwrap())).await;
    let (given, person) = (given.into_iter().collect(), Person::Simulated(sandbox.url()));
    let program = env!("CARGO_BIN_EXE_drop-node");
    walk(Aimed::start(program, providers, &given, public, person).await).await;
    let asked = [
        (Provider::BankId, sandbox.bankid().journal()),
        (Provider::Neonomics, sandbox.neonomics().journal()),
        (Provider::Sumsub, sandbox.sumsub().journal()),
    ];
    for (provider, calls) in asked {
        assert_eq!(calls.is_empty(), !providers.contains(&provider), "{provider:?}");
    }
    sandbox.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = r#"refused: (404, "not_found")"#)]
async fn what_is_refused_is_not_waited_for() {
    let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (sandbox, given) = elsewhere(&format!("http://{}", public.local_addr().unwrap())).await;
    let (given, person) = (given.into_iter().collect(), Person::Simulated(sandbox.url()));
    let program = env!("CARGO_BIN_EXE_drop-node");
    let mut aimed = Aimed::start(program, &Provider::ALL, &given, public, person).await;
    let person = bankid::logs_in(&aimed).await;
    let look = aimed.request(Method::GET, "/v1/bank-accounts/acc_00000000000000000000000000000000");
    let account = async || person.sees(&look).await.status.is_success().then_some(());
    let waiting = aimed.until("there is an account", account);
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("it ends at once");
}

#[rstest]
#[case::at_bankid(&[Provider::BankId], &[
    "BANKID_CLIENT_ID is required", "BANKID_CLIENT_SECRET is required", "BANKID_ISSUER is required",
])]
#[case::at_neonomics(&[Provider::Neonomics], &[
    "NEONOMICS_BASE_URL is required", "NEONOMICS_CLIENT_ID is required", "NEONOMICS_CLIENT_SECRET is required",
    "SCA_HOSTS is required",
])]
#[case::at_sumsub(&[Provider::Sumsub], &[
    "SUMSUB_APP_TOKEN is required", "SUMSUB_BASE_URL is required", "SUMSUB_SECRET_KEY is required",
])]
fn without_variables_it_is_said_which_are_missing(#[case] providers: &[Provider], #[case] of_provider: &[&str]) {
    let ours = ["DROP_PUBLIC_URL is required"];
    let mut missing: Vec<_> = of_provider.iter().chain(&ours).map(|line| (*line).to_owned()).collect();
    missing.sort();
    assert_eq!(aimed::problems(providers, &Environment::default()), missing);
}

#[tokio::test]
#[should_panic(expected = "SUMSUB_SECRET_KEY is required")]
async fn without_variables_a_flow_does_not_pass() {
    let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (program, nothing) = (env!("CARGO_BIN_EXE_drop-node"), Environment::default());
    walk(Aimed::start(program, &Provider::ALL, &nothing, public, Person::AtTheKeyboard).await).await;
}

/// Nobody's real money, and nobody's real identity.
#[rstest]
#[case::issuer(
    Provider::BankId,
    "BANKID_ISSUER",
    "https://auth.bankid.no/auth/realms/prod",
    "BANKID_ISSUER is production's"
)]
#[case::bank(
    Provider::Neonomics,
    "NEONOMICS_BASE_URL",
    "https://api.neonomics.io",
    "NEONOMICS_BASE_URL is production's"
)]
#[case::pages(
    Provider::Neonomics,
    "NEONOMICS_BASE_URL",
    "https://sandbox.neonomics.io",
    "SCA_HOSTS is required"
)]
#[case::token(
    Provider::Sumsub,
    "SUMSUB_APP_TOKEN",
    "prd:token",
    "SUMSUB_APP_TOKEN is production's"
)]
#[tokio::test]
async fn what_is_productions_or_trusts_no_page_is_refused(
    #[case] provider: Provider,
    #[case] variable: &str,
    #[case] value: &str,
    #[case] problem: &str,
) {
    let (sandbox, given) = elsewhere("http://127.0.0.1:8080").await;
    let well: Environment = given.into_iter().collect();
    assert_eq!(aimed::problems(&[provider], &well), [""; 0]);
    let real = well.with(variable, value);
    // BankID's rules name a mixture of test people and production as well.
    assert!(aimed::problems(&[provider], &real).contains(&problem.to_owned()));
    sandbox.stop().await.unwrap();
}
