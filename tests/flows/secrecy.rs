//! The search that every flow ends with, for what is secret or of a person: that it finds what one redaction less would show.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use drop_tests::{
    app::TestApp,
    canaries::{Canaries, SECRETS},
    dump,
    fleet::Fleet,
    said,
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

use crate::{oidc::CLIENT_KEY, paying::order, tokens::NEW_KEY};

#[tokio::test]
async fn a_value_in_plain_is_found_in_whichever_column_or_line_it_is() {
    let app = TestApp::start().await;
    let marko = app.signed_in("marko").await;
    let account = marko.has_an_account().await;
    assert_eq!(
        marko
            .post_keyed("/v1/transactions", "one", &order(&account, "2010.00"))
            .await
            .status,
        201
    );
    app.until_idle().await;
    let canaries = app.canaries().await;
    canaries.assert_each_would_be_found();
    for what in [
        "national id",
        "code",
        "id_token",
        "access_token",
        "IBAN",
        "creditor",
        "name",
        "DROP_SESSION_KEY",
    ] {
        assert!(canaries.of(what).next().is_some(), "{what}");
    }
    assert_eq!(app.found_in_the_database(&canaries).await, BTreeMap::new());

    // As if it were not sealed, hashed or left out: each bytea and each text that the application fills.
    let iban = canaries.of("IBAN").next().unwrap().to_owned();
    for (change, column) in [
        (
            "UPDATE bank_accounts SET account_sealed = convert_to($1, 'UTF8')",
            "bank_accounts.account_sealed",
        ),
        (
            "UPDATE jobs SET payload = jsonb_build_object('iban', $1::text)",
            "jobs.payload",
        ),
        ("UPDATE jobs SET last_error = $1", "jobs.last_error"),
        (
            "UPDATE webhook_events SET raw = convert_to('{\"iban\":\"' || $1 || '\"}', 'UTF8')",
            "webhook_events.raw",
        ),
        (
            "INSERT INTO audit_log (actor, action, object, detail) VALUES ('user', 'x', 'x', jsonb_build_object('iban', $1::text))",
            "audit_log.detail",
        ),
    ] {
        let changed = sqlx::query(change).bind(&iban).execute(&app.db).await.unwrap();
        assert!(changed.rows_affected() > 0, "{column}");
        let found = app.found_in_the_database(&canaries).await;
        assert!(found[column]["IBAN"].contains(&iban), "{column}");
    }
    assert!(
        dump::of(&app.db).await.contains_key("transactions.creditor_name"),
        "the whole schema is looked at"
    );
    drop(app);
}

#[tokio::test]
async fn a_value_in_a_line_is_found_and_a_session_is_such_a_value() {
    let began = said::position();
    let app = TestApp::start().await;
    let login = app.log_in("marko").await;
    let token = login.body["accessToken"].as_str().unwrap();
    let canaries = app.canaries().await;
    let found = async || app.found_in_what_was_said(&canaries, began).await;
    assert_eq!(found().await, BTreeMap::new());
    // The token of this login alone: other tests listen to the same process.
    let payload = token.split('.').nth(1).unwrap();
    tracing::warn!("a line that quotes {payload}");
    assert!(found().await["accessToken"].contains(token));
    drop(app);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_processes_of_their_own_say_is_searched_too() {
    let fleet = Fleet {
        program: env!("CARGO_BIN_EXE_drop-node"),
        apis: 1,
        workers: 1,
    };
    let app = TestApp::start_fleet(fleet).await;
    app.signed_in("anna").await;
    let said = app.processes_said();
    for line in ["the API is up", "the worker is up", "proved to be user"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_secret_of_the_configuration_is_in_use_and_nothing_says_one_of_them() {
    let (key, params) = (
        KeyPair::generate().unwrap(),
        CertificateParams::new(Vec::new()).unwrap(),
    );
    let (certificate, key) = (params.self_signed(&key).unwrap().pem(), key.serialize_pem());
    let all = [
        ("BANKID_CLIENT_KEY", CLIENT_KEY),
        (
            "DROP_ENCRYPTION_KEY_PREVIOUS",
            "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=",
        ),
        ("DROP_ENCRYPTION_KEY_PREVIOUS_ID", "7"),
        (
            "DROP_OPERATOR_TOKENS",
            "kari:operator:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        ),
        ("DROP_SESSION_KEY_PREVIOUS", NEW_KEY),
        ("NATIONAL_ID_PEPPER", "a pepper that is longer than 32 bytes"),
        ("NATIONAL_ID_PEPPER_PREVIOUS", "the pepper before it, which is as long"),
        ("NEONOMICS_CLIENT_CERT", &certificate),
        ("NEONOMICS_CLIENT_KEY", &key),
        ("PISP_CONSENT_ID", "agreed-with-the-provider"),
        // Nobody listens there.
        ("SENTRY_DSN", "http://0123456789abcdef0123456789abcdef@127.0.0.1:9/1"),
        ("SUMSUB_APP_SECRET", "app-secret-for-local-use"),
        ("SUMSUB_AUTH", "signed"),
        ("SUMSUB_SECRET_KEY_PREVIOUS", "the-webhook-secret-before-it"),
    ];
    let fleet = Fleet {
        program: env!("CARGO_BIN_EXE_drop-node"),
        apis: 1,
        workers: 1,
    };
    let app = TestApp::start_fleet_with(fleet, &all).await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let paid = anna
        .post_keyed("/v1/transactions", "one", &order(&account, "2010.00"))
        .await;
    assert_eq!(paid.status, 201, "{:?}", paid.problem());
    let marko = app.signed_in("marko").await;
    let applied = marko
        .post("/v1/kyc/applicant", &json!({ "email": "marko@example.com" }))
        .await;
    assert_eq!(applied.status, 201, "{:?}", applied.problem());
    let canaries = app.canaries().await;
    canaries.assert_each_would_be_found();
    for name in SECRETS {
        assert!(canaries.of(name).next().is_some(), "{name} is not looked for");
    }
    assert_eq!(app.processes_that_can_be_scraped().await, 2);
    app.finish().await;
}

#[test]
fn what_the_configuration_reads_as_a_secret_is_looked_for_everywhere() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../common/src/config");
    // A certificate is shown to whomever we connect to.
    let mut read = BTreeSet::from(["NEONOMICS_CLIENT_KEY", "DROP_OPERATOR_TOKENS"].map(str::to_owned));
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for call in ["secret(\"", "secret_if_any(\""] {
            let names = text.split(call).skip(1).filter_map(|rest| rest.split('"').next());
            read.extend(names.map(str::to_owned));
        }
    }
    assert_eq!(read, SECRETS.map(str::to_owned).into());
}

#[test]
fn a_short_name_is_found_as_a_word_and_not_within_another() {
    let mut canaries = Canaries::default();
    canaries.add_word("name", "Berg");
    for (text, found) in [
        ("a line about Berg", 1),
        ("{\"name\":\"Berg\"}", 1),
        ("last_name=Berg,", 1),
        ("in Bergen", 0),
        ("Ødeberg, Bergås, 7Berg", 0),
    ] {
        assert_eq!(canaries.found_in(text).len(), found, "{text}");
    }
}
