//! What of a run of the launcher must not be seen.
use std::fs;

use drop_tests::canaries::{Canaries, members};

use crate::launched::Place;
use crate::visitor::Visitor;

/// The variables in which the launcher gives its children a secret.
const SECRETS: [&str; 7] = [
    "BANKID_CLIENT_SECRET",
    "DROP_ENCRYPTION_KEY",
    "DROP_OPERATOR_TOKENS",
    "DROP_SESSION_KEY",
    "NEONOMICS_CLIENT_SECRET",
    "SUMSUB_APP_TOKEN",
    "SUMSUB_SECRET_KEY",
];

/// Adds the launcher's secrets, from its children's environment.
pub(crate) fn add_secrets_of(place: &Place, canaries: &mut Canaries) {
    let environments: Vec<_> = place
        .processes()
        .iter()
        .map(|(id, _)| String::from_utf8(fs::read(format!("/proc/{id}/environ")).unwrap()).unwrap())
        .collect();
    let variables: Vec<_> = environments
        .iter()
        .flat_map(|environment| environment.split('\0'))
        .filter_map(|variable| variable.split_once('='))
        .collect();
    for secret in SECRETS {
        for (_, value) in variables.iter().filter(|(name, _)| *name == secret) {
            canaries.add(secret, value);
        }
        assert!(canaries.of(secret).next().is_some(), "there is no {secret}");
    }
}

/// Adds what the sandbox knows, which was told everything that went to a provider and told everything that came from one.
/// Gives the id of a user: not secret, and certainly printed.
pub(crate) async fn add_what_the_sandbox_saw(visitor: &Visitor, canaries: &mut Canaries) -> String {
    canaries.add_what_the_providers_know(visitor.control_address()).await;
    for (what, least) in [
        ("code", 2), // Anna's, and Marko's second
        ("code_verifier", 2),
        ("state", 3),
        ("nonce", 3),
        ("client_secret", 2),
        ("id_token", 2),
        ("access_token", 3), // BankID's two, and Neonomics'
        ("bearer", 2),
        ("national id", 2),
        ("e-mail", 1),
        ("IBAN", 2), // the creditor's and the debtor's
        ("BBAN", 1),
        ("creditor", 1),
        ("consent", 1),
        ("bank callback's state", 2), // the consent's and the payment's
    ] {
        assert!(canaries.of(what).count() >= least, "{what}");
    }
    let people = visitor.control("bankid/people").await;
    for person in people.as_array().unwrap() {
        if person["key"] == "anna" || person["key"] == "marko" {
            for name in ["givenName", "familyName"] {
                canaries.add("name", person[name].as_str().unwrap());
            }
        }
    }
    let sumsub = visitor.control("journal/sumsub").await;
    members(&sumsub, "externalUserId")[0].to_owned()
}
