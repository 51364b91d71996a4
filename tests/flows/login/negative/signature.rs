//! Who signed an ID token, and by which of the published keys: rows 3 to 6, 9 and 10.

use drop_sandbox::{Algorithm, Fault, Forgery, Mutation, Operation, Sandbox, SandboxConfig};
use drop_tests::app::TestApp;
use serde_json::{Value, json};

use crate::login::scene::{Browser, FAILS_A_CHECK, NO_TOKEN, ends_with, gets_in, is_accepted, is_refused, service};

#[tokio::test]
async fn a_token_is_signed_by_bankids_key_over_what_it_says() {
    let app = service().await;
    for (way, spoilt) in [
        ("one bit is wrong", Mutation::signature(Forgery::Flipped)),
        ("there is none", Mutation::signature(Forgery::Empty)),
        ("another key of that name", Mutation::signature(Forgery::ByAnotherKey)),
        (
            "another payload",
            Mutation::ClaimAfterSigning {
                name: "pid".into(),
                value: json!("17829049236"),
            },
        ),
    ] {
        is_refused(&app, way, vec![spoilt], FAILS_A_CHECK).await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_token_does_not_choose_how_it_is_verified() {
    let app = service().await;
    let signed = |made| Mutation::signature(made);
    for (algorithm, signature, code) in [
        ("none", signed(Forgery::Empty), FAILS_A_CHECK),
        ("NONE", signed(Forgery::Empty), NO_TOKEN),
        ("None", signed(Forgery::Empty), NO_TOKEN),
        ("nOnE", signed(Forgery::Empty), NO_TOKEN),
        ("HS256", signed(Forgery::WithTheClientSecret), FAILS_A_CHECK),
        ("HS256", signed(Forgery::WithThePublicKey), FAILS_A_CHECK),
    ] {
        let spoilt = vec![Mutation::header("alg", algorithm), signature];
        is_refused(&app, algorithm, spoilt, code).await;
    }
    for algorithm in ["HS384", "HS512", "RS384", "RS512", "PS256", "ES384", "ES512", "EdDSA"] {
        let spoilt = vec![Mutation::header("alg", algorithm)];
        is_refused(&app, algorithm, spoilt, FAILS_A_CHECK).await;
    }
    for algorithm in [
        json!("ES256K"),
        json!("es256"),
        json!("RSA-OAEP"),
        json!(256),
        Value::Null,
    ] {
        let spoilt = vec![Mutation::header("alg", algorithm.clone())];
        is_refused(&app, &algorithm.to_string(), spoilt, NO_TOKEN).await;
    }
    app.finish().await;
}

/// Serves another version of the key set from now on.
fn serve_keys(app: &TestApp, set: Value) {
    let served = Fault::Status {
        code: 200,
        body: Some(set),
    };
    app.sandbox.faults().add(Operation::BankidCerts, served, None);
}

/// Serves the key set without what says which algorithm a key is for: many providers leave that out.
fn serve_keys_for_any_algorithm(app: &TestApp) {
    let mut set = app.sandbox.bankid().published_keys();
    for key in set["keys"].as_array_mut().unwrap() {
        key.as_object_mut().unwrap().remove("alg");
    }
    serve_keys(app, set);
}

#[tokio::test]
async fn a_right_signature_by_an_algorithm_that_is_not_pinned_is_refused() {
    let app = service().await;
    serve_keys_for_any_algorithm(&app);
    ends_with(&app, "RS512", (502, FAILS_A_CHECK), 1, async |browser, person| {
        let bankid = app.sandbox.bankid();
        bankid.sign_with(Algorithm::Rs512);
        // Its hash is of another length with this algorithm. Without it nothing but the algorithm is in the way.
        bankid.spoil_next(vec![Mutation::claim("at_hash", Value::Null)]);
        let answer = browser.logs_in(person).await;
        bankid.sign_with(Algorithm::Es256);
        answer
    })
    .await;
    // Both that are pinned are good.
    app.sandbox.bankid().sign_with(Algorithm::Rs256);
    gets_in(&app, &Browser::of(&app), "anna").await;
    app.finish().await;
}

#[tokio::test]
async fn a_key_that_a_token_brings_along_is_neither_believed_nor_fetched() {
    let app = service().await;
    let bankid = app.sandbox.bankid();
    // A place that serves the forger's key, to whoever would ask.
    let elsewhere = Sandbox::start(SandboxConfig::default()).await.unwrap();
    let served = Fault::Status {
        code: 200,
        body: Some(json!({ "keys": [bankid.unpublished_key()] })),
    };
    elsewhere.faults().add(Operation::BankidCerts, served, None);
    let there = json!(format!("{}/protocol/openid-connect/certs", elsewhere.bankid().issuer()));
    for (member, brought) in [
        ("jwk", bankid.unpublished_key()),
        ("jku", there.clone()),
        ("x5u", there),
        ("x5c", json!(["MIIB"])),
    ] {
        let brought = Mutation::header(member, brought);
        let forged = vec![brought.clone(), Mutation::signature(Forgery::ByAnotherKey)];
        is_refused(&app, member, forged, FAILS_A_CHECK).await;
        // Beside a right signature it is nothing at all.
        is_accepted(&app, member, vec![brought]).await;
    }
    assert!(elsewhere.bankid().journal().is_empty());
    app.finish().await;
}

#[tokio::test]
async fn a_token_with_a_critical_header_is_refused() {
    let app = service().await;
    for critical in [json!(["b64"]), json!(["exp"]), json!([])] {
        let spoilt = vec![Mutation::header("crit", critical.clone())];
        is_refused(&app, &critical.to_string(), spoilt, FAILS_A_CHECK).await;
    }
    app.finish().await;
}

#[tokio::test]
async fn the_name_of_a_key_is_nothing_but_a_name() {
    let app = service().await;
    for kid in [
        "../../../../etc/passwd",
        "file:///dev/null",
        "' OR 1=1 --",
        "",
        "es-1\0",
    ] {
        is_refused(&app, kid, vec![Mutation::header("kid", kid)], FAILS_A_CHECK).await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_token_that_names_no_key_is_accepted_where_one_fits_and_refused_where_several_do() {
    let nameless = || vec![Mutation::header("kid", Value::Null)];
    let app = service().await;
    is_accepted(&app, "one key", nameless()).await;
    app.finish().await;

    let app = service().await;
    app.sandbox.bankid().publish_next_key().unwrap();
    is_refused(&app, "two keys", nameless(), FAILS_A_CHECK).await;
    app.finish().await;
}

#[tokio::test]
async fn a_key_for_encryption_verifies_no_signature() {
    let app = service().await;
    // What its algorithm says is not what keeps it out.
    serve_keys_for_any_algorithm(&app);
    ends_with(&app, "enc-1", (502, FAILS_A_CHECK), 1, async |browser, person| {
        let bankid = app.sandbox.bankid();
        bankid.sign_with(Algorithm::Rs256);
        bankid.spoil_next(vec![Mutation::header("kid", "enc-1")]); // the same key as rs-1, for another use
        let answer = browser.logs_in(person).await;
        bankid.sign_with(Algorithm::Es256);
        answer
    })
    .await;
    app.finish().await;
}

#[tokio::test]
async fn keys_of_unknown_kinds_are_skipped_and_the_others_serve() {
    let app = service().await;
    let mut set = app.sandbox.bankid().published_keys();
    let keys = set["keys"].as_array_mut().unwrap();
    for unknown in [
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "kid": "pq-1", "pub": "AAAA" }),
        json!({ "kty": "EC", "crv": "P-256K", "use": "sig", "alg": "ES256K", "kid": "k-1", "x": "AA", "y": "AA" }),
        json!({ "kty": "RSA", "use": "sig", "alg": "RS1024", "kid": "rs-9", "n": "AQAB", "e": "AQAB" }),
        json!({ "kid": "of-no-kind" }),
    ] {
        keys.insert(0, unknown);
    }
    serve_keys(&app, set);
    gets_in(&app, &Browser::of(&app), "anna").await;
    app.finish().await;
}
