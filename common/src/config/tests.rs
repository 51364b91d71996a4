use rstest::rstest;
use secrecy::ExposeSecret;

use super::{ApiSettings, BankIdEndpoint, ConfigError, Environment, WorkerSettings, variables};
use crate::domain::money::Currency;

// An Ed25519 key made for this test only.
const SESSION_KEY: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
const ENCRYPTION_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn production() -> Environment {
    [
        ("DROP_PROFILE", "production"),
        (
            "DATABASE_URL",
            "postgres://drop:pw@db.internal/drop?sslmode=verify-full",
        ),
        ("DROP_PUBLIC_URL", "https://getdrop.no/"),
        ("DROP_TRUSTED_PROXIES", "10.0.0.0/8, 2001:db8::/32"),
        ("DROP_SESSION_KEY", SESSION_KEY),
        ("DROP_ENCRYPTION_KEY", ENCRYPTION_KEY),
        ("NATIONAL_ID_PEPPER", "test-pepper-not-for-production-0"),
        ("BANKID_CLIENT_ID", "drop"),
        ("BANKID_CLIENT_SECRET", "bankid-secret"),
        ("NEONOMICS_CLIENT_ID", "drop"),
        ("NEONOMICS_CLIENT_SECRET", "neonomics-secret"),
        ("SCA_HOSTS", "dnb.no"),
        ("SUMSUB_APP_TOKEN", "sumsub-token"),
        ("SUMSUB_SECRET_KEY", "webhook-secret"),
    ]
    .into_iter()
    .collect()
}

fn names(error: &ConfigError) -> Vec<&str> {
    error.problems.iter().map(|problem| problem.variable.as_str()).collect()
}

#[test]
fn a_complete_production_environment_is_accepted_with_the_contracts_defaults() {
    let worker = WorkerSettings::read(&production()).expect("complete");
    assert_eq!(
        worker.bankid.token_url,
        "https://auth.bankid.no/auth/realms/prod/protocol/openid-connect/token"
    );
    assert_eq!(
        worker.bankid.redirect_uri,
        "https://getdrop.no/api/auth/bankid/callback"
    );
    assert_eq!(worker.neonomics.token_url, "https://api.neonomics.io/auth/token");
    assert_eq!(worker.neonomics.provisional_completed, ["ACCP"]);
    assert!(worker.bankid.require_acr);
    let api = ApiSettings::read(&production()).expect("complete");
    assert_eq!(api.api.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(api.keys.encryption.id, 1);
}

#[test]
fn the_api_needs_no_secret_of_a_provider_it_never_calls() {
    let environment = production()
        .without("BANKID_CLIENT_SECRET")
        .without("NEONOMICS_CLIENT_SECRET")
        .without("SUMSUB_APP_TOKEN");
    assert!(ApiSettings::read(&environment).is_ok());
    let error = WorkerSettings::read(&environment).expect_err("secrets are missing");
    assert_eq!(
        names(&error),
        ["BANKID_CLIENT_SECRET", "NEONOMICS_CLIENT_SECRET", "SUMSUB_APP_TOKEN"]
    );
}

/// A P-256 key made for this test only.
const CLIENT_KEY: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9Bwbs/W5GWWizDLdG8LB3LUQpTm80fFY3eSKbCEuOQ6hRANCAARr\
    Mr3DhFIxL/B4mcztAsYQ0B4s33e56VKLAKMlC8g+8RwElGmd901TfrAOgF14gJgr4jvt7QfToae4WXMP2qvF";

#[test]
fn a_worker_with_a_key_for_bankid_needs_no_secret_for_it_and_shows_neither() {
    let by_key = production()
        .without("BANKID_CLIENT_SECRET")
        .with("BANKID_CLIENT_AUTH", "private_key_jwt")
        .with("BANKID_CLIENT_KEY", CLIENT_KEY)
        .with("BANKID_CLIENT_KEY_ID", "client-1");
    let credentials = WorkerSettings::read(&by_key).expect("complete").bankid_credentials;
    // The private half, which follows its own length in the document.
    let shown = format!("{credentials:?}").to_lowercase();
    assert!(
        shown.contains("client-1") && !shown.contains("f41c1bb3f5b91965"),
        "{shown}"
    );
    assert!(ApiSettings::read(&by_key.without("BANKID_CLIENT_KEY")).is_ok());
}

#[rstest]
#[case(&[("BANKID_CLIENT_KEY", ""), ("BANKID_CLIENT_KEY_ID", "")], &["BANKID_CLIENT_KEY", "BANKID_CLIENT_KEY_ID", "BANKID_CLIENT_KEY"])]
#[case::a_key_of_another_kind(&[("BANKID_CLIENT_KEY", SESSION_KEY)], &["BANKID_CLIENT_KEY"])]
#[case::no_base64(&[("BANKID_CLIENT_KEY", "-----BEGIN PRIVATE KEY-----")], &["BANKID_CLIENT_KEY"])]
#[case::another_method(&[("BANKID_CLIENT_AUTH", "client_secret_basic")], &["BANKID_CLIENT_AUTH"])]
fn a_worker_whose_key_for_bankid_is_not_usable_does_not_start(
    #[case] changes: &[(&str, &str)],
    #[case] problems: &[&str],
) {
    let by_key = production()
        .with("BANKID_CLIENT_AUTH", "private_key_jwt")
        .with("BANKID_CLIENT_KEY", CLIENT_KEY)
        .with("BANKID_CLIENT_KEY_ID", "client-1");
    let environment = changes
        .iter()
        .fold(by_key, |all, (name, value)| all.with(*name, *value));
    assert_eq!(
        names(&WorkerSettings::read(&environment).expect_err("not usable")),
        problems
    );
}

#[test]
fn discovery_asks_for_the_endpoints_that_are_not_set_on_the_issuers_host_or_those_that_are_named() {
    let read = |environment: &Environment| ApiSettings::read(environment).expect("complete").bankid.discovery;
    assert!(read(&production()).is_none());
    let asking = production().with("BANKID_DISCOVERY", "true");
    let all = read(&asking).expect("asked for");
    assert_eq!(all.allowed_hosts, ["auth.bankid.no:443"]);
    assert_eq!((all.wanted.len(), all.loopback_http), (3, false));
    let some = asking
        .with(
            "BANKID_ALLOWED_HOSTS",
            "auth.bankid.no, keys.bankid.no:8443, AUTH.bankid.no:443",
        )
        .with("BANKID_TOKEN_URL", "https://auth.bankid.no/token")
        .with("BANKID_JWKS_URL_FILE", "/dev/null");
    let error = ApiSettings::read(&some).expect_err("an empty file");
    assert_eq!(names(&error), ["BANKID_JWKS_URL"]);
    let some = read(&some.without("BANKID_JWKS_URL_FILE")).expect("asked for");
    assert_eq!(
        some.allowed_hosts,
        ["auth.bankid.no:443", "keys.bankid.no:8443", "auth.bankid.no:443"]
    );
    assert_eq!(some.wanted, [BankIdEndpoint::Authorization, BankIdEndpoint::Keys]);
}

#[rstest]
fn a_host_that_bankids_document_may_name_is_one_host(
    #[values(
        "*.bankid.no",
        "https://auth.bankid.no",
        "auth.bankid.no/x",
        "me@auth.bankid.no",
        "auth.bankid.no:x"
    )]
    hosts: &str,
) {
    let environment = production().with("BANKID_ALLOWED_HOSTS", hosts);
    assert_eq!(
        names(&ApiSettings::read(&environment).expect_err(hosts)),
        ["BANKID_ALLOWED_HOSTS"]
    );
}

#[test]
fn an_empty_environment_lists_every_missing_variable_at_once() {
    let error = WorkerSettings::read(&Environment::default()).expect_err("nothing is set");
    for name in [
        "DROP_PROFILE",
        "DATABASE_URL",
        "DROP_SESSION_KEY",
        "DROP_ENCRYPTION_KEY",
        "NATIONAL_ID_PEPPER",
        "SCA_HOSTS",
    ] {
        assert_eq!(
            names(&error).iter().filter(|found| **found == name).count(),
            1,
            "{name}: {error}"
        );
    }
}

#[rstest]
#[case("BANKID_MOCK", "true")]
#[case("BANKID_SYNTHETIC_IDS", "tenor")]
#[case("NATIONAL_ID_PEPPER", "too-short")]
#[case("DATABASE_URL", "postgres://drop:pw@db/drop?sslmode=require")]
#[case("DATABASE_URL", "postgres://drop:pw@db/drop?sslmode=verify-full&sslmode=disable")]
#[case("BANKID_ISSUER", "http://127.0.0.1:4000")]
#[case("NEONOMICS_BASE_URL", "http://127.0.0.1:4000")]
#[case("SUMSUB_BASE_URL", "http://api.sumsub.com")]
#[case("BANKID_REQUIRE_ACR", "false")]
#[case("BANKID_ACR_VALUES", "")]
#[case("BANKID_ACR_VALUES", " ")]
#[case("BANKID_CLIENT_SECRET", "changeme")]
#[case("DROP_SESSION_KEY", "bm90IGEga2V5")]
#[case("DROP_ENCRYPTION_KEY", "AAEC")]
#[case("SCA_HOSTS", "*.no")]
#[case("PISP_STATUS_PATH", "/v1/payments/status")]
#[case("PISP_PAYMENT_PATH", "/v1/payments")]
#[case("PISP_PAYMENT_PATH", "/v1/payments/{paymentId}/")]
#[case("PISP_PRODUCT", "../accounts")]
#[case("PISP_PRODUCTS", "NOK=straks")]
#[case("PISP_PRODUCTS", "NOK/NOR=straks")]
#[case("PISP_PRODUCTS", "KR/NO=straks")]
#[case("PISP_PRODUCTS", "NOK/NO=a/b")]
#[case("PISP_PRODUCTS", "NOK/NO=straks,NOK/NO=domestic")]
#[case("PISP_PRODUCTS", "NOK/*=straks,NOK/*=domestic")]
#[case("PAYMENT_MIN_MINOR", "10000001")]
#[case("PAYMENT_MAX_MINOR", "25000001")]
#[case("PAYMENT_OTHER_LIMITS", "EUR")]
#[case("PAYMENT_OTHER_LIMITS", "EUR=1/2")]
#[case("PAYMENT_OTHER_LIMITS", "EUR=0/1/2")]
#[case("PAYMENT_OTHER_LIMITS", "EUR=2/1/3")]
#[case("PAYMENT_OTHER_LIMITS", "EUR=1/3/2")]
#[case("PAYMENT_OTHER_LIMITS", "EURO=1/2/3")]
#[case("PAYMENT_OTHER_LIMITS", "NOK=1/2/3")]
#[case("PAYMENT_OTHER_LIMITS", "EUR=1/2/3,EUR=1/2/3")]
#[case("NEONOMICS_CLIENT_CERT_LOOK_S", "0")]
#[case("PISP_BBAN_WIRE", "odd")]
#[case("PISP_RETRY_5XX", "never")]
#[case("NEONOMICS_CONSENT_HEADER", "contract")]
#[case("SUMSUB_AUTH", "signed?")]
#[case("NEONOMICS_READ_TIMEOUT_MS", "0")]
fn production_refuses(#[case] name: &str, #[case] value: &str) {
    let error = WorkerSettings::read(&production().with(name, value)).expect_err("must be refused");
    assert!(names(&error).contains(&name), "{error}");
}

#[test]
fn a_client_certificate_needs_its_key_and_is_where_its_variables_say() {
    let read =
        |environment: &Environment| WorkerSettings::read(environment).map(|worker| worker.neonomics.client_certificate);
    assert!(read(&production()).expect("none is needed").is_none());
    for (one, other) in [
        ("NEONOMICS_CLIENT_CERT", "NEONOMICS_CLIENT_KEY"),
        ("NEONOMICS_CLIENT_KEY", "NEONOMICS_CLIENT_CERT"),
    ] {
        let error = read(&production().with(one, "PEM")).expect_err("half of a pair");
        assert_eq!(names(&error), [other]);
        let error = read(&production().with(format!("{one}_FILE"), "/nowhere").with(other, "PEM"));
        assert_eq!(names(&error.expect_err("no file")), [format!("{one}_FILE")]);
    }
    let path = std::env::temp_dir().join(format!("drop-config-{}", uuid::Uuid::new_v4()));
    std::fs::write(&path, "s3cret").expect("temporary file");
    let given = production()
        .with("NEONOMICS_CLIENT_CERT", "CERTIFICATE")
        .with("NEONOMICS_CLIENT_KEY_FILE", path.to_str().expect("plain path"));
    let pair = read(&given).expect("complete").expect("a pair");
    let texts = [&pair.certificate, &pair.key].map(|source| source.read().map(|text| text.expose_secret().to_owned()));
    std::fs::remove_file(&path).expect("was written above");
    let [certificate, key] = texts.map(|text| text.expect("readable"));
    assert_eq!((certificate.as_str(), key.as_str()), ("CERTIFICATE", "s3cret"));
    assert!(pair.key.read().is_err(), "read anew each time");
    assert!(
        !format!("{pair:?}").contains("CERTIFICATE"),
        "the variable may hold the key"
    );
}

#[test]
fn a_product_is_that_of_currency_and_country_or_of_the_currency_or_the_one_for_all() {
    let products = |environment: &Environment| ApiSettings::read(environment).expect("complete").payments.products;
    let contract = products(&production());
    assert_eq!(contract.product(Currency::Nok, Some("NO")), "sepa-credit-transfers");
    let products = products(&production().with("PISP_PRODUCTS", "NOK/NO=domestic, NOK/*=abroad,EUR/DE=instant"));
    for (currency, country, product) in [
        (Currency::Nok, Some("NO"), "domestic"),
        (Currency::Nok, Some("SE"), "abroad"),
        (Currency::Nok, None, "abroad"),
        (Currency::Eur, Some("DE"), "instant"),
        (Currency::Eur, Some("NO"), "sepa-credit-transfers"),
        (Currency::Eur, None, "sepa-credit-transfers"),
        (Currency::Sek, Some("NO"), "sepa-credit-transfers"),
    ] {
        assert_eq!(products.product(currency, country), product, "{currency} {country:?}");
    }
}

#[test]
fn kroner_are_paid_and_what_else_is_named_each_within_its_own_limits() {
    let payments = |environment: &Environment| ApiSettings::read(environment).expect("complete").payments;
    assert!(payments(&production()).limits_in(Currency::Eur).is_none());
    let payments = payments(&production().with("PAYMENT_OTHER_LIMITS", "EUR=100/2000/3000, JPY=1/1/1"));
    let limits = |currency| {
        payments
            .limits_in(currency)
            .map(|limits| (limits.min, limits.max, limits.daily))
    };
    assert_eq!(limits(Currency::Nok), Some((100, 10_000_000, 25_000_000)));
    assert_eq!(limits(Currency::Eur), Some((100, 2_000, 3_000)));
    assert_eq!(limits(Currency::Jpy), Some((1, 1, 1)));
    assert_eq!(limits(Currency::Usd), None);
}

#[test]
fn production_refuses_to_start_without_trusted_proxies() {
    let error = ApiSettings::read(&production().without("DROP_TRUSTED_PROXIES")).expect_err("missing");
    assert_eq!(names(&error), ["DROP_TRUSTED_PROXIES"]);
}

#[rstest]
#[case("DROP_REQUIRE_LOGIN_BINDING", "false")]
#[case("DROP_RETURN_PAGES", "/pay, home")]
#[case("DROP_RETURN_PAGES", "/, /api")]
#[case("DROP_RETURN_PAGES", "https://getdrop.no/pay")]
#[case("DROP_APP_LINK", "http://127.0.0.1:1/app")]
#[case("DROP_APP_LINK", "drop://login")]
#[case("DROP_APP_LINK", "https://getdrop.no/app?from=bankid")]
#[case("DROP_APP_LINK", "https://getdrop.no/app#login")]
fn the_api_refuses_in_production(#[case] name: &str, #[case] value: &str) {
    let error = ApiSettings::read(&production().with(name, value)).expect_err("must be refused");
    assert_eq!(names(&error), [name]);
}

#[test]
fn a_binding_cookie_is_required_in_production_and_never_where_browsers_would_not_take_it() {
    let api = |environment: &Environment| ApiSettings::read(environment).map(|settings| settings.api);
    assert!(api(&production()).expect("complete").require_login_binding);
    let local = production()
        .with("DROP_PROFILE", "local")
        .with("BANKID_ISSUER", "https://issuer.example")
        .with("DROP_PUBLIC_URL", "http://127.0.0.1:8080");
    assert!(!api(&local).expect("complete").require_login_binding);
    let error = api(&local.with("DROP_REQUIRE_LOGIN_BINDING", "true")).expect_err("no such cookie");
    assert_eq!(names(&error), ["DROP_REQUIRE_LOGIN_BINDING"]);
}

#[test]
fn apps_log_in_only_where_their_link_is_known() {
    let link = |environment: &Environment| ApiSettings::read(environment).expect("complete").api.app_link;
    assert_eq!(link(&production()), None);
    assert_eq!(link(&production().with("DROP_APP_LINK", "")), None);
    let known = production().with("DROP_APP_LINK", "https://getdrop.no/app/login");
    assert_eq!(link(&known).as_deref(), Some("https://getdrop.no/app/login"));
}

#[test]
fn a_result_page_has_no_fragment_and_that_of_consents_is_none_unless_it_is_given() {
    let api = |environment: &Environment| ApiSettings::read(environment);
    let unset = production().with("DROP_CONSENT_RESULT_URL", "");
    assert_eq!(api(&production()).expect("complete").api.consent_result_url, None);
    assert_eq!(api(&unset).expect("complete").api.consent_result_url, None);
    for name in ["DROP_PAYMENT_RESULT_URL", "DROP_CONSENT_RESULT_URL"] {
        let with_query = production().with(name, "https://getdrop.no/done?from=bank");
        assert!(api(&with_query).is_ok(), "{name}");
        let with_fragment = production().with(name, "https://getdrop.no/#/done");
        assert_eq!(names(&api(&with_fragment).expect_err("no query after it")), [name]);
    }
}

#[test]
fn a_proxy_is_named_by_its_network_or_its_address() {
    let named = |proxies| ApiSettings::read(&production().with("DROP_TRUSTED_PROXIES", proxies));
    let proxies = named("10.0.0.1, 2001:db8::/32")
        .expect("both forms")
        .api
        .trusted_proxies;
    let trusted = |address: &str| {
        proxies
            .iter()
            .any(|network| network.contains(address.parse().expect("one")))
    };
    assert!(trusted("10.0.0.1") && trusted("2001:db8::9") && !trusted("10.0.0.2"));
    let error = named("10.0.0.1, 10.0.0.0/33").expect_err("no network");
    assert_eq!(names(&error), ["DROP_TRUSTED_PROXIES"]);
    let error = ApiSettings::read(&production().with("DROP_EDGE_PROXIES", "cloudflare")).expect_err("no network");
    assert_eq!(names(&error), ["DROP_EDGE_PROXIES"]);
}

#[test]
fn a_worker_waits_longer_for_a_connection_than_the_api_and_has_more_of_them_the_more_jobs_it_runs() {
    let pool = |database: super::DatabaseConfig| (database.pool_size, database.acquire_timeout.as_millis());
    let worker = |lanes| WorkerSettings::read(&production().with("DROP_LANES", lanes)).expect("complete");
    assert_eq!(
        pool(ApiSettings::read(&production()).expect("complete").database),
        (10, 1_000)
    );
    assert_eq!(pool(worker("all").database), (33, 5_000));
    assert_eq!(pool(worker("upkeep").database), (10, 5_000));
}

#[test]
fn a_local_system_may_use_plain_http_on_loopback_only() {
    let local = production()
        .with("DROP_PROFILE", "local")
        .with("BANKID_MOCK", "true")
        .with("SUMSUB_BASE_URL", "http://[::1]:1");
    let sandbox = local
        .with("BANKID_ISSUER", "http://localhost:4000")
        .with("NEONOMICS_BASE_URL", "http://127.0.0.1:4000");
    assert!(WorkerSettings::read(&sandbox).is_ok());
    let error = WorkerSettings::read(&sandbox.with("NEONOMICS_BASE_URL", "http://localhost.evil.example"))
        .expect_err("not loopback");
    assert!(names(&error).contains(&"NEONOMICS_BASE_URL"), "{error}");
}

#[test]
fn a_test_system_never_falls_back_to_the_production_issuer() {
    let error = WorkerSettings::read(&production().with("DROP_PROFILE", "staging")).expect_err("no issuer");
    assert_eq!(names(&error).first(), Some(&"BANKID_ISSUER"));
}

#[rstest]
#[case("BANKID_MOCK", "true")]
#[case("BANKID_SYNTHETIC_IDS", "tenor")]
fn a_test_system_at_the_production_issuer_takes_no_person_who_is_made_up(#[case] name: &str, #[case] value: &str) {
    let staging = production().with("DROP_PROFILE", "staging").with(name, value);
    let elsewhere = staging
        .clone()
        .with("BANKID_ISSUER", "https://auth.current.bankid.no/auth/realms/current");
    assert!(ApiSettings::read(&elsewhere).is_ok());
    let real = staging.with("BANKID_ISSUER", "https://auth.bankid.no/auth/realms/prod");
    assert_eq!(names(&ApiSettings::read(&real).expect_err("must be refused")), [name]);
}

#[test]
fn a_mounted_file_gives_the_value_without_its_line_break() {
    let path = std::env::temp_dir().join(format!("drop-config-{}", uuid::Uuid::new_v4()));
    std::fs::write(&path, "client-from-file\n").expect("temporary file");
    let file = path.to_str().expect("plain path");
    let environment = production()
        .without("BANKID_CLIENT_ID")
        .with("BANKID_CLIENT_ID_FILE", file);
    let settings = ApiSettings::read(&environment);
    std::fs::remove_file(&path).expect("was written above");
    assert_eq!(settings.expect("complete").bankid.client_id, "client-from-file");
    let gone = ApiSettings::read(&environment).expect_err("the file is gone");
    assert_eq!(names(&gone), ["BANKID_CLIENT_ID_FILE"]);
}

#[test]
fn no_value_appears_in_an_error_or_in_debug_output() {
    let environment = production()
        .with("NATIONAL_ID_PEPPER", "s3cret")
        .with("NEONOMICS_READ_TIMEOUT_MS", "s3cret");
    let error = WorkerSettings::read(&environment).expect_err("two problems");
    assert!(!format!("{error} {error:?} {environment:?}").contains("s3cret"));
    let worker = format!("{:?}", WorkerSettings::read(&production()).expect("complete"));
    for secret in [
        "bankid-secret",
        "neonomics-secret",
        "sumsub-token",
        "test-pepper",
        ":pw@",
    ] {
        assert!(!worker.contains(secret), "{secret}");
    }
}

#[test]
fn every_variable_that_can_be_set_is_named() {
    let names = variables();
    for name in [
        "DROP_PROFILE",
        "DROP_ENCRYPTION_KEY_PREVIOUS_ID",
        "SUMSUB_SECRET_KEY",
        "SUMSUB_APP_SECRET",
        "PSU_IP_V6",
    ] {
        assert!(names.contains(name), "{name}");
    }
    assert!(names.iter().all(|name| !name.ends_with("_FILE")));
}

/// The example's variables: name, value, and whether it must be set.
fn example() -> Vec<(&'static str, &'static str, bool)> {
    let lines = include_str!("../../../.env.example").lines();
    lines
        .filter_map(|line| {
            let (name, value) = line.trim_start_matches('#').split_once('=')?;
            let plain = name
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            plain.then_some((name, value, !line.starts_with('#')))
        })
        .collect()
}

/// A complete environment without anything that has a default.
fn staging() -> Environment {
    let complete = production()
        .with("DROP_PROFILE", "staging")
        .with("BANKID_ISSUER", "https://issuer.example")
        .with("NEONOMICS_BASE_URL", "https://neonomics.example")
        .with("SUMSUB_BASE_URL", "https://sumsub.example");
    let optional = example().into_iter().filter(|(_, _, required)| !required);
    optional.fold(complete, |environment, (name, ..)| environment.without(name))
}

#[test]
fn the_example_names_every_variable_once_and_no_other() {
    let mut named: Vec<_> = example().into_iter().map(|(name, ..)| name.to_owned()).collect();
    named.sort();
    assert_eq!(named, variables().into_iter().collect::<Vec<_>>());
}

#[test]
fn what_the_example_marks_as_required_is_required_and_nothing_else_is() {
    ApiSettings::read(&staging()).expect("complete");
    WorkerSettings::read(&staging()).expect("complete");
    for (name, ..) in example().into_iter().filter(|(_, _, required)| *required) {
        let without = staging().without(name);
        let missed = [ApiSettings::read(&without).err(), WorkerSettings::read(&without).err()];
        let missed = missed.iter().flatten().any(|error| names(error).contains(&name));
        assert!(missed, "{name}");
    }
}

#[test]
fn what_the_example_shows_as_a_default_is_the_default() {
    let read = |environment: &Environment| {
        let api = ApiSettings::read(environment).expect("complete");
        format!("{api:?} {:?}", WorkerSettings::read(environment).expect("complete"))
    };
    let defaults = read(&staging());
    for (name, value, required) in example() {
        if !required && !value.contains('<') {
            assert_eq!(read(&staging().with(name, value)), defaults, "{name}");
        }
    }
}
